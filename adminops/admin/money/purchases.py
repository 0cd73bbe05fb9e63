"""Products of the App Store, purchases, and App Store notifications."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.safestring import SafeString

from adminops.actions import catalogue, catalogue_limits, purchases
from adminops.actions.audit import StaffAction
from adminops.admin.action_pages import AssignForm
from adminops.admin.base import (
    ActionVariant,
    ReadOnlyAdmin,
    action_button,
    badge,
    link,
    links,
    user_link,
)
from adminops.admin.edit_pages import AuditedEditAdmin, EditForm, require_between
from adminops.models import AdminAction, PendingApproval
from billing import queries as billing_queries
from billing.models import (
    FULL_SHARE,
    NEEDS_REVIEW,
    BackfillCursor,
    Environment,
    Notification,
    PendingReason,
    Product,
    Purchase,
    UnconfirmedPurchase,
    UnreadablePayload,
)


class ProductForm(EditForm):
    def clean_credits(self) -> int:
        credits: int = self.cleaned_data["credits"]
        return require_between(credits, 1, catalogue_limits.MAX_PRODUCT_CREDITS)


@admin.register(Product)
class ProductAdmin(AuditedEditAdmin):
    """Edited by audited actions. Purchases reference a product by Apple's id, so the id never
    changes, and a product is taken off sale instead of deleted."""

    edit_action = AdminAction.EDIT_PRODUCT
    form = ProductForm
    list_display = ("name", "product_id", "kind", "credits", "is_available", "position")
    list_filter = ("kind", "is_available")
    ordering = ("position", "product_id")
    collated_fields = ("name",)
    text_search = ("product_id__icontains", "name__icontains")
    search_help_text = "A name, Apple's product ID or our product ID."
    fields = (
        ("name", "product_id"),
        ("kind", "period", "rollover"),
        ("credits", "trial_credits"),
        ("is_available", "position"),
        "prices",
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("product_id", "kind", "prices") if obj else ("prices",)

    @admin.display(description="Latest price by storefront")
    def prices(self, product: Product) -> str:
        latest = billing_queries.latest_prices(product.product_id)
        return ", ".join(f"{one.storefront} {one.price}" for one in latest)

    def save_edit(
        self,
        row: Product,
        is_new: bool,
        values: dict[str, Any],
        formsets: Any,
        staff_action: StaffAction,
    ) -> Product | PendingApproval:
        return catalogue.edit_product(staff_action, product_id=row.id, is_new=is_new, values=values)


# The action for a pending purchase, by its reason.
_ACTIONS = {
    **dict.fromkeys([PendingReason.NO_OWNER, PendingReason.ACCOUNT_CLOSED], "assign"),
    **dict.fromkeys(NEEDS_REVIEW, "release"),
}


class StatusFilter(admin.SimpleListFilter):
    title = "status"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("waiting", "Pending"), ("granted", "Granted"), ("refunded", "Refunded")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Purchase]) -> QuerySet[Purchase]:
        match self.value():
            case "waiting":
                return queryset.exclude(pending_reason="")
            case "granted":
                return queryset.filter(granted_at__isnull=False)
            case "refunded":
                return queryset.filter(revoked_share__gt=0)
        return queryset


@admin.register(Purchase)
class PurchaseAdmin(ReadOnlyAdmin):
    """Read-only. Support can assign, release or reprocess a purchase."""

    list_display = (
        "transaction_id",
        "status",
        "product_id",
        "credits",
        "owner",
        "price",
        "environment_label",
        "purchased_at",
    )
    list_filter = (StatusFilter, "environment", "product_id", "storefront", "offer_type")
    list_select_related = ("user",)
    ordering = ("-id",)
    text_search = ("transaction_id__exact", "original_transaction_id__exact")
    sensitive_fields = ("transaction_id", "original_transaction_id", "app_account_token", "related")
    search_help_text = "Apple's transaction ID, a purchase ID or a user ID."
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "id",
                    ("status", "environment_label"),
                    ("transaction_id", "original_transaction_id"),
                    ("product_id", "type", "quantity"),
                    ("is_renewal", "is_family_shared"),
                    ("owner", "app_account_token"),
                    "related",
                )
            },
        ),
        ("Money", {"fields": (("price", "storefront"), "bought_with", ("credits", "granted_at"))}),
        ("Refund", {"fields": (("refunded_percent", "taken_percent", "revoked_at"),)}),
        (
            "Times",
            {"fields": (("purchased_at", "expires_at"), ("signed_at", "recorded_at"), "due_at")},
        ),
    )
    actions_detail = ("assign", "release", "reprocess")

    def id_filter(self, searched: UUID) -> Q:
        return Q(id=searched) | Q(user_id=searched)

    @admin.display(description="Status")
    def status(self, purchase: Purchase) -> SafeString:
        if purchase.pending_reason:
            return badge(f"pending: {purchase.get_pending_reason_display().lower()}", "danger")
        if purchase.revoked_share:
            return badge("refunded" if purchase.is_refunded else "partially refunded", "warning")
        return badge("granted", "success") if purchase.granted_at else badge("new", "info")

    @admin.display(description="Environment", ordering="environment")
    def environment_label(self, purchase: Purchase) -> SafeString:
        return environment_badge(purchase.environment)

    @admin.display(description="User")
    def owner(self, purchase: Purchase) -> SafeString | None:
        return user_link(purchase.user)

    @admin.display(description="Price", ordering="price_milliunits")
    def price(self, purchase: Purchase) -> str | None:
        return purchase.price

    @admin.display(description="Offer")
    def bought_with(self, purchase: Purchase) -> str:
        return purchase.offer

    @admin.display(description="Refunded")
    def refunded_percent(self, purchase: Purchase) -> str:
        return f"{purchase.revoked_share * 100 / FULL_SHARE:g} %"

    @admin.display(description="Credits clawed back")
    def taken_percent(self, purchase: Purchase) -> str:
        """Larger than the refunded share if an upgrade replaced the period."""
        return f"{purchase.clawed_back_share * 100 / FULL_SHARE:g} %"

    @admin.display(description="Related")
    def related(self, purchase: Purchase) -> SafeString:
        searches = [
            ("billing_notification", purchase.transaction_id, "Notifications"),
            ("credits_ledgerentry", purchase.ledger_id, "Ledger entries"),
            ("credits_lot", purchase.ledger_id, "Credit lot"),
        ]
        return links(
            [
                (f"{reverse(f'admin:{name}_changelist')}?q={searched}", text)
                for name, searched, text in searches
            ]
        )

    def available_actions(self, request: HttpRequest, row: Purchase) -> list[str]:
        action = _ACTIONS.get(PendingReason(row.pending_reason)) if row.pending_reason else None
        return [action, "reprocess"] if action else ["reprocess"]

    @action_button(
        action=AdminAction.ASSIGN_PURCHASE,
        description="Assign to a user",
        url_path="assign",
        icon="person_add",
        variant=ActionVariant.PRIMARY,
    )
    def assign(self, request: HttpRequest, object_id: str) -> HttpResponse:
        purchase = self.get_row(request, object_id)

        return self.action_page(
            request,
            purchase,
            purchases.assign_purchase,
            purchase_id=purchase.id,
            title="Assign to a user",
            explanation="Apple confirmed the payment, but the buyer is unknown. The user below "
            "gets the purchase and its credits, once.",
            success=lambda credits: f"Purchase assigned. Credits granted: {credits}.",
            button="Assign",
            form_class=AssignForm,
        )

    @action_button(
        action=AdminAction.RELEASE_PURCHASE,
        description="Release",
        url_path="release",
        icon="lock_open",
        variant=ActionVariant.PRIMARY,
    )
    def release(self, request: HttpRequest, object_id: str) -> HttpResponse:
        purchase = self.get_row(request, object_id)

        return self.action_page(
            request,
            purchase,
            purchases.release_purchase,
            purchase_id=purchase.id,
            title="Release",
            explanation="The purchase is paid, and pending for a fraud review or because a "
            "guardian withdrew consent. The user gets the credits. Later purchases are reviewed "
            "again.",
            success=lambda credits: f"Purchase released. Credits granted: {credits}.",
        )

    @action_button(
        action=AdminAction.REPROCESS_PURCHASE,
        description="Reprocess",
        url_path="settle-again",
        icon="replay",
        variant=ActionVariant.DEFAULT,
    )
    def reprocess(self, request: HttpRequest, object_id: str) -> HttpResponse:
        purchase = self.get_row(request, object_id)
        return self.action_page(
            request,
            purchase,
            purchases.reprocess_purchase,
            purchase_id=purchase.id,
            title="Reprocess",
            explanation="Updates the ledger from Apple's data, with the current products and "
            "users. Credits are not granted twice.",
            success=lambda settled: (
                f"Reprocessed: {settled.get_pending_reason_display() or 'no problem'}."
            ),
        )


@admin.register(UnconfirmedPurchase)
class UnconfirmedPurchaseAdmin(ReadOnlyAdmin):
    list_display = ("transaction_id", "owner", "tries", "due_at", "created_at")
    list_select_related = ("user",)
    ordering = ("created_at",)
    id_search = ("id", "user_id")
    text_search = ("transaction_id__exact",)
    search_help_text = "Apple's transaction ID or a user ID."
    fields = ("id", "transaction_id", "owner", ("tries", "due_at"), "created_at")

    @admin.display(description="User")
    def owner(self, row: UnconfirmedPurchase) -> SafeString | None:
        return user_link(row.user)


@admin.register(UnreadablePayload)
class UnreadablePayloadAdmin(ReadOnlyAdmin):
    """Payloads signed by Apple that we cannot parse. Open until parsed or dismissed."""

    list_display = ("kind", "problem", "transaction_id", "owner", "times", "first_at", "closed_at")
    list_filter = (("closed_at", admin.EmptyFieldListFilter), "kind")
    list_select_related = ("user",)
    ordering = ("-id",)
    id_search = ("id", "user_id")
    text_search = ("transaction_id__exact",)
    search_help_text = "Apple's transaction ID, a user ID or a payload ID."
    fields = (
        "id",
        ("kind", "problem"),
        ("transaction_id", "owner"),
        ("first_at", "last_at", "times"),
        ("due_at", "tries"),
        ("closed_at", "outcome"),
        "stated",
        "signed_payload",
    )
    actions_detail = ("dismiss",)

    def available_actions(self, request: HttpRequest, row: UnreadablePayload) -> list[str]:
        return [] if row.closed_at else ["dismiss"]

    @action_button(
        action=AdminAction.DISMISS_PAYLOAD,
        description="Dismiss",
        url_path="dismiss",
        icon="done",
        variant=ActionVariant.DEFAULT,
    )
    def dismiss(self, request: HttpRequest, object_id: str) -> HttpResponse:
        payload = self.get_row(request, object_id)
        return self.action_page(
            request,
            payload,
            purchases.dismiss_payload,
            payload_id=payload.id,
            title="Dismiss",
            explanation="The payload is not parsed again. Dismiss it after the customer got the "
            "credits or a refund.",
            success="Payload dismissed.",
        )

    @admin.display(description="User")
    def owner(self, row: UnreadablePayload) -> SafeString | None:
        return user_link(row.user)

    @admin.display(description="Content")
    def stated(self, row: UnreadablePayload) -> str:
        return json.dumps(billing_queries.decode_payload(row), indent=2)


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    list_display = (
        "type",
        "subtype",
        "outcome",
        "purchase_link",
        "environment_label",
        "signed_at",
        "received_at",
        "processed_at",
    )
    list_filter = (
        "type",
        "environment",
        "from_history",
        ("processed_at", admin.EmptyFieldListFilter),
    )
    ordering = ("-id",)
    id_search = ("id", "notification_uuid")
    text_search = ("transaction_id__exact",)
    search_help_text = "Apple's transaction ID, or the ID of a notification (Apple's or ours)."
    fields = (
        "id",
        "notification_uuid",
        ("type", "subtype", "environment_label"),
        "purchase_link",
        "outcome",
        ("signed_at", "received_at", "processed_at"),
        ("from_history", "due_at", "tries"),
        "signed_payload",
    )

    actions_detail = ("reprocess",)

    def available_actions(self, request: HttpRequest, row: Notification) -> list[str]:
        return ["reprocess"] if row.processed_at and row.signed_payload else []

    @action_button(
        action=AdminAction.REPROCESS_NOTIFICATION,
        description="Reprocess",
        url_path="apply-again",
        icon="replay",
        variant=ActionVariant.PRIMARY,
    )
    def reprocess(self, request: HttpRequest, object_id: str) -> HttpResponse:
        notification = self.get_row(request, object_id)
        return self.action_page(
            request,
            notification,
            purchases.reprocess_notification,
            notification_id=notification.id,
            title="Reprocess",
            explanation="A worker processes the notification again. It describes a state, so no "
            "credits are granted or taken twice.",
            success="Notification queued.",
        )

    @admin.display(description="Environment", ordering="environment")
    def environment_label(self, notification: Notification) -> SafeString:
        return environment_badge(notification.environment)

    @admin.display(description="Purchase")
    def purchase_link(self, notification: Notification) -> SafeString | None:
        if not notification.transaction_id:
            return None
        url = reverse("admin:billing_purchase_changelist")
        return link(f"{url}?q={notification.transaction_id}", notification.transaction_id)


@admin.register(BackfillCursor)
class HistoryWalkAdmin(ReadOnlyAdmin):
    """Progress of the backfill of missed notifications from Apple's history."""

    list_display = (
        "environment",
        "scope",
        "gaps_closed",
        "covered_until",
        "finished_at",
        "due_at",
        "tries",
    )
    ordering = ("environment", "scope")
    id_search = ()
    fields = (
        ("environment", "scope"),
        ("covered_until", "finished_at", "gaps_closed"),
        ("from_at", "until_at"),
        ("due_at", "tries"),
    )


def environment_badge(name: str) -> SafeString:
    return badge(name, "success" if name == Environment.PRODUCTION else "warning")
