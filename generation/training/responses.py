"""Bodies and responses of the calls about trainings: for each response, the serializer that
describes it and its builder."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rest_framework import serializers

from generation import queries
from generation.catalogue.cache import Catalogue
from generation.catalogue.orders import FEE_HELP, SETTINGS_HELP
from generation.models import (
    MAX_MODEL_NAME,
    Job,
    JobStatus,
    TrainedModel,
    TrainingKind,
)
from generation.serializers import (
    MAX_POLL_SECONDS,
    MIN_POLL_SECONDS,
    REFUNDED_HELP,
    JobError,
    credits_refunded_field,
    refund_fields,
)
from generation.training.consent_text import TEXT_VERSION, consent_text
from generation.training.pictures import MAX_PICTURES
from generation.training.services import TrainingOrder
from rendio.common.errors import describe
from rendio.common.times import iso
from rendio.common.web.fields import (
    StrictBooleanField,
    StrictCharField,
    StrictIntegerField,
    TextUUIDField,
)

STEPS = "steps"


class LikenessConsentBody(serializers.Serializer):
    accepted = StrictBooleanField(help_text="Only `true` counts.")
    text_version = StrictCharField(max_length=20, help_text="Of the text that was shown.")
    subject_name = StrictCharField(
        max_length=60, required=False, allow_blank=True, help_text="Whom the images show."
    )


class StartBody(serializers.Serializer):
    set_id = TextUUIDField(help_text="The images: `set_id` of `train/upload`.")
    name = StrictCharField(max_length=MAX_MODEL_NAME)
    kind = serializers.ChoiceField(choices=TrainingKind.choices, help_text="What the images show.")
    steps = StrictIntegerField(help_text="One of `train/options`.")
    consent = LikenessConsentBody(required=False, help_text="Required for the kind person.")


def training_order(body: dict[str, Any], *, language: str) -> TrainingOrder:
    """The order in a validated body."""
    consent = body.get("consent") or {}
    return TrainingOrder(
        set_id=body["set_id"],
        name=body["name"],
        kind=TrainingKind(body["kind"]),
        steps=body["steps"],
        consent_version=consent["text_version"] if consent.get("accepted") else None,
        subject_name=consent.get("subject_name", ""),
        language=language,
    )


class StartedAnswer(serializers.Serializer):
    status = serializers.ChoiceField(choices=[JobStatus.PENDING])
    model_id = serializers.UUIDField()
    settings = serializers.DictField(help_text=SETTINGS_HELP)
    training_id = serializers.UUIDField()
    credits_used = serializers.IntegerField(min_value=1)
    credits_remaining = serializers.IntegerField(min_value=0)
    cancel_fee_after_start = serializers.IntegerField(min_value=0, help_text=FEE_HELP)


class StepsOption(serializers.Serializer):
    steps = serializers.IntegerField(min_value=1)
    credits = serializers.IntegerField(min_value=1)


class KindOption(serializers.Serializer):
    kind = serializers.ChoiceField(choices=TrainingKind.choices)
    name = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    min_pictures = serializers.IntegerField(min_value=1)
    max_pictures = serializers.IntegerField(min_value=1)
    needs_consent = serializers.BooleanField()
    steps = StepsOption(many=True)


class ConsentText(serializers.Serializer):
    text_version = serializers.CharField()
    text = serializers.CharField(help_text="In the language of the request.")


class OptionsAnswer(serializers.Serializer):
    kinds = KindOption(many=True)
    consent = ConsentText()


def options_answer(catalogue: Catalogue) -> dict[str, Any]:
    """The response of train/options: the kinds on sale, in the order of TrainingKind."""
    return {
        "kinds": [
            {
                "kind": kind.value,
                "name": trainer.name,
                "description": trainer.description,
                "min_pictures": trainer.min_pictures,
                "max_pictures": MAX_PICTURES,
                "needs_consent": kind == TrainingKind.PERSON,
                "steps": [
                    {"steps": steps, "credits": trainer.price({STEPS: steps}).credits}
                    for steps in trainer.settings[STEPS]["allowed"]
                ],
            }
            for kind in TrainingKind
            if (trainer := catalogue.trainers.get(kind))
        ],
        "consent": {"text_version": TEXT_VERSION, "text": consent_text()},
    }


class TrainedModelAnswer(serializers.Serializer):
    model_id = serializers.UUIDField()
    training_id = serializers.UUIDField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=TrainingKind.choices)
    steps = serializers.IntegerField(min_value=1)
    status = serializers.ChoiceField(choices=JobStatus.choices)
    usable = serializers.BooleanField(
        help_text="Whether images can be made with it: `trained_model_id` of `generate/image`."
    )
    trigger_word = serializers.CharField(
        help_text="Stands in prompts for what the images show. Added to prompts without it."
    )
    created_at = serializers.DateTimeField()
    completed_at = serializers.DateTimeField(allow_null=True)


def trained_model_answer(trained: TrainedModel) -> dict[str, Any]:
    """A model of the list. Its job has to be loaded."""
    return {
        "model_id": trained.id,
        "training_id": trained.job_id,
        "name": trained.name,
        "kind": trained.kind,
        "steps": trained.job.settings[STEPS],
        "status": trained.job.status,
        "usable": bool(trained.weights_name),
        "trigger_word": trained.trigger_word,
        "created_at": iso(trained.created_at),
        "completed_at": iso(trained.job.completed_at),
    }


class TrainedModelsAnswer(serializers.Serializer):
    models = TrainedModelAnswer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class TrainingAnswer(TrainedModelAnswer):
    progress = serializers.IntegerField(
        min_value=0, max_value=100, help_text="By the usual time. 100 only once it is completed."
    )
    eta_seconds = serializers.IntegerField(
        min_value=0, allow_null=True, help_text="The usual time left. Null if it is not known."
    )
    credits_used = serializers.IntegerField(min_value=1)
    refunded = serializers.BooleanField(help_text=REFUNDED_HELP)
    credits_refunded = credits_refunded_field()
    error = JobError(allow_null=True)
    poll_after_seconds = serializers.IntegerField(
        min_value=MIN_POLL_SECONDS, max_value=MAX_POLL_SECONDS
    )


def training_answer(trained: TrainedModel, *, now: datetime) -> dict[str, Any]:
    """The response of train/{training_id}. The model's job has to be loaded."""
    job = trained.job
    age = (now - job.created_at).total_seconds()
    return {
        **trained_model_answer(trained),
        "progress": queries.progress(job, now=now),
        "eta_seconds": _eta_seconds(job, now=now),
        "credits_used": job.credits,
        **refund_fields(job),
        "error": describe(job.error_code) if job.error_code else None,
        "poll_after_seconds": int(min(max(age / 6, MIN_POLL_SECONDS), MAX_POLL_SECONDS)),
    }


def _eta_seconds(job: Job, *, now: datetime) -> int | None:
    if job.is_terminal or job.expected_at is None or job.expected_at <= now:
        return None
    return round((job.expected_at - now).total_seconds())


class CancelledTrainingAnswer(serializers.Serializer):
    training_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=JobStatus.choices)
    refunded = serializers.BooleanField(help_text=REFUNDED_HELP)
    credits_refunded = credits_refunded_field()


def cancelled_answer(job: Job) -> dict[str, Any]:
    return {"training_id": job.id, "status": job.status, **refund_fields(job)}
