"""Import every page of the admin, which registers it with the site."""

from __future__ import annotations

from adminops.admin.accounts import devices, push_notifications, users
from adminops.admin.generation import catalogue, jobs, moderation, trainings
from adminops.admin.money import (
    fraud,
    ledger,
    promotion_codes,
    purchases,
    refund_requests,
    subscriptions,
)
from adminops.admin.operations import alerts, error_log, incidents, service_health
from adminops.admin.staff import approvals, audit_log, groups

__all__ = [
    "alerts",
    "approvals",
    "audit_log",
    "catalogue",
    "devices",
    "error_log",
    "fraud",
    "groups",
    "incidents",
    "jobs",
    "ledger",
    "moderation",
    "promotion_codes",
    "purchases",
    "push_notifications",
    "refund_requests",
    "service_health",
    "subscriptions",
    "trainings",
    "users",
]
