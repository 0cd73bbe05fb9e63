"""Users with what support may do to them."""

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
    """Django's, for a username that can be seen: Hangul fillers are letters to it."""


class StaffChangeForm(VisibleTextForm, UserChangeForm):
    """The same for a change."""


class StandingFilter(admin.SimpleListFilter):
    title = "standing"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("good", "In good standing"),
            ("banned", "Banned"),
            ("phone", "On a banned phone"),
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
    """Customers are only looked at and acted upon. Staff accounts are edited by superusers: whoever
    could edit them could make themselves one."""

    form = StaffChangeForm
    add_form = StaffCreationForm
    change_password_form = AdminPasswordChangeForm
    add_fieldsets = (
        (
            None,
            {
                "fields": ("username", "password1", "password2"),
                "description": "A member of staff. Customers come by their phones.",
            },
        ),
    )
    list_display = (
        "who",
        "email",
        "standing",
        "is_guest",
        "is_staff",
        "tier",
        "credits",
        "created_at",
    )
    list_filter = (StandingFilter, "is_guest", "is_staff", "tier")
    list_select_related = ("wallet",)
    ordering = ("-created_at",)
    actions = None
    # A whole address, as it is kept: by its beginning one could find out whom we know.
    text_search = ("email__iexact", "username__istartswith")
    sensitive_fields = ("email",)
    code_fields = ("suspended_reason",)
    search_help_text = "An id, a device's id, an e-mail address or a username."
    readonly_fields = (
        "id",
        "is_guest",
        "standing",
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
        person = (
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
        standing = (
            "Standing",
            {
                "fields": (
                    "standing",
                    self.visible_fields(request, ("suspended_at", "suspended_reason")),
                    "hardware_banned_at",
                    ("welcomed_at", "closed_at"),
                )
            },
        )
        money = ("Credits", {"fields": (("credits", "owed", "credits_ever"), "related")})
        if not obj.username:
            return (person, money, standing)
        access: list[Any] = ["username", ("is_staff", "is_superuser"), "groups", "last_login"]
        if request.user.is_superuser:
            access += ["password", "user_permissions"]
        return (person, ("Staff", {"fields": access}), standing, money)

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
        """Django's own tells what was edited: nothing of a customer."""
        user = self.get_row(request, object_id)
        if user.username:
            return super().history_view(request, object_id, extra_context)
        return audit_log_redirect(user.id)

    def id_filter(self, searched: UUID) -> Q:
        owners = Device.objects.filter(device_id=searched).values_list("user_id", flat=True)
        return Q(id__in=[searched, *owners])

    # --- Columns --------------------------------------------------------------------------------

    @admin.display(description="User")
    def who(self, user: User) -> str:
        return user.username or str(user.id)

    @admin.display(description="Standing")
    def standing(self, user: User) -> SafeString:
        return status_badge(user)

    @admin.display(description="Credits", ordering="wallet__balance")
    def credits(self, user: User) -> SafeString | None:
        wallet = _wallet(user)
        return link_to(wallet, wallet.balance) if wallet else None

    @admin.display(description="Owes")
    def owed(self, user: User) -> int | None:
        wallet = _wallet(user)
        return wallet.debt if wallet else None

    @admin.display(description="Credits ever granted")
    def credits_ever(self, user: User) -> int | None:
        wallet = _wallet(user)
        return wallet.lifetime_total if wallet else None

    @admin.display(description="Look at")
    def related(self, user: User) -> SafeString:
        story = (reverse("admin:timeline", args=[user.id]), "The whole story")
        return links(
            [story]
            + [
                (f"{reverse(f'admin:{name}_changelist')}?q={user.id}", text)
                for name, text in [
                    ("generation_job", "Jobs"),
                    ("credits_ledgerentry", "Ledger entries"),
                    ("credits_lot", "Lots of credits"),
                    ("billing_purchase", "Purchases"),
                    ("billing_fraudscore", "Fraud marks"),
                    ("generation_offence", "Refused content"),
                    ("accounts_device", "Devices"),
                    ("accounts_session", "Sessions"),
                    ("accounts_push", "Pushes"),
                    ("accounts_pushtoken", "Phones for pushes"),
                    ("adminops_auditlogentry", "What support did"),
                    ("adminops_errorlog", "What was refused"),
                ]
            ]
        )

    # --- Acts -----------------------------------------------------------------------------------

    def available_actions(self, request: HttpRequest, row: User) -> set[str]:
        shown = set()
        if row.id != request.user.id and (request.user.is_superuser or not row.is_staff):
            shown = {"unban"} if row.suspended_at else {"ban"}
            if row.hardware_banned_at:
                shown |= {"unban"}
        if _wallet(row) and not row.closed_at:
            shown |= {"refund", "adjust", "sign_out"}
        if row.is_staff and row.id != request.user.id and otp.app_of(row):
            shown |= {"reset_second_factor"}
        return shown

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
            explanation="Gives credits out of goodwill. What the customer owes is repaid first.",
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
            explanation="Corrects a balance that is wrong. The ledger shows it as an adjustment.",
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
            explanation="Ends all sessions; the credits stay and cannot be spent. Jobs that run go "
            "on to their end. The user's phones are marked: a new guest there may order nothing.",
            success="The user is banned.",
            button="Ban this user",
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
            explanation="The user may sign in and spend again. The bans of this user's phones are "
            "lifted too.",
            success="The ban is lifted.",
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
            explanation="Ends all sessions within seconds. The phones of an account have to sign "
            "in with Apple again; a guest has nothing but the phone, which comes back as the same "
            "guest.",
            success=lambda ended: f"{ended} sessions were ended.",
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
            explanation="For who has lost the phone and the recovery codes: both are forgotten, and"
            " the next sign-in sets up another app. Make sure first that it is them who ask.",
            success="The second factor is forgotten.",
            button="Reset",
            dangerous=True,
        )

    def _action_page(
        self, request: HttpRequest, object_id: str, perform: Any, **texts: Any
    ) -> HttpResponse:
        user = self.get_row(request, object_id)
        return self.action_page(request, user, perform, user_id=user.id, **texts)


def _balance_message(result: credit_actions.Given) -> str:
    if result.waiting:
        return pending_message(result.waiting)
    return f"Done. The balance is {result.balance} credits now."


def _wallet(user: User) -> Any:
    """The user's wallet; None for staff, who have none."""
    return getattr(user, "wallet", None)
