"""The audit log of staff actions, read-only."""

from __future__ import annotations

from django.contrib import admin
from django.urls import reverse
from django.utils.safestring import SafeString

from adminops.admin.base import ReadOnlyAdmin, badge, link, user_link
from adminops.models import AdminAction, AuditLogEntry, Subject

ACTION_COLOURS = {
    AdminAction.REFUND_CREDITS: "success",
    AdminAction.ADJUST_CREDITS: "warning",
    AdminAction.BAN_USER: "danger",
    AdminAction.UNBAN_USER: "success",
    AdminAction.TOGGLE_MODEL: "info",
    AdminAction.ASSIGN_PURCHASE: "success",
    AdminAction.RESET_PROVIDER: "info",
    AdminAction.SWITCH_MAINTENANCE: "warning",
    AdminAction.RETRY_DEAD_LETTER: "info",
    AdminAction.DISMISS_DEAD_LETTER: "info",
    AdminAction.CREATE_CODE: "success",
    AdminAction.UPDATE_CODE: "warning",
    AdminAction.TOGGLE_CODE: "info",
    AdminAction.RELEASE_PURCHASE: "success",
    AdminAction.OVERRIDE_REFUND: "warning",
    AdminAction.REFUND_JOB: "success",
    AdminAction.FAIL_JOB: "danger",
    AdminAction.RETRY_JOB: "info",
    AdminAction.REPROCESS_DELIVERY: "info",
    AdminAction.REPROCESS_NOTIFICATION: "info",
    AdminAction.REPROCESS_PURCHASE: "info",
    AdminAction.REVOKE_SESSIONS: "warning",
    AdminAction.TOGGLE_ROUTE: "info",
    AdminAction.REQUEST_APPROVAL: "warning",
    AdminAction.APPROVE: "success",
    AdminAction.DECLINE: "danger",
    AdminAction.RUN_INCIDENT: "danger",
    AdminAction.EDIT_PRODUCT: "warning",
    AdminAction.EDIT_MODEL: "warning",
    AdminAction.EDIT_THEME: "info",
}
SUBJECT_PAGES = {
    Subject.USER: "admin:accounts_user_change",
    Subject.MODEL: "admin:generation_generationmodel_change",
    Subject.PURCHASE: "admin:billing_purchase_change",
    Subject.PROVIDER: "admin:generation_providerhealth_change",
    Subject.SERVICE: "admin:generation_maintenance_change",
    Subject.LETTER: "admin:generation_deadletter_change",
    Subject.CODE: "admin:credits_promotioncode_change",
    Subject.JOB: "admin:generation_job_change",
    Subject.ROUTE: "admin:generation_providerroute_change",
    Subject.DELIVERY: "admin:generation_webhookdelivery_change",
    Subject.NOTICE: "admin:billing_notification_change",
    Subject.PAYLOAD: "admin:billing_unreadablepayload_change",
    Subject.INCIDENT: "admin:adminops_incident_change",
    Subject.PRODUCT: "admin:billing_product_change",
    Subject.THEME: "admin:generation_theme_change",
    Subject.APPROVAL: "admin:adminops_pendingapproval_change",
}


@admin.register(AuditLogEntry)
class AuditLogEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "action_label", "subject", "reason", "actor")
    list_filter = ("action",)
    list_select_related = ("actor",)
    ordering = ("-at",)
    id_search = ("id", "subject_id", "actor_id")
    text_search = ("request_id__exact",)
    code_fields = ("reason", "before", "after")
    search_help_text = "The ID of an entry, a subject, an actor or a request."
    fields = (
        "id",
        "at",
        "action_label",
        "subject",
        "reason",
        "actor",
        "credits",
        "before",
        "after",
        "request_id",
    )

    @admin.display(description="Action", ordering="action")
    def action_label(self, entry: AuditLogEntry) -> SafeString:
        return badge(entry.get_action_display(), ACTION_COLOURS.get(AdminAction(entry.action), ""))

    @admin.display(description="Subject")
    def subject(self, entry: AuditLogEntry) -> SafeString:
        url = reverse(SUBJECT_PAGES[Subject(entry.subject_type)], args=[entry.subject_id])
        return link(url, f"{entry.subject_type} {entry.subject_id}")

    @admin.display(description="Actor")
    def actor(self, entry: AuditLogEntry) -> SafeString | None:
        return user_link(entry.actor)
