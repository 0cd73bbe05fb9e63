"""Who of the staff may look at what, and act how: four groups, each with its permissions.

This table is the truth. Whatever changes it comes with a migration that calls `set_up`, which makes
the groups so; who needs something of their own gets a group of their own.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db.models import Q

from adminops.models import SEE_MONEY, SEE_SENSITIVE, AdminAction

_PEOPLE = {"accounts.user", "accounts.session", "accounts.push"}
_MONEY = {
    "billing.product",
    "billing.purchase",
    "billing.subscription",
    "credits.ledgerentry",
    "credits.lot",
    "credits.wallet",
    "adminops.pendingapproval",
}
_WORK = {
    "generation.blockedterm",
    "generation.deadletter",
    "generation.job",
    "generation.maintenance",
    "generation.model",
    "generation.offence",
    "generation.providerhealth",
    "generation.providerrequest",
    "generation.route",
    "generation.theme",
}
_RECORD = {"adminops.incident", "adminops.auditlogentry", "adminops.errorlog"}
# With what came in as it came, and what says who somebody is.
_CLOSER_MONEY = {
    "billing.consumptionrequest",
    "billing.fraudscore",
    "billing.backfillcursor",
    "billing.notification",
    "billing.unconfirmedpurchase",
    "billing.unreadablepayload",
    "credits.promotioncode",
    "credits.redemption",
}
_CLOSER = _CLOSER_MONEY | {
    "accounts.device",
    "accounts.pushtoken",
    "adminops.alert",
    "generation.webhookdelivery",
}
# What providers cost from day to day; with the page of the money.
_COSTS = {"generation.spendday"}


def _views(models: set[str]) -> set[str]:
    return {model.replace(".", ".view_") for model in models}


def _acts(*acts: str) -> set[str]:
    return {f"adminops.{act}" for act in acts}


_VIEWER = _views(_PEOPLE | _MONEY | _WORK | _RECORD)
_AGENT = (
    _VIEWER
    | _views(_CLOSER)
    | _acts(
        SEE_SENSITIVE,
        AdminAction.REFUND_CREDITS,
        AdminAction.BAN_USER,
        AdminAction.UNBAN_USER,
        AdminAction.FORGIVE_OFFENCES,
        AdminAction.ASSIGN_PURCHASE,
        AdminAction.OVERRIDE_REFUND,
        AdminAction.RETRY_DEAD_LETTER,
        AdminAction.DISMISS_DEAD_LETTER,
        AdminAction.REFUND_JOB,
        AdminAction.RETRY_JOB,
        AdminAction.REAPPLY_DELIVERY,
        AdminAction.REAPPLY_NOTIFICATION,
        AdminAction.REAPPLY_PURCHASE,
        AdminAction.REVOKE_SESSIONS,
    )
)
_LEAD = (
    _AGENT
    | _views(_COSTS)
    | {
        "generation.add_blockedterm",
        "generation.change_blockedterm",
        "generation.delete_blockedterm",
    }
    | _acts(
        SEE_MONEY,
        AdminAction.ADJUST_CREDITS,
        AdminAction.APPROVE_GRANT,
        AdminAction.FAIL_JOB,
        AdminAction.RUN_INCIDENT,
        AdminAction.RESET_SECOND_FACTOR,
        AdminAction.TOGGLE_MODEL,
        AdminAction.TOGGLE_ROUTE,
        AdminAction.DISMISS_PAYLOAD,
        AdminAction.RELEASE_PURCHASE,
        AdminAction.RESET_PROVIDER,
        AdminAction.SWITCH_MAINTENANCE,
        AdminAction.MAKE_CODE,
        AdminAction.CHANGE_CODE,
        AdminAction.TOGGLE_CODE,
        AdminAction.EDIT_MODEL,
        AdminAction.EDIT_THEME,
    )
)
_FINANCE = (
    _views(_PEOPLE | _MONEY | _CLOSER_MONEY | _COSTS | _RECORD)
    | {"adminops.view_alert", "generation.view_job", "generation.view_model"}
    | _acts(
        SEE_MONEY,
        SEE_SENSITIVE,
        AdminAction.REFUND_CREDITS,
        AdminAction.ADJUST_CREDITS,
        AdminAction.APPROVE_GRANT,
        AdminAction.ASSIGN_PURCHASE,
        AdminAction.REAPPLY_NOTIFICATION,
        AdminAction.REAPPLY_PURCHASE,
        AdminAction.DISMISS_PAYLOAD,
        AdminAction.RELEASE_PURCHASE,
        AdminAction.OVERRIDE_REFUND,
        AdminAction.MAKE_CODE,
        AdminAction.CHANGE_CODE,
        AdminAction.TOGGLE_CODE,
        AdminAction.EDIT_PRODUCT,
    )
)

ROLES = {"viewer": _VIEWER, "agent": _AGENT, "lead": _LEAD, "finance": _FINANCE}


def set_up(apps: Any, _schema_editor: Any) -> None:
    """For migrations. What a role names and an earlier migration does not know is left to a later
    one."""
    for config in apps.get_app_configs():
        # Django itself writes permissions only after the last migration; it skips apps without a
        # models module, which those of a migration have not.
        config.models_module = True
        create_permissions(config, apps=apps, verbosity=0)
        config.models_module = None
    for name, permissions in ROLES.items():
        group, _ = apps.get_model("auth", "Group").objects.get_or_create(name=name)
        group.permissions.set(
            apps.get_model("auth", "Permission").objects.filter(_any(permissions))
        )


def _any(permissions: set[str]) -> Q:
    named = [permission.split(".") for permission in sorted(permissions)]
    return Q.create(
        [Q(content_type__app_label=app, codename=codename) for app, codename in named],
        connector=Q.OR,
    )
