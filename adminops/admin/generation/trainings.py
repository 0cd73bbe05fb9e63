"""Models that users train, and their consents to train on images of a person. Read-only."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from adminops.admin.base import ReadOnlyAdmin, badge, link_to, user_link
from adminops.admin.generation.jobs import STATUS_COLOURS
from generation.models import JobStatus, TrainedModel, TrainingConsent


@admin.register(TrainedModel)
class TrainedModelAdmin(ReadOnlyAdmin):
    """Neither images nor weights are shown."""

    list_display = ("created_at", "owner", "kind", "status", "base_family", "deleted_at")
    list_filter = ("kind", "job__status", ("deleted_at", admin.EmptyFieldListFilter))
    list_select_related = ("user", "job")
    ordering = ("-id",)
    id_search = ("id", "user_id", "job_id")
    search_help_text = "A trained model's ID, a user ID or a job ID."
    sensitive_fields = ("name",)
    fields = (
        "id",
        ("owner", "training"),
        ("name", "kind", "status"),
        ("trigger_word", "base_family"),
        ("weights_size_bytes", "images"),
        ("provider", "provider_model"),
        "consent_link",
        ("created_at", "deleted_at"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[TrainedModel]:
        return super().get_queryset(request).select_related("user", "job", "consent")

    @admin.display(description="User")
    def owner(self, trained: TrainedModel) -> SafeString | None:
        return user_link(trained.user)

    @admin.display(description="Training")
    def training(self, trained: TrainedModel) -> SafeString | None:
        return link_to(trained.job)

    @admin.display(description="Status", ordering="job__status")
    def status(self, trained: TrainedModel) -> SafeString:
        status = JobStatus(trained.job.status)
        return badge(status.label, STATUS_COLOURS[status])

    @admin.display(description="Stored images")
    def images(self, trained: TrainedModel) -> int:
        return trained.training_set.pictures.count() if trained.training_set else 0

    @admin.display(description="Consent")
    def consent_link(self, trained: TrainedModel) -> SafeString | None:
        return link_to(trained.consent)


@admin.register(TrainingConsent)
class TrainingConsentAdmin(ReadOnlyAdmin):
    list_display = ("given_at", "owner", "text_version", "language", "withdrawn_at")
    list_filter = ("text_version", ("withdrawn_at", admin.EmptyFieldListFilter))
    list_select_related = ("user",)
    ordering = ("-id",)
    id_search = ("id", "user_id")
    search_help_text = "A consent's ID or a user ID."
    sensitive_fields = ("subject_name",)
    fields = (
        "id",
        "owner",
        ("text_version", "language"),
        "subject_name",
        "trained",
        ("given_at", "withdrawn_at"),
    )

    @admin.display(description="User")
    def owner(self, consent: TrainingConsent) -> SafeString | None:
        return user_link(consent.user)

    @admin.display(description="Trained model")
    def trained(self, consent: TrainingConsent) -> SafeString | None:
        trained = consent.trained_models.first()
        return link_to(trained, trained.id if trained else None)
