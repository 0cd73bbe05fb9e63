"""Jobs, their provider requests and the webhooks of providers. Read-only, with actions."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from adminops.actions import jobs
from adminops.admin.base import (
    ActionVariant,
    ReadOnlyAdmin,
    TabularInline,
    action_button,
    badge,
    link,
    link_to,
    links,
    user_link,
)
from adminops.admin.money.ledger import job_entries_filter
from adminops.models import AdminAction
from credits.models import LedgerEntry
from generation import media
from generation.models import (
    Job,
    JobStatus,
    ProviderRequest,
    RequestState,
    WebhookDelivery,
)
from generation.providers import provider_choices
from rendio.common.errors import refusal_by_code

STATUS_COLOURS = {
    JobStatus.PENDING: "info",
    JobStatus.PROCESSING: "warning",
    JobStatus.COMPLETED: "success",
    JobStatus.FAILED: "danger",
    JobStatus.CANCELLED: "",
}
REQUEST_COLOURS = {
    RequestState.SENDING: "info",
    RequestState.ACCEPTED: "warning",
    RequestState.REFUSED: "danger",
    RequestState.UNKNOWN: "danger",
    RequestState.FINISHED: "success",
    RequestState.FAILED: "danger",
}


class RequestInline(TabularInline):
    """The job's requests to providers, with their results."""

    model = ProviderRequest
    verbose_name_plural = "Provider requests"
    fields = readonly_fields = (
        "provider",
        "state_label",
        "provider_request_id",
        "cost_usd",
        "error_type",
        "sent_at",
        "ended_at",
    )
    ordering = ("-id",)
    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="State")
    def state_label(self, submission: ProviderRequest) -> SafeString:
        return _request_state(submission)


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "status_label",
        "stage",
        "owner",
        "model_name",
        "credits",
        "error",
        "created_at",
        "completed_at",
    )
    list_filter = ("status", "stage", "queue", "model")
    list_select_related = ("user", "model")
    ordering = ("-id",)
    id_search = ("id", "user_id")
    text_search = ("requests__provider_request_id__exact",)
    sensitive_fields = ("prompt", "input_image", "result")
    search_help_text = "A job ID, a user ID or a provider's request ID."
    inlines = (RequestInline,)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "id",
                    ("status_label", "progress", "error"),
                    ("owner", "model_name"),
                    "prompt",
                    "input_image",
                    "settings",
                    "repeats",
                    "result",
                )
            },
        ),
        (
            "Money",
            {
                "fields": (
                    ("credits", "price_usd"),
                    ("cancel_fee", "fee_kept", "loss_usd"),
                    "entries",
                )
            },
        ),
        (
            "Schedule",
            {
                "fields": (
                    ("stage", "queue", "tries"),
                    ("due_at", "leased_until", "deadline_at"),
                    ("queue_position", "cancel_requested_at"),
                )
            },
        ),
        (
            "Times",
            {"fields": (("created_at", "started_at", "completed_at"), "deleted_at")},
        ),
    )

    actions_detail = ("refund", "fail", "retry")

    def available_actions(self, request: HttpRequest, row: Job) -> list[str]:
        if not row.is_terminal:
            return ["fail", "retry"]
        if row.status == JobStatus.COMPLETED:
            return [] if row.refund_entry_id else ["refund"]
        return [] if row.media_name or row.deleted_at else ["retry"]

    @action_button(
        action=AdminAction.REFUND_JOB,
        description="Refund",
        url_path="refund",
        icon="redeem",
        variant=ActionVariant.PRIMARY,
    )
    def refund(self, request: HttpRequest, object_id: str) -> HttpResponse:
        job = self.get_row(request, object_id)
        return self.action_page(
            request,
            job,
            jobs.refund_job,
            job_id=job.id,
            title="Refund",
            explanation=f"Refunds the job's {job.credits} credits, once. The customer keeps the "
            "video.",
            success=lambda credits: f"Credits refunded: {credits}.",
        )

    @action_button(
        action=AdminAction.FAIL_JOB,
        description="Fail",
        url_path="fail",
        icon="cancel",
        variant=ActionVariant.DANGER,
    )
    def fail(self, request: HttpRequest, object_id: str) -> HttpResponse:
        job = self.get_row(request, object_id)
        return self.action_page(
            request,
            job,
            jobs.fail_job,
            job_id=job.id,
            title="Fail",
            explanation="Fails and refunds the job now, as a timeout would. The provider is "
            "asked to cancel. If a video arrives anyway, the customer gets it.",
            success=lambda credits: f"Job failed. Credits refunded: {credits}.",
            dangerous=True,
        )

    @action_button(
        action=AdminAction.RETRY_JOB,
        description="Retry",
        url_path="try-again",
        icon="replay",
        variant=ActionVariant.DEFAULT,
    )
    def retry(self, request: HttpRequest, object_id: str) -> HttpResponse:
        job = self.get_row(request, object_id)
        return self.action_page(
            request,
            job,
            jobs.retry_job,
            job_id=job.id,
            title="Retry",
            explanation="A running job is processed at once. For a refunded job, the video is "
            "fetched if the provider still has it.",
            success="Retry started.",
        )

    def id_filter(self, searched: UUID) -> Q:
        sent_for = _requests_by_provider_id(searched).values_list("job_id", flat=True)
        return super().id_filter(searched) | Q(id__in=list(sent_for))

    @admin.display(description="Status", ordering="status")
    def status_label(self, job: Job) -> SafeString:
        status = badge(job.status, STATUS_COLOURS.get(JobStatus(job.status), ""))
        # Failed and cancelled jobs are always refunded.
        if job.status == JobStatus.COMPLETED and job.refund_entry_id:
            refund = "partly refunded" if job.fee_kept else "refunded"
            return format_html("{} {}", status, badge(refund, "warning"))
        return status

    @admin.display(description="User")
    def owner(self, job: Job) -> SafeString | None:
        return user_link(job.user)

    @admin.display(description="Model", ordering="model__name")
    def model_name(self, job: Job) -> SafeString | None:
        return link_to(job.model)

    @admin.display(description="Error")
    def error(self, job: Job) -> str | None:
        return refusal_by_code(job.error_code).type if job.error_code else None

    @admin.display(description="Input images")
    def input_image(self, job: Job) -> SafeString | None:
        uploads = [(job.upload, "Image"), (job.second_upload, "Mask or last keyframe")]
        available = [
            (url, text)
            for upload, text in uploads
            if upload and (url := media.signed_url(upload.name))
        ]
        return links(available) if available else None

    @admin.display(description="Result")
    def result(self, job: Job) -> SafeString | None:
        files = [
            *(
                (image["media_name"], f"Image {number}")
                for number, image in enumerate(job.images, start=1)
            ),
            ("" if job.images else job.media_name, "Video"),
            (job.thumbnail_name, "Thumbnail"),
            (job.original_name, "Original file"),
        ]
        available = [(url, text) for name, text in files if (url := media.signed_url(name))]
        return links(available) if available else None

    @admin.display(description="Retry of")
    def repeats(self, job: Job) -> SafeString | None:
        if job.retry_of is None:
            return None
        return link(reverse("admin:generation_job_change", args=[job.retry_of]), job.retry_of)

    @admin.display(description="Ledger entries")
    def entries(self, job: Job) -> SafeString | None:
        entries = LedgerEntry.objects.filter(job_entries_filter(job.id))
        return links(
            [
                (
                    reverse("admin:credits_ledgerentry_change", args=[entry.id]),
                    f"{entry.kind} {entry.change:+d}",
                )
                for entry in entries.order_by("id")
            ]
        )


