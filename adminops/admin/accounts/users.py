"""Users, and the actions that support can take on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.safestring import SafeString

from accounts.models import Device, User
from adminops.actions import credits as credit_actions
from adminops.actions import users
from adminops.admin.action_pages import AdjustForm, RefundForm
from adminops.admin.base import (
    ActionVariant,
    SupportAdmin,
    action_button,
    audit_log_redirect,
    link_to,
    links,
    pending_message,
    status_badge,
)
from adminops.admin.visible_text import VisibleTextForm
from adminops.auth import otp
from adminops.models import AdminAction

if TYPE_CHECKING:
    from django.contrib.auth.forms import (
        AdminPasswordChangeForm,
        AdminUserCreationForm,
        UserChangeForm,
    )
else:
    from unfold.forms import AdminPasswordChangeForm, UserChangeForm
    from unfold.forms import UserCreationForm as AdminUserCreationForm


class StaffCreationForm(VisibleTextForm, AdminUserCreationForm):
    """Django's form with a visible username. Django takes Hangul fillers for letters."""


class StaffChangeForm(VisibleTextForm, UserChangeForm):
    """Django's form with a visible username."""


class StatusFilter(admin.SimpleListFilter):
    title = "status"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("good", "Active"),
            ("banned", "Banned"),
            ("phone", "Banned device"),
            ("closed", "Closed"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        match self.value():
            case "good":
                return queryset.filter(suspended_at=None, hardware_banned_at=None, closed_at=None)
            case "banned":
                return queryset.filter(suspended_at__isnull=False)
            case "phone":
                return queryset.filter(hardware_banned_at__isnull=False)
            case "closed":
                return queryset.filter(closed_at__isnull=False)
        return queryset


@admin.register(User)
class UserAdmin(DjangoUserAdmin, SupportAdmin):
    """Customers are read-only, with buttons for actions. Only superusers edit staff accounts:
    anyone else with this permission could make themselves a superuser."""

    form = StaffChangeForm
    add_form = StaffCreationForm
    change_password_form = AdminPasswordChangeForm
    add_fieldsets = (
        (
            None,
            {
                "fields": ("username", "password1", "password2"),
                "description": "A member of staff. Customers sign up in the app.",
            },
        ),
    )
    list_display = (
        "who",
        "email",
        "status",
        "is_guest",
        "is_staff",
        "tier",
        "credits",
        "created_at",
    )
    list_filter = (StatusFilter, "is_guest", "is_staff", "tier")
    list_select_related = ("wallet",)
    ordering = ("-created_at",)
    actions = None
    # Whole addresses only: a search by prefix would disclose who has an account.
    text_search = ("email__iexact", "username__istartswith")
    sensitive_fields = ("email",)
    code_fields = ("suspended_reason",)
    search_help_text = "A user ID, a device ID, an e-mail address or a username."
    readonly_fields = (
        "id",
        "is_guest",
        "status",
        "credits",
        "owed",
        "credits_ever",
        "related",
        "tier",
        "tier_until",
        "language",
        "theme_preference",
        "tos_version",
        "welcomed_at",
        "suspended_at",
        "suspended_reason",
        "hardware_banned_at",
        "closed_at",
        "created_at",
        "updated_at",
        "last_login",
    )
    filter_horizontal = ("groups", "user_permissions")
    actions_detail = ("refund", "adjust", "ban", "unban", "sign_out", "reset_second_factor")

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        if obj is None:
            return self.add_fieldsets
        profile = (
            None,
            {
                "fields": (
                    "id",
                    *self.visible_fields(request, ("email",)),
                    ("is_guest", "language"),
                    ("tier", "tier_until"),
                    ("created_at", "updated_at"),
                    ("tos_version", "theme_preference"),
                )
            },
        )
        status = (
            "Status",
            {
                "fields": (
                    "status",
                    self.visible_fields(request, ("suspended_at", "suspended_reason")),
                    "hardware_banned_at",
                    ("welcomed_at", "closed_at"),
                )
            },
        )
        money = ("Credits", {"fields": (("credits", "owed", "credits_ever"), "related")})
        if not obj.username:
            return (profile, money, status)
        access: list[Any] = ["username", ("is_staff", "is_superuser"), "groups", "last_login"]
        if request.user.is_superuser:
            access += ["password", "user_permissions"]
        return (profile, ("Staff", {"fields": access}), status, money)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return bool(request.user.is_superuser and (obj is None or obj.username))

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change:
            obj.is_guest = False
            obj.is_staff = True
        super().save_model(request, obj, form, change)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Django's history for staff, whose accounts are edited. The audit log for customers."""
        user = self.get_row(request, object_id)
        if user.username:
            return super().history_view(request, object_id, extra_context)
        return audit_log_redirect(user.id)

    def id_filter(self, searched: UUID) -> Q:
        owners = Device.objects.filter(device_id=searched).values_list("user_id", flat=True)
        return Q(id__in=[searched, *owners])

    # --- Columns ----------------------------------------------------------------------------------

    @admin.display(description="User")
    def who(self, user: User) -> str:
        return user.username or str(user.id)

    @admin.display(description="Status")
    def status(self, user: User) -> SafeString:
        return status_badge(user)

    @admin.display(description="Credits", ordering="wallet__balance")
    def credits(self, user: User) -> SafeString | None:
        wallet = _wallet(user)
        return link_to(wallet, wallet.balance) if wallet else None

    @admin.display(description="Debt (credits)")
    def owed(self, user: User) -> int | None:
        wallet = _wallet(user)
        return wallet.debt if wallet else None

    @admin.display(description="Lifetime credits")
    def credits_ever(self, user: User) -> int | None:
        wallet = _wallet(user)
        return wallet.lifetime_total if wallet else None

    @admin.display(description="Related")
    def related(self, user: User) -> SafeString:
        timeline_url = reverse("admin:timeline", args=[user.id])
        return links(
            [(timeline_url, "Timeline")]
            + [
                (f"{reverse(f'admin:{name}_changelist')}?q={user.id}", text)
                for name, text in [
                    ("generation_job", "Jobs"),
                    ("generation_trainedmodel", "Trained models"),
                    ("credits_ledgerentry", "Ledger entries"),
                    ("credits_lot", "Credit lots"),
                    ("billing_purchase", "Purchases"),
                    ("billing_fraudscore", "Fraud score"),
                    ("generation_violation", "Violations"),
                    ("accounts_device", "Devices"),
                    ("accounts_session", "Sessions"),
                    ("accounts_push", "Push notifications"),
                    ("accounts_pushtoken", "Push tokens"),
                    ("adminops_auditlogentry", "Audit log"),
                    ("adminops_errorlog", "Error log"),
                ]
            ]
        )

    # --- Actions ----------------------------------------------------------------------------------

    def available_actions(self, request: HttpRequest, row: User) -> set[str]:
        available = set()
        if row.id != request.user.id and (request.user.is_superuser or not row.is_staff):
            available = {"unban"} if row.suspended_at else {"ban"}
            if row.hardware_banned_at:
                available |= {"unban"}
        if _wallet(row) and not row.closed_at:
            available |= {"refund", "adjust", "sign_out"}
        if row.is_staff and row.id != request.user.id and otp.find_totp_device(row):
            available |= {"reset_second_factor"}
        return available

    @action_button(
        action=AdminAction.REFUND_CREDITS,
        description="Refund credits",
        url_path="refund",
        icon="redeem",
        variant=ActionVariant.PRIMARY,
    )
    def refund(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._action_page(
            request,
            object_id,
            credit_actions.refund_credits,
            title="Refund credits",
            explanation="Grants credits as goodwill. The customer's debt is repaid first.",
            success=_balance_message,
            button="Refund",
            form_class=RefundForm,
        )

    @action_button(
        action=AdminAction.ADJUST_CREDITS,
        description="Adjust credits",
        url_path="adjust",
        icon="tune",
        variant=ActionVariant.DEFAULT,
    )
    def adjust(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._action_page(
            request,
            object_id,
            credit_actions.adjust_credits,
            title="Adjust credits",
            explanation="Corrects a wrong balance. The ledger shows an adjustment.",
            success=_balance_message,
            button="Adjust",
            form_class=AdjustForm,
        )

    @action_button(
        action=AdminAction.BAN_USER,
        description="Ban",
        url_path="ban",
        icon="block",
        variant=ActionVariant.DANGER,
    )
    def ban(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._action_page(
            request,
            object_id,
            users.ban_user,
            title="Ban",
            explanation="Ends all sessions. The credits stay, but cannot be spent. Running jobs "
            "continue. The user's devices are banned too: a new guest on them cannot order.",
            success="User banned.",
            button="Ban",
            dangerous=True,
        )

    @action_button(
        action=AdminAction.UNBAN_USER,
        description="Lift the ban",
        url_path="unban",
        icon="undo",
        variant=ActionVariant.PRIMARY,
    )
    def unban(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._action_page(
            request,
            object_id,
            users.unban_user,
            title="Lift the ban",
            explanation="The user can sign in and spend again. The bans of the user's devices are "
            "lifted too.",
            success="Ban lifted.",
        )

    @action_button(
        action=AdminAction.REVOKE_SESSIONS,
        description="Sign out everywhere",
        url_path="sign-out",
        icon="logout",
        variant=ActionVariant.DEFAULT,
    )
    def sign_out(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._action_page(
            request,
            object_id,
            users.revoke_sessions,
            title="Sign out everywhere",
            explanation="Ends all sessions within seconds. Devices of an account must sign in with "
            "Apple again. A guest's device signs in again as the same guest.",
            success=lambda ended: f"Sessions ended: {ended}.",
        )

    @action_button(
        action=AdminAction.RESET_SECOND_FACTOR,
        description="Reset second factor",
        url_path="reset-second-factor",
        icon="phonelink_erase",
        variant=ActionVariant.DANGER,
    )
    def reset_second_factor(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._action_page(
            request,
            object_id,
            users.reset_second_factor,
            title="Reset second factor",
            explanation="Deletes the authenticator and the recovery codes. The next sign-in sets "
            "up a new authenticator. Verify the identity of the person who asks first.",
            success="Second factor reset.",
            button="Reset",
            dangerous=True,
        )

    def _action_page(
        self, request: HttpRequest, object_id: str, perform: Any, **texts: Any
    ) -> HttpResponse:
        user = self.get_row(request, object_id)
        return self.action_page(request, user, perform, user_id=user.id, **texts)


def _balance_message(result: credit_actions.GrantResult) -> str:
    if result.approval:
        return pending_message(result.approval)
    return f"Done. New balance: {result.balance} credits."


def _wallet(user: User) -> Any:
    """The user's wallet. None for staff."""
    return getattr(user, "wallet", None)
