"""Responses about jobs and quotes: for each, the serializer that describes it and its builder.

/openapi.json is generated from the serializers, and tests hold every response to it. Responses
about orders are in catalogue/orders.py, about models and themes in catalogue/responses.py, about
uploads in uploads/responses.py, about the origin of files in provenance.py.
"""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from typing import Any

from rest_framework import serializers

from generation import media, queries
from generation.catalogue.orders import FEE_HELP, SETTINGS_HELP
from generation.models import MEDIA_KINDS, Job, JobStatus, media_kind
from generation.provenance import AI_GENERATED_HELP
from generation.queries import JobState, PastJob
from generation.services import Quoted
from rendio.common.errors import all_refusals, describe
from rendio.common.times import iso

MAX_RATIO_SIDE = 21
MIN_POLL_SECONDS, MAX_POLL_SECONDS = 2, 30
REFUNDED_HELP = "Whether credits were refunded."


def credits_refunded_field() -> serializers.IntegerField:
    return serializers.IntegerField(
        min_value=0,
        required=False,
        help_text="Refunded credits, if not all: a fee was kept, or some of several images did not "
        "come.",
    )


class QuoteAnswer(serializers.Serializer):
    quote_id = serializers.UUIDField()
    credits = serializers.IntegerField(min_value=1)
    credits_remaining = serializers.IntegerField(min_value=0)
    affordable = serializers.BooleanField()
    cancel_fee_after_start = serializers.IntegerField(
        min_value=0,
        help_text=f"{FEE_HELP} An estimate: the response of `generate-video` states the final fee.",
    )
    settings = serializers.DictField(help_text=SETTINGS_HELP)
    expires_at = serializers.DateTimeField()


def quote_answer(quoted: Quoted) -> dict[str, Any]:
    return {
        "quote_id": quoted.quote_id,
        "credits": quoted.credits,
        "credits_remaining": quoted.balance,
        # A wallet with a debt cannot spend, even with a positive balance.
        "affordable": quoted.balance >= quoted.credits and not quoted.debt,
        "cancel_fee_after_start": quoted.cancel_fee,
        "settings": quoted.settings,
        "expires_at": iso(quoted.expires_at),
    }


class JobError(serializers.Serializer):
    code = serializers.ChoiceField(choices=[refusal.code for refusal in all_refusals()])
    type = serializers.ChoiceField(choices=[refusal.type for refusal in all_refusals()])
    message = serializers.CharField()


def _error(job: JobState | PastJob) -> dict[str, Any] | None:
    return describe(job.error_code) if job.error_code else None


class Eta(serializers.Serializer):
    low = serializers.IntegerField(min_value=0, help_text="Seconds, median.")
    high = serializers.IntegerField(min_value=0, help_text="Seconds, 90th percentile.")


class ImageAnswer(serializers.Serializer):
    image_url = serializers.CharField()
    thumbnail_url = serializers.CharField()
    width = serializers.IntegerField(min_value=1)
    height = serializers.IntegerField(min_value=1)
    aspect_ratio = serializers.CharField(
        help_text="In small whole numbers, such as `16:9`: what an ordered `auto` has become."
    )


def images_answer(job: Job | JobState | PastJob) -> list[dict[str, Any]]:
    """The files of an image job with their signed URLs."""
    return [
        {
            "image_url": media.signed_url(image["media_name"]),
            "thumbnail_url": media.signed_url(image["thumbnail_name"]),
            "width": image["width"],
            "height": image["height"],
            "aspect_ratio": aspect_ratio(image["width"], image["height"]),
        }
        for image in job.images
    ]


def aspect_ratio(width: int, height: int) -> str:
    """The ratio of the sides in whole numbers, the smaller one at most MAX_RATIO_SIDE: 1037 x 691
    pixels are 3:2."""
    ratio = Fraction(max(width, height), min(width, height)).limit_denominator(MAX_RATIO_SIDE)
    sides = (ratio.numerator, ratio.denominator)
    return "{}:{}".format(*(sides if width >= height else sides[::-1]))


VIDEO_URL_HELP = "Null for an image job: its files are in `images`."


def _images_field() -> serializers.Serializer:
    return ImageAnswer(
        many=True, required=False, help_text="Only for an image job: its files so far."
    )


