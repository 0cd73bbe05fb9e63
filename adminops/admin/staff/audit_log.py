"""What support did, to be looked at."""

from __future__ import annotations

from django.contrib import admin
from django.urls import reverse
from django.utils.safestring import SafeString

from adminops.admin.base import ReadOnlyAdmin, badge, link, user_link
from adminops.models import Action, AdminAction, Subject

ACTION_COLOURS = {
    Action.REFUND_CREDITS: "success",
    Action.ADJUST_CREDITS: "warning",
    Action.BAN_USER: "danger",
    Action.UNBAN_USER: "success",
    Action.TOGGLE_MODEL: "info",
    Action.ASSIGN_PURCHASE: "success",
    Action.RESET_PROVIDER: "info",
    Action.SWITCH_MAINTENANCE: "warning",
    Action.RETRY_DEAD_LETTER: "info",
    Action.DISMISS_DEAD_LETTER: "info",
    Action.MAKE_CODE: "success",
    Action.CHANGE_CODE: "warning",
    Action.TOGGLE_CODE: "info",
    Action.RELEASE_PURCHASE: "success",
    Action.OVERRIDE_REFUND: "warning",
    Action.REFUND_JOB: "success",
    Action.FAIL_JOB: "danger",
    Action.RETRY_JOB: "info",
    Action.REAPPLY_DELIVERY: "info",
    Action.REAPPLY_NOTIFICATION: "info",
    Action.REAPPLY_PURCHASE: "info",
    Action.REVOKE_SESSIONS: "warning",
    Action.TOGGLE_ROUTE: "info",
    Action.REQUEST_GRANT: "warning",
    Action.APPROVE_GRANT: "success",
    Action.DECLINE_GRANT: "danger",
    Action.RUN_INCIDENT: "danger",
    Action.EDIT_PRODUCT: "warning",
    Action.EDIT_MODEL: "warning",
    Action.EDIT_THEME: "info",
}
PAGES = {
    Subject.USER: "admin:accounts_user_change",
    Subject.MODEL: "admin:generation_model_change",
    Subject.PURCHASE: "admin:billing_purchase_change",
    Subject.PROVIDER: "admin:generation_providerhealth_change",
    Subject.SERVICE: "admin:generation_maintenance_change",
    Subject.LETTER: "admin:generation_deadletter_change",
    Subject.CODE: "admin:credits_promotioncode_change",
    Subject.JOB: "admin:generation_job_change",
    Subject.ROUTE: "admin:generation_route_change",
    Subject.DELIVERY: "admin:generation_webhookdelivery_change",
    Subject.NOTICE: "admin:billing_notification_change",
    Subject.INCIDENT: "admin:adminops_incident_change",
    Subject.PRODUCT: "admin:billing_product_change",
    Subject.THEME: "admin:generation_theme_change",
    Subject.APPROVAL: "admin:adminops_pendingapproval_change",
}


@admin.register(AdminAction)
class AdminActionAdmin(ReadOnlyAdmin):
    list_display = ("at", "action_label", "subject", "reason", "who")
    list_filter = ("action",)
    list_select_related = ("actor",)
    ordering = ("-at",)
    id_search = ("id", "subject_id", "actor_id")
    text_search = ("request_id__exact",)
    code_fields = ("reason", "before", "after")
    search_help_text = (
        "The id of an act, of whom or what it was done to, of who acted, or of the request."
    )
    fields = (
        "id",
        "at",
        "action_label",
        "subject",
        "reason",
        "who",
        "credits",
        "before",
        "after",
        "request_id",
    )

    @admin.display(description="Act", ordering="action")
    def action_label(self, act: AdminAction) -> SafeString:
        return badge(act.get_action_display(), ACTION_COLOURS.get(Action(act.action), ""))

    @admin.display(description="Whom or what")
    def subject(self, act: AdminAction) -> SafeString:
        url = reverse(PAGES[Subject(act.subject_type)], args=[act.subject_id])
        return link(url, f"{act.subject_type} {act.subject_id}")

    @admin.display(description="By")
    def who(self, act: AdminAction) -> SafeString | None:
        return user_link(act.actor)
