"""Devices, and the sessions on them."""

from __future__ import annotations

from django.contrib import admin
from django.utils import timezone
from django.utils.safestring import SafeString

from accounts.models import Device, Session
from adminops.admin.base import ReadOnlyAdmin, badge, link_to, person


@admin.register(Device)
class DeviceAdmin(ReadOnlyAdmin):
    list_display = ("device_id", "owner", "created_at", "last_seen_at")
    list_select_related = ("user",)
    ordering = ("-last_seen_at",)
    id_search = ("device_id", "user_id")
    search_help_text = "A device's id or its user's."
    fields = ("device_id", "owner", "created_at", "last_seen_at")

    @admin.display(description="User")
    def owner(self, device: Device) -> SafeString | None:
        return person(device.user)


@admin.register(Session)
class SessionAdmin(ReadOnlyAdmin):
    """Without the hashes of its tokens."""

    sensitive = ("installation",)
    list_display = ("id", "owner", "state", "created_at", "last_used_at", "expires_at")
    list_filter = ("revoked_reason",)
    list_select_related = ("user",)
    ordering = ("-id",)
    id_search = ("id", "user_id", "device_id")
    search_help_text = "The id of a session, a user or a device."
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
        return person(session.user)

    @admin.display(description="Device")
    def installation(self, session: Session) -> SafeString | None:
        return link_to(session.device)

    @admin.display(description="State")
    def state(self, session: Session) -> SafeString:
        if session.revoked_at:
            return badge(session.revoked_reason, "danger")
        if session.expires_at <= timezone.now():
            return badge("expired")
        return badge("open", "success")
