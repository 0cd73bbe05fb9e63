"""The admin site's pages.

A folder for each area: accounts, generation, money, operations, staff. Modules directly here are
shared by all pages. Rows of money and jobs are read-only; a button calls a service.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

from adminops.admin.accounts import devices, push_notifications, users
from adminops.admin.generation import catalogue, jobs, moderation
from adminops.admin.money import (
    fraud,
    ledger,
    promotion_codes,
    purchases,
    refund_requests,
    subscriptions,
)
from adminops.admin.operations import alerts, dashboards, error_log, incidents, service_health
from adminops.admin.staff import approvals, audit_log, groups

__all__ = [
    "alerts",
    "approvals",
    "audit_log",
    "catalogue",
    "dashboards",
    "devices",
    "environment_label",
    "error_log",
    "fraud",
    "groups",
    "incidents",
    "jobs",
    "ledger",
    "moderation",
    "navigation",
    "promotion_codes",
    "purchases",
    "push_notifications",
    "refund_requests",
    "service_health",
    "subscriptions",
    "users",
]


def environment_label(request: HttpRequest) -> list[str]:
    """The ribbon at the top: where one is, and how much care that asks for."""
    return ["Production", "danger"] if settings.PRODUCTION else ["Development", "info"]


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar: support's own pages, then the lists of each app."""
    apps = [
        {
            "title": app["name"],
            "items": [
                {"title": model["name"], "link": model["admin_url"]} for model in app["models"]
            ],
        }
        for app in admin.site.get_app_list(request)
    ]
    return [{"title": "Support", "items": _pages()}, *apps]


def _pages() -> list[dict[str, Any]]:
    return [
        {
            "title": "Overview",
            "icon": "monitoring",
            "link": reverse("admin:index"),
            "permission": lambda request: request.user.has_perm("generation.view_job"),
        },
        {
            "title": "Money",
            "icon": "payments",
            "link": reverse("admin:money"),
            "permission": dashboards.may_see_money,
        },
        {
            "title": "Find anyone",
            "icon": "person_search",
            "link": reverse("admin:search"),
            "permission": lambda request: request.user.has_perm("accounts.view_user"),
        },
        {
            "title": "Try a price",
            "icon": "sell",
            "link": reverse("admin:try_price"),
            "permission": lambda request: request.user.has_perm("generation.view_model"),
        },
        {
            "title": "Incidents",
            "icon": "emergency",
            "link": reverse("admin:adminops_incident_changelist"),
            "permission": lambda request: request.user.has_perm("adminops.view_incident"),
        },
        {
            "title": "Recovery codes",
            "icon": "key",
            "link": reverse("recovery-codes"),
            "permission": lambda request: request.user.is_verified(),
        },
        {
            "title": "Pending approvals",
            "icon": "approval",
            "link": f"{reverse('admin:adminops_pendingapproval_changelist')}?state__exact=waiting",
            "permission": lambda request: request.user.has_perm("adminops.view_pendingapproval"),
        },
    ]
