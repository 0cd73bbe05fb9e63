"""The groups of staff and their permissions.

This module is the source of truth. A change here needs a migration that calls `sync_groups`, which
overwrites the four groups. For other permissions, a superuser creates another group.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db.models import Q

from adminops.models import SEE_MONEY, SEE_SENSITIVE, AdminAction

_USERS = {"accounts.user", "accounts.session", "accounts.push"}
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
    "generation.generationmodel",
    "generation.violation",
    "generation.providerhealth",
    "generation.providerrequest",
    "generation.providerroute",
    "generation.theme",
    "generation.trainedmodel",
    "generation.trainingconsent",
}
_LOGS = {"adminops.incident", "adminops.auditlogentry", "adminops.errorlog"}
# Raw input of customers and stores, and identities.
_SENSITIVE_MONEY = {
    "billing.consumptionrequest",
    "billing.fraudscore",
    "billing.backfillcursor",
    "billing.notification",
    "billing.unconfirmedpurchase",
    "billing.unreadablepayload",
    "credits.promotioncode",
    "credits.redemption",
}
_SENSITIVE = _SENSITIVE_MONEY | {
    "accounts.device",
    "accounts.pushtoken",
    "adminops.alert",
    "generation.webhookdelivery",
}
# Daily costs of providers, with the money page.
_COSTS = {"generation.spendday"}


def _view_permissions(models: set[str]) -> set[str]:
    return {model.replace(".", ".view_") for model in models}


def _action_permissions(*actions: str) -> set[str]:
    return {f"adminops.{action}" for action in actions}


# Names of the release before, whose processes check them during a deployment.
_FORMER = {
    "adminops.view_adminaction",
    "generation.view_model",
    "generation.view_offence",
    "generation.view_route",
}
_VIEWER = _view_permissions(_USERS | _MONEY | _WORK | _LOGS) | _FORMER
_AGENT = (
    _VIEWER
    | _view_permissions(_SENSITIVE)
    | _action_permissions(
        SEE_SENSITIVE,
        AdminAction.REFUND_CREDITS,
        AdminAction.BAN_USER,
        AdminAction.UNBAN_USER,
        AdminAction.CLEAR_VIOLATIONS,
        AdminAction.ASSIGN_PURCHASE,
        AdminAction.OVERRIDE_REFUND,
        AdminAction.RETRY_DEAD_LETTER,
        AdminAction.DISMISS_DEAD_LETTER,
        AdminAction.REFUND_JOB,
        AdminAction.RETRY_JOB,
        AdminAction.REPROCESS_DELIVERY,
        AdminAction.REPROCESS_NOTIFICATION,
        AdminAction.REPROCESS_PURCHASE,
        AdminAction.REVOKE_SESSIONS,
    )
)
_LEAD = (
    _AGENT
    | _view_permissions(_COSTS)
    | {
        "generation.add_blockedterm",
        "generation.change_blockedterm",
        "generation.delete_blockedterm",
    }
    | _action_permissions(
        SEE_MONEY,
        AdminAction.ADJUST_CREDITS,
        AdminAction.APPROVE,
        AdminAction.FAIL_JOB,
        AdminAction.RUN_INCIDENT,
        AdminAction.RESET_SECOND_FACTOR,
        AdminAction.TOGGLE_MODEL,
        AdminAction.TOGGLE_ROUTE,
        AdminAction.DISMISS_PAYLOAD,
        AdminAction.RELEASE_PURCHASE,
        AdminAction.RESET_PROVIDER,
        AdminAction.SWITCH_MAINTENANCE,
        AdminAction.CREATE_CODE,
        AdminAction.UPDATE_CODE,
        AdminAction.TOGGLE_CODE,
        AdminAction.EDIT_MODEL,
        AdminAction.EDIT_THEME,
    )
)
_FINANCE = (
    _view_permissions(_USERS | _MONEY | _SENSITIVE_MONEY | _COSTS | _LOGS)
    | {
        "adminops.view_adminaction",
        "adminops.view_alert",
        "generation.view_job",
        "generation.view_generationmodel",
        "generation.view_model",
    }
    | _action_permissions(
        SEE_MONEY,
        SEE_SENSITIVE,
        AdminAction.REFUND_CREDITS,
        AdminAction.ADJUST_CREDITS,
        AdminAction.APPROVE,
        AdminAction.ASSIGN_PURCHASE,
        AdminAction.REPROCESS_NOTIFICATION,
        AdminAction.REPROCESS_PURCHASE,
        AdminAction.DISMISS_PAYLOAD,
        AdminAction.RELEASE_PURCHASE,
        AdminAction.OVERRIDE_REFUND,
        AdminAction.CREATE_CODE,
        AdminAction.UPDATE_CODE,
        AdminAction.TOGGLE_CODE,
        AdminAction.EDIT_PRODUCT,
    )
)

ROLES = {"viewer": _VIEWER, "agent": _AGENT, "lead": _LEAD, "finance": _FINANCE}


def sync_groups(apps: Any, _schema_editor: Any) -> None:
    """Create the groups and set their permissions, for migrations. A permission that does not exist
    yet is set by a later migration."""
    for config in apps.get_app_configs():
        # Django itself creates permissions only after the last migration. It skips apps without a
        # models module, and the apps of a migration have none.
        config.models_module = True
        create_permissions(config, apps=apps, verbosity=0)
        config.models_module = None
    for name, permissions in ROLES.items():
        group, _ = apps.get_model("auth", "Group").objects.get_or_create(name=name)
        group.permissions.set(
            apps.get_model("auth", "Permission").objects.filter(_matching(permissions))
        )


def _matching(permissions: set[str]) -> Q:
    named = [permission.split(".") for permission in sorted(permissions)]
    return Q.create(
        [Q(content_type__app_label=app, codename=codename) for app, codename in named],
        connector=Q.OR,
    )
