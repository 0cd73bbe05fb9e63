"""Who made a job's files, and with what: the response of provenance/{job_id}.

The files themselves state only that AI made them (generation.video_files.ai_mark).
"""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from generation.models import (
    MEDIA_KINDS,
    GenerationModel,
    Job,
    ProviderRequest,
    ProviderRoute,
    RequestState,
)
from rendio.common.times import iso

AI_GENERATED_HELP = "Always true: a model makes every file. Show it where users publish files."
_UNTIL_DELIVERED = "Null until the files are there."


class ProvenanceAnswer(serializers.Serializer):
    job_id = serializers.UUIDField()
    ai_generated = serializers.BooleanField(help_text=AI_GENERATED_HELP)
    digital_source_type = serializers.URLField(
        help_text="IPTC's term, which the files have in their XMP."
    )
    model_name = serializers.CharField(
        allow_null=True, help_text="Null if the model no longer exists."
    )
    kind = serializers.ChoiceField(
        choices=MEDIA_KINDS, required=False, help_text="Only if the model exists."
    )
    provider = serializers.CharField(allow_null=True, help_text=_UNTIL_DELIVERED)
    provider_model = serializers.CharField(
        allow_null=True,
        help_text=f"The provider's id of the model. {_UNTIL_DELIVERED} Also null if the provider's "
        "route no longer exists.",
    )
    trained_model_id = serializers.UUIDField(
        required=False, help_text="The trained model of the user that was used, if any."
    )
    created_at = serializers.DateTimeField()
    completed_at = serializers.DateTimeField(allow_null=True)


def provenance_answer(job: Job) -> dict[str, Any]:
    # No constraint ties a job to its model, nor a provider request to its route.
    model = GenerationModel.objects.filter(id=job.model_id).first()
    request = _find_delivering_request(job)
    route = ProviderRoute.objects.filter(id=request.route_id).first() if request else None
    return {
        "job_id": job.id,
        "ai_generated": True,
        "digital_source_type": job.source_type,
        "model_name": model.name if model else None,
        **({"kind": model.kind} if model else {}),
        **({"trained_model_id": job.trained_model_id} if job.trained_model_id else {}),
        "provider": request.provider if request else None,
        "provider_model": route.provider_model_id if route else None,
        "created_at": iso(job.created_at),
        "completed_at": iso(job.completed_at),
    }


def _find_delivering_request(job: Job) -> ProviderRequest | None:
    """The submission whose result was stored. None while the job has no files."""
    if not job.media_name:
        return None
    return job.requests.filter(state=RequestState.FINISHED).order_by("-ended_at").first()
