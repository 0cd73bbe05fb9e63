"""Devices and their sessions. Pages show a device's public id, a keyed hash, not its device_id."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from accounts.installations import is_public_id
from accounts.models import Device, Session
from adminops.admin.base import ReadOnlyAdmin, badge, id_in_url, link_to, user_link
from rendio.common import clock


class DeviceSearch(ReadOnlyAdmin):
    """A page with a search by a device's public id."""

    public_id_search: str

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        searched = search_term.strip().lower()
        if is_public_id(searched):
            return queryset.filter(**{self.public_id_search: searched}), False
        return super().get_search_results(request, queryset, search_term)


@admin.register(Device)
class DeviceAdmin(DeviceSearch):
    list_display = ("short_id", "owner", "created_at", "last_seen_at")
    list_select_related = ("user",)
    ordering = ("-last_seen_at",)
    id_search = ("device_id", "user_id")
    public_id_search = "stored_public_id"
    search_help_text = "A device ID, in full or as shown here, or a user ID."
    fields = ("short_id", "owner", "created_at", "last_seen_at")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        class ByPublicId(super().get_changelist(request, **kwargs)):  # type: ignore[misc]
            def url_for_result(self, result: Device) -> str:
                return reverse("admin:accounts_device_change", args=[id_in_url(result)])

        return ByPublicId

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Device | None:
        if is_public_id(object_id):
            return self.get_queryset(request).filter(stored_public_id=object_id).first()
        return super().get_object(request, object_id, from_field)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        # unfold links an object in the title by its primary key, the device_id. A text is not
        # linked.
        context["original"] = str(context["original"])
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="Device", ordering="stored_public_id")
    def short_id(self, device: Device) -> str:
        return device.public_id

    @admin.display(description="User")
    def owner(self, device: Device) -> SafeString | None:
        return user_link(device.user)


@admin.register(Session)
class SessionAdmin(DeviceSearch):
    """The hashes of the session's tokens are not shown."""

    sensitive_fields = ("installation",)
    list_display = ("id", "owner", "state", "created_at", "last_used_at", "expires_at")
    list_filter = ("revoked_reason",)
    list_select_related = ("user",)
    ordering = ("-id",)
    id_search = ("id", "user_id", "device_id")
    public_id_search = "device__stored_public_id"
    search_help_text = "A session ID, a user ID or a device ID."
    fields = (
        "id",
        "owner",
        "installation",
        "state",
        "generation",
        "created_at",
        "rotated_at",
        "last_used_at",
        "expires_at",
        "revoked_at",
        "revoked_reason",
    )

    @admin.display(description="User")
    def owner(self, session: Session) -> SafeString | None:
        return user_link(session.user)

    @admin.display(description="Device")
    def installation(self, session: Session) -> SafeString | None:
        return link_to(session.device)

    @admin.display(description="State")
    def state(self, session: Session) -> SafeString:
        if session.revoked_at:
            return badge(session.get_revoked_reason_display().lower(), "danger")
        if session.expires_at <= clock.now():
            return badge("expired")
        return badge("active", "success")
