"""Fraud scores of users, with their reasons."""

from __future__ import annotations

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from adminops.admin.base import ReadOnlyAdmin, links, user_link
from billing.models import FraudScore


@admin.register(FraudScore)
class FraudScoreAdmin(ReadOnlyAdmin):
    """Read-only. Purchases that await review are released on their own page."""

    list_display = ("who", "score", "reasons", "assessed_at")
    list_select_related = ("user",)
    ordering = ("-score",)
    id_search = ("user_id",)
    search_help_text = "A user ID."
    fields = ("who", "score", "reasons", "assessed_at", "related")

    @admin.display(description="User")
    def who(self, found: FraudScore) -> SafeString | None:
        return user_link(found.user)

    @admin.display(description="Reasons")
    def reasons(self, found: FraudScore) -> SafeString:
        return format_html_join(
            "; ",
            "{what}: {count} (usual: {usual}), {points} points",
            found.signals,
        )

    @admin.display(description="Related")
    def related(self, found: FraudScore) -> SafeString:
        purchases = reverse("admin:billing_purchase_changelist")
        devices = reverse("admin:accounts_device_changelist")
        return links(
            [
                (f"{purchases}?q={found.user_id}", "Purchases"),
                (f"{devices}?q={found.user_id}", "Devices"),
            ]
        )