@admin.register(ProviderRequest)
class ProviderRequestAdmin(ReadOnlyAdmin):
    """The webhook token is not shown: with it, anyone could forge the provider's webhooks."""

    list_display = (
        "id",
        "provider",
        "state_label",
        "provider_request_id",
        "job_link",
        "cost_usd",
        "error_type",
        "sent_at",
        "ended_at",
    )
    list_filter = ("state", "provider")
    ordering = ("-id",)
    id_search = ("id", "job_id")
    text_search = ("provider_request_id__exact",)
    # A provider's error may repeat the user's input.
    sensitive_fields = ("error_detail", "raw_result")
    search_help_text = "A request ID (ours or the provider's) or a job ID."
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "id",
                    ("provider", "provider_request_id"),
                    "state_label",
                    "job_link",
                    "route_link",
                    "deliveries",
                )
            },
        ),
        ("Result", {"fields": ("cost_usd", "error_type", "error_detail", "raw_result")}),
        ("Times", {"fields": (("sent_at", "answered_at", "ended_at"), "fetch_failed_at")}),
        ("URLs at the provider", {"fields": ("status_url", "response_url", "cancel_url")}),
    )

    def id_filter(self, searched: UUID) -> Q:
        sent = _requests_by_provider_id(searched).values_list("id", flat=True)
        return super().id_filter(searched) | Q(id__in=list(sent))

    @admin.display(description="State", ordering="state")
    def state_label(self, submission: ProviderRequest) -> SafeString:
        return _request_state(submission)

    @admin.display(description="Job")
    def job_link(self, submission: ProviderRequest) -> SafeString:
        url = reverse("admin:generation_job_change", args=[submission.job_id])
        return link(url, submission.job_id)

    @admin.display(description="Route")
    def route_link(self, submission: ProviderRequest) -> SafeString | None:
        return link_to(submission.route.model, submission.route)

    @admin.display(description="Webhook deliveries")
    def deliveries(self, submission: ProviderRequest) -> SafeString | None:
        if not submission.provider_request_id:
            return None
        url = reverse("admin:generation_webhookdelivery_changelist")
        return link(f"{url}?q={submission.provider_request_id}", "Show deliveries")


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "provider",
        "provider_request_id",
        "outcome",
        "received_at",
        "processed_at",
    )
    list_filter = ("provider", ("processed_at", admin.EmptyFieldListFilter))
    ordering = ("-id",)
    text_search = ("provider_request_id__exact",)
    search_help_text = "A delivery ID or the provider's request ID."
    fields = (
        "id",
        ("provider", "provider_request_id"),
        "outcome",
        ("received_at", "processed_at", "retry_at"),
        "body",
    )

    actions_detail = ("reprocess",)

    def available_actions(self, request: HttpRequest, row: WebhookDelivery) -> list[str]:
        return ["reprocess"] if row.processed_at else []

    @action_button(
        action=AdminAction.REPROCESS_DELIVERY,
        description="Reprocess",
        url_path="apply-again",
        icon="replay",
        variant=ActionVariant.PRIMARY,
    )
    def reprocess(self, request: HttpRequest, object_id: str) -> HttpResponse:
        delivery = self.get_row(request, object_id)
        return self.action_page(
            request,
            delivery,
            jobs.reprocess_delivery,
            delivery_id=delivery.id,
            title="Reprocess",
            explanation="A worker processes the delivery again. Effects that exist already are not "
            "repeated.",
            success="Delivery queued.",
        )

    def id_filter(self, searched: UUID) -> Q:
        return super().id_filter(searched) | Q(provider_request_id=str(searched))


def _requests_by_provider_id(searched: UUID) -> QuerySet[ProviderRequest]:
    """Requests by the provider's id, which is a UUID at fal. All providers are listed because the
    index starts with the provider."""
    providers = [name for name, _ in provider_choices()]
    return ProviderRequest.objects.filter(provider__in=providers, provider_request_id=str(searched))


def _request_state(submission: ProviderRequest) -> SafeString:
    state = RequestState(submission.state)
    return badge(state.value, REQUEST_COLOURS.get(state, ""))