def _file_fields(job: JobState | PastJob) -> dict[str, Any]:
    """The signed URLs of a job's files."""
    thumbnail_url = media.signed_url(job.thumbnail_name)
    if media_kind(job.queue) == "video":
        return {"video_url": media.signed_url(job.media_name), "thumbnail_url": thumbnail_url}
    return {"video_url": None, "thumbnail_url": thumbnail_url, "images": images_answer(job)}


class JobStatusAnswer(serializers.Serializer):
    job_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=JobStatus.choices)
    progress = serializers.IntegerField(min_value=0, max_value=100)
    queue_position = serializers.IntegerField(allow_null=True, min_value=0)
    eta_seconds = Eta(allow_null=True)
    video_url = serializers.CharField(allow_null=True, help_text=VIDEO_URL_HELP)
    thumbnail_url = serializers.CharField(allow_null=True)
    images = _images_field()
    credits_used = serializers.IntegerField(min_value=1)
    refunded = serializers.BooleanField(help_text=REFUNDED_HELP)
    credits_refunded = credits_refunded_field()
    error = JobError(allow_null=True)
    poll_after_seconds = serializers.IntegerField(min_value=2, max_value=30)
    created_at = serializers.DateTimeField()
    completed_at = serializers.DateTimeField(allow_null=True)
    ai_generated = serializers.BooleanField(help_text=AI_GENERATED_HELP)


def job_status(job: JobState, *, now: datetime) -> dict[str, Any]:
    """The response of get-video-status."""
    eta = queries.eta(job, now=now)
    return {
        "job_id": job.id,
        "status": job.status,
        "progress": queries.progress(job, now=now),
        "queue_position": job.queue_position,
        "eta_seconds": {"low": eta.low, "high": eta.high} if eta else None,
        **_file_fields(job),
        "credits_used": job.credits,
        **refund_fields(job),
        "error": _error(job),
        "poll_after_seconds": poll_after_seconds(job, now=now),
        "created_at": iso(job.created_at),
        "completed_at": iso(job.completed_at),
        "ai_generated": True,
    }


def poll_after_seconds(job: JobState, *, now: datetime) -> int:
    """Seconds until the phone should poll again: a sixth of the job's age, within 2 to 30."""
    age = (now - job.created_at).total_seconds()
    return int(min(max(age / 6, MIN_POLL_SECONDS), MAX_POLL_SECONDS))


class JobInHistory(serializers.Serializer):
    job_id = serializers.UUIDField()
    kind = serializers.ChoiceField(choices=MEDIA_KINDS)
    prompt = serializers.CharField(allow_blank=True)
    model_name = serializers.CharField()
    credits_used = serializers.IntegerField(min_value=1)
    status = serializers.ChoiceField(choices=JobStatus.choices)
    video_url = serializers.CharField(allow_null=True, help_text=VIDEO_URL_HELP)
    thumbnail_url = serializers.CharField(allow_null=True)
    images = _images_field()
    created_at = serializers.DateTimeField()
    completed_at = serializers.DateTimeField(allow_null=True)
    error = JobError(allow_null=True)
    ai_generated = serializers.BooleanField(help_text=AI_GENERATED_HELP)


class JobsAnswer(serializers.Serializer):
    jobs = JobInHistory(many=True)
    next_cursor = serializers.CharField(allow_null=True)


def history_item(job: PastJob) -> dict[str, Any]:
    """One job of get-video-jobs and get-jobs."""
    return {
        "job_id": job.id,
        "kind": job.kind,
        "prompt": job.prompt,
        "model_name": job.model_name,
        "credits_used": job.credits,
        "status": job.status,
        **_file_fields(job),
        "created_at": iso(job.created_at),
        "completed_at": iso(job.completed_at),
        "error": _error(job),
        "ai_generated": True,
    }


class CancelledAnswer(serializers.Serializer):
    job_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=JobStatus.choices)
    refunded = serializers.BooleanField(help_text=REFUNDED_HELP)
    credits_refunded = credits_refunded_field()


def refund_fields(job: Job | JobState) -> dict[str, Any]:
    """Whether credits were refunded, and how many if not all."""
    amount = {"credits_refunded": job.credits_refunded} if job.fee_kept else {}
    return {"refunded": job.credits_refunded > 0, **amount}
