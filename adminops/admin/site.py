"""The admin site: sign-in with a rate limit and a second factor, pages without a model, sidebar."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.urls.resolvers import URLPattern, URLResolver

from adminops.auth import login, otp, otp_views
from adminops.models import SEE_MONEY

# Unfold's class is Django's with another look, and comes without types.
if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
else:
    from unfold.sites import UnfoldAdminSite as AdminSite


class StaffAdminSite(AdminSite):
    """`django.contrib.admin.site` of this project (StaffAdminConfig.default_site)."""

    index_template = "adminops/overview.html"

    def has_permission(self, request: HttpRequest) -> bool:
        return super().has_permission(request) and otp.is_verified(request.user)

    def get_app_list(
        self, request: HttpRequest, app_label: str | None = None
    ) -> list[dict[str, Any]]:
        """Build the list once for each request: a page, its sidebar and the overview ask for it."""
        built: dict[str | None, list[dict[str, Any]]] = vars(request).setdefault("app_lists", {})
        if app_label not in built:
            built[app_label] = super().get_app_list(request, app_label)
        return built[app_label]

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Count each attempt; answer 429 beyond settings.STAFF_LOGIN_RATE. After the password, go
        on to the second factor."""
        if otp.is_required_for(request.user):
            return redirect(otp_views.second_factor_url(request))
        if request.method == "POST" and (seconds := login.seconds_to_wait(request)):
            return login.too_many_attempts_response(request, seconds)
        return super().login(request, extra_context)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        # Imported here: these modules register pages, for which the site must exist.
        from adminops.admin.accounts import timeline
        from adminops.admin.generation import try_price
        from adminops.admin.operations import dashboards

        return [
            # Open to staff who have given the password only.
            path("second-factor/", otp_views.second_factor_page, name="second_factor"),
            path("second-factor/codes/", otp_views.recovery_codes_page, name="recovery_codes"),
            path(
                "accounts/user/find/", self.admin_view(timeline.search_page), name="support_search"
            ),
            path(
                "accounts/user/story/<uuid:user_id>/",
                self.admin_view(timeline.timeline_page),
                name="timeline",
            ),
            path(
                "generation/model/try-a-price/",
                self.admin_view(try_price.try_price),
                name="try_price",
            ),
            path(
                "generation/spendday/money/", self.admin_view(dashboards.money_page), name="money"
            ),
            # Addresses of earlier releases, which staff may have bookmarked.
            path("generation/model/<path:rest>", _moved_to("generation/generationmodel/")),
            path("generation/model/", _moved_to("generation/generationmodel/")),
            path("generation/route/<path:rest>", _moved_to("generation/providerroute/")),
            path("generation/route/", _moved_to("generation/providerroute/")),
            path("generation/offence/<path:rest>", _moved_to("generation/violation/")),
            path("generation/offence/", _moved_to("generation/violation/")),
            # After the above: Django takes any word in an address for the id of a row.
            *super().get_urls(),
        ]


def _moved_to(place: str) -> Callable[..., HttpResponse]:
    def view(request: HttpRequest, rest: str = "") -> HttpResponse:
        query = request.META.get("QUERY_STRING", "")
        address = f"{reverse('admin:index')}{place}{rest}"
        return redirect(f"{address}?{query}" if query else address)

    return view


def environment_label(request: HttpRequest) -> list[str]:
    """UNFOLD["ENVIRONMENT"]: the label at the top of each page, and its colour."""
    return ["Production", "danger"] if settings.PRODUCTION else ["Development", "info"]


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """UNFOLD["SIDEBAR"]: pages of support, then the models of each app."""
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
            "permission": _has_permission("generation.view_job"),
        },
        {
            "title": "Finance",
            "icon": "payments",
            "link": reverse("admin:money"),
            "permission": _has_permission(f"adminops.{SEE_MONEY}"),
        },
        {
            "title": "Search",
            "icon": "person_search",
            "link": reverse("admin:support_search"),
            "permission": _has_permission("accounts.view_user"),
        },
        {
            "title": "Price simulation",
            "icon": "sell",
            "link": reverse("admin:try_price"),
            "permission": _has_permission("generation.view_generationmodel"),
        },
        {
            "title": "Incidents",
            "icon": "emergency",
            "link": reverse("admin:adminops_incident_changelist"),
            "permission": _has_permission("adminops.view_incident"),
        },
        {
            "title": "Recovery codes",
            "icon": "key",
            "link": reverse("admin:recovery_codes"),
            "permission": lambda request: request.user.is_verified(),
        },
        {
            "title": "Pending approvals",
            "icon": "approval",
            "link": f"{reverse('admin:adminops_pendingapproval_changelist')}?state__exact=waiting",
            "permission": _has_permission("adminops.view_pendingapproval"),
        },
    ]


def _has_permission(permission: str) -> Callable[[HttpRequest], bool]:
    return lambda request: request.user.has_perm(permission)
