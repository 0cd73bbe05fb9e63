"""Wallets, credit lots and ledger entries, read-only."""

from __future__ import annotations

from uuid import UUID

from django.contrib import admin
from django.db.models import Q
from django.urls import reverse
from django.utils.safestring import SafeString

from adminops.admin.base import ReadOnlyAdmin, badge, link, link_to, links, user_link
from credits.models import Kind, LedgerEntry, Lot, Wallet

KIND_COLOURS = {
    "grant": "success",
    "charge": "info",
    "refund": "success",
    "adjustment": "warning",
    "revocation": "danger",
    "reversal": "success",
    "expiry": "warning",
    "transfer": "",
}
KIND_LABELS = {kind.value: kind.label.lower() for kind in Kind}


def job_entries_filter(job_id: UUID) -> Q:
    """The filter for a job's entries. It lists the kinds because the indexes start with them."""
    return Q(job_id=job_id, kind="charge") | Q(job_id=job_id, kind="refund")


def wallets_of(searched: UUID) -> list[UUID]:
    """The id of the wallet with this id or of the user with this id. At most one."""
    wallets = Wallet.objects.filter(Q(id=searched) | Q(user_id=searched))
    return list(wallets.values_list("id", flat=True))


@admin.register(Wallet)
class WalletAdmin(ReadOnlyAdmin):
    list_display = ("id", "owner", "balance", "debt", "lifetime_total", "state_label", "created_at")
    list_filter = ("state",)
    list_select_related = ("user",)
    ordering = ("-created_at",)
    id_search = ("id", "user_id")
    search_help_text = "A wallet ID or a user ID."
    fields = (
        "id",
        "owner",
        ("balance", "debt", "lifetime_total"),
        "state_label",
        "related",
        "entry_count",
        "successor",
        "created_at",
    )

    @admin.display(description="User")
    def owner(self, wallet: Wallet) -> SafeString | None:
        return user_link(wallet.user)

    @admin.display(description="Merged into")
    def successor(self, wallet: Wallet) -> SafeString | None:
        return link_to(wallet.merged_into, wallet.merged_into_id)

    @admin.display(description="State", ordering="state")
    def state_label(self, wallet: Wallet) -> SafeString:
        colours = {"open": "success", "suspended": "danger"}
        return badge(wallet.state, colours.get(wallet.state, ""))

    @admin.display(description="Related")
    def related(self, wallet: Wallet) -> SafeString:
        lists = [("credits_ledgerentry", "Ledger entries"), ("credits_lot", "Credit lots")]
        return links(
            [(f"{reverse(f'admin:{name}_changelist')}?q={wallet.id}", text) for name, text in lists]
        )


@admin.register(Lot)
class LotAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "owner",
        "source",
        "remaining",
        "amount",
        "expires_at",
        "revoked_at",
        "created_at",
    )
    list_filter = ("source",)
    list_select_related = ("wallet__user",)
    ordering = ("-id",)
    text_search = ("transaction_id__exact",)
    sensitive_fields = ("transaction_id",)
    search_help_text = "A lot ID, a wallet ID, a user ID or a store transaction ID."
    fields = (
        "id",
        "owner",
        "wallet_link",
        "source",
        ("remaining", "amount", "expired_amount"),
        ("transaction_id", "clawed_back", "debt_from_clawback"),
        ("created_at", "expires_at", "revoked_at"),
    )

    def id_filter(self, searched: UUID) -> Q:
        return Q(id=searched) | Q(wallet_id__in=wallets_of(searched))

    @admin.display(description="User")
    def owner(self, lot: Lot) -> SafeString | None:
        return user_link(lot.wallet.user)

    @admin.display(description="Wallet")
    def wallet_link(self, lot: Lot) -> SafeString | None:
        return link_to(lot.wallet, lot.wallet_id)


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "kind_label",
        "change_label",
        "balance_after",
        "owner",
        "reason",
        "job",
        "created_at",
    )
    list_filter = ("kind",)
    list_select_related = ("wallet__user",)
    ordering = ("-id",)
    text_search = ("transaction_id__exact",)
    sensitive_fields = ("transaction_id",)
    code_fields = ("reason",)
    search_help_text = "The ID of an entry, a job, a wallet, a user or a store transaction."
    fields = (
        "id",
        "kind_label",
        ("change_label", "balance_after"),
        ("debt_change", "debt_after"),
        "reason",
        "owner",
        ("wallet_link", "number"),
        "job",
        "transaction_id",
        "lots",
        "actor",
        "created_at",
    )

    def id_filter(self, searched: UUID) -> Q:
        return Q(id=searched) | Q(wallet_id__in=wallets_of(searched)) | job_entries_filter(searched)

    @admin.display(description="Kind", ordering="kind")
    def kind_label(self, entry: LedgerEntry) -> SafeString:
        return badge(KIND_LABELS[entry.kind], KIND_COLOURS.get(entry.kind, ""))

    @admin.display(description="Change", ordering="change")
    def change_label(self, entry: LedgerEntry) -> str:
        return f"{entry.change:+d}"

    @admin.display(description="User")
    def owner(self, entry: LedgerEntry) -> SafeString | None:
        return user_link(entry.wallet.user)

    @admin.display(description="Wallet")
    def wallet_link(self, entry: LedgerEntry) -> SafeString | None:
        return link_to(entry.wallet, entry.wallet_id)

    @admin.display(description="Job")
    def job(self, entry: LedgerEntry) -> SafeString | None:
        if entry.job_id is None:
            return None
        return link(reverse("admin:generation_job_change", args=[entry.job_id]), entry.job_id)

    @admin.display(description="Actor")
    def actor(self, entry: LedgerEntry) -> SafeString | None:
        if entry.actor_id is None:
            return None
        return link(reverse("admin:accounts_user_change", args=[entry.actor_id]), entry.actor_id)

    @admin.display(description="Lots")
    def lots(self, entry: LedgerEntry) -> SafeString:
        return links(
            [
                (reverse("admin:credits_lot_change", args=[lot_id]), f"{change:+d}: {lot_id}")
                for lot_id, change in entry.lots
            ]
        )
