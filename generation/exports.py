"""Rows of a user for the export of their data (accounts.export)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from generation import media
from generation.models import (
    Job,
    Quote,
    TrainedModel,
    TrainingConsent,
    TrainingSet,
    Upload,
    Violation,
)
from generation.serializers import images_answer
from generation.uploads.responses import upload_answer
from rendio.common.times import iso


def export_jobs(user_id: UUID) -> Iterator[dict[str, Any]]:
    """All jobs of the user, oldest first. A deleted job has few fields left."""
    jobs = Job.objects.filter(user_id=user_id).select_related("model").order_by("id")
    for job in jobs.prefetch_related("requests").iterator(chunk_size=500):
        yield {
            "job_id": job.id,
            "model_name": job.model.name,
            "theme_id": job.theme_id,
            "retry_of": job.retry_of,
            "prompt": job.prompt,
            "upload_id": job.upload_id,
            "second_upload_id": job.second_upload_id,
            "trained_model_id": job.trained_model_id,
            "settings": job.settings,
            "credits_used": job.credits,
            "refunded": job.credits_refunded > 0,
            "credits_refunded": job.credits_refunded,
            "cancel_fee_after_start": job.cancel_fee,
            "status": job.status,
            "error_code": job.error_code or None,
            "video_url": media.signed_url(job.media_name),
            "thumbnail_url": media.signed_url(job.thumbnail_name),
            **({"images": images_answer(job)} if job.images else {}),
            "sent_to": [
                {"provider": request.provider, "sent_at": iso(request.sent_at)}
                for request in job.requests.all()
            ],
            "created_at": iso(job.created_at),
            "started_at": iso(job.started_at),
            "completed_at": iso(job.completed_at),
            "deleted_at": iso(job.deleted_at),
        }


def export_quotes(user_id: UUID) -> Iterator[dict[str, Any]]:
    """The user's quotes that are not purged yet."""
    for quote in Quote.objects.owned_by(user_id).order_by("id").iterator():
        yield {
            "quote_id": quote.id,
            "model_id": quote.model_id,
            "settings": quote.settings,
            "credits": quote.credits,
            "expires_at": iso(quote.expires_at),
        }


def export_uploads(user_id: UUID) -> Iterator[dict[str, Any]]:
    """The user's uploaded images."""
    for upload in Upload.objects.owned_by(user_id).order_by("id").iterator():
        yield {**upload_answer(upload), "created_at": iso(upload.created_at)}


def export_training_sets(user_id: UUID) -> Iterator[dict[str, Any]]:
    """The user's images for trainings, with what was measured in them."""
    sets = TrainingSet.objects.owned_by(user_id).order_by("id").prefetch_related("pictures")
    for training_set in sets.iterator(chunk_size=20):
        yield {
            "set_id": training_set.id,
            "pictures": [
                {
                    "picture_id": picture.id,
                    "file_name": picture.file_name,
                    "image_url": media.signed_url(picture.name),
                    "width": picture.width,
                    "height": picture.height,
                    "checks": picture.checks,
                    "problems": picture.problems,
                }
                for picture in sorted(training_set.pictures.all(), key=lambda one: one.position)
            ],
            "created_at": iso(training_set.created_at),
            "expires_at": iso(training_set.expires_at),
        }


def export_trained_models(user_id: UUID) -> Iterator[dict[str, Any]]:
    """The user's trained models, deleted ones included."""
    for trained in TrainedModel.objects.filter(user_id=user_id).order_by("id").iterator():
        yield {
            "model_id": trained.id,
            "training_id": trained.job_id,
            "set_id": trained.training_set_id,
            "consent_id": trained.consent_id,
            "name": trained.name,
            "kind": trained.kind,
            "trigger_word": trained.trigger_word,
            "weights_size_bytes": trained.weights_size_bytes or None,
            "provider": trained.provider or None,
            "created_at": iso(trained.created_at),
            "deleted_at": iso(trained.deleted_at),
        }


def export_training_consents(user_id: UUID) -> Iterator[dict[str, Any]]:
    """The user's consents to train on images of a person."""
    for consent in TrainingConsent.objects.owned_by(user_id).order_by("id").iterator():
        yield {
            "consent_id": consent.id,
            "text_version": consent.text_version,
            "language": consent.language,
            "subject_name": consent.subject_name or None,
            "given_at": iso(consent.given_at),
            "withdrawn_at": iso(consent.withdrawn_at),
        }


def export_violations(user_id: UUID) -> Iterator[dict[str, Any]]:
    """Content of the user that moderation refused."""
    for violation in Violation.objects.filter(user_id=user_id).order_by("at").iterator():
        yield {
            "input": violation.input,
            "categories": violation.categories,
            "step": violation.step,
            "held_until": iso(violation.held_until),
            "forgiven_at": iso(violation.forgiven_at),
            "at": iso(violation.at),
        }
