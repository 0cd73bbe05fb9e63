"""Subscriptions and their states."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.urls import reverse
from django.utils.safestring import SafeString

from adminops.admin.base import ReadOnlyAdmin, badge, links, user_link
from adminops.admin.money.purchases import environment_badge
from billing.models import Subscription, SubscriptionState
from rendio.common import clock

STATE_COLOURS = {
    SubscriptionState.ACTIVE: "success",
    SubscriptionState.GRACE: "warning",
    SubscriptionState.BILLING_RETRY: "warning",
    SubscriptionState.REVOKED: "danger",
}


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyAdmin):
    list_display = (
        "original_transaction_id",
        "state",
        "product",
        "owner",
        "access_until",
        "will_renew",
        "environment_label",
    )
    list_filter = ("environment", "will_renew", "is_in_billing_retry")
    list_select_related = ("current_period__user",)
    ordering = ("-id",)
    id_search = ("id",)
    text_search = ("original_transaction_id__exact",)
    sensitive_fields = ("original_transaction_id", "related")
    search_help_text = "Apple's original transaction ID or a subscription ID."
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "id",
                    ("state", "environment_label"),
                    "original_transaction_id",
                    ("product", "owner"),
                    "related",
                )
            },
        ),
        ("Access", {"fields": (("ends_at", "grace_until", "access_until"),)}),
        (
            "Renewal",
            {
                "fields": (
                    ("will_renew", "renewal_product_id"),
                    "is_in_billing_retry",
                    ("renewal_signed_at", "checked_at", "due_at"),
                )
            },
        ),
    )

    @admin.display(description="State")
    def state(self, line: Subscription) -> SafeString:
        state = line.state_at(clock.now())
        return badge(state.label.lower(), STATE_COLOURS.get(state, ""))

    @admin.display(description="Product")
    def product(self, line: Subscription) -> str | None:
        return line.current_period.product_id if line.current_period else None

    @admin.display(description="User")
    def owner(self, line: Subscription) -> SafeString | None:
        return user_link(line.current_period.user) if line.current_period else None

    @admin.display(description="Access until")
    def access_until(self, line: Subscription) -> Any:
        return line.access_until

    @admin.display(description="Environment", ordering="environment")
    def environment_label(self, line: Subscription) -> SafeString:
        return environment_badge(line.environment)

    @admin.display(description="Related")
    def related(self, line: Subscription) -> SafeString:
        url = reverse("admin:billing_purchase_changelist")
        return links([(f"{url}?q={line.original_transaction_id}", "Periods")])
