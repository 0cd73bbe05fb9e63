"""The calls about generations, described."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from accounts.errors import ConsentRequired
from credits.errors import (
    AccountSuspended,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    InsufficientCredits,
)
from generation import api
from generation.catalogue.orders import MAX_URL_LENGTH, PROMPT_MAX, PROMPT_MIN_VISIBLE
from generation.errors import (
    ContentRejected,
    InMaintenance,
    InvalidFile,
    InvalidModel,
    InvalidPrompt,
    ProviderUnavailable,
    StorageUnavailable,
)
from generation.models import JobStatus, ModelKind, PricingType
from generation.uploads import api as uploads_api
from rendio.common.errors import (
    Forbidden,
    InvalidInput,
    InvalidState,
    NotFound,
    RateLimited,
    RequestInProgress,
    Unauthorized,
    all_refusals,
)
from rendio.common.web.fields import StrictCharField, TextUUIDField
from rendio.common.web.openapi import (
    JOB_ID,
    PAGE,
    REPLAYED,
    SUCCESS,
    Done,
    JobIdBody,
    Operation,
    Operations,
    OptionalId,
    Tag,
    idempotency_key,
    query,
)

JOB = "01a1fc89-91ea-73fa-8415-4b583de90bfb"
SORA = "00000000-0000-4000-8000-000000000003"
VIDEO_URL = "https://api.example.com/media/eyJ2aWRlbyI6MX0:c2lnbmVk"
PICTURE_URL = "https://api.example.com/media/eyJwaWN0dXJlIjoxfQ:c2lnbmVk"


# --- Bodies: what orders are read from by hand ---------------------------------------------------


class SettingsBody(serializers.Serializer):
    """Left out: the theme's, else the model's. A setting that the model does not have is refused.

    `auto` as a resolution or an aspect ratio is the same as left out, unless the model lists it as
    a value. The answer has what it became.
    """

    duration = serializers.IntegerField(required=False, allow_null=True, help_text="Seconds.")
    resolution = StrictCharField(required=False, allow_null=True)
    aspect_ratio = StrictCharField(required=False, allow_null=True)


class OrderBody(serializers.Serializer):
    model_id = OptionalId("Left out: the theme's, else the default model.")
    theme_id = OptionalId()
    prompt = StrictCharField(
        required=False,
        allow_null=True,
        min_length=PROMPT_MIN_VISIBLE,
        max_length=PROMPT_MAX,
        help_text="At least three characters that can be seen. Left out: the theme's.",
    )
    image_url = StrictCharField(
        required=False,
        allow_null=True,
        allow_blank=True,
        max_length=MAX_URL_LENGTH,
        help_text="The picture to start from: the `image_url` of an upload.",
    )
    upload_id = OptionalId("The same, by its id.")
    settings = SettingsBody(required=False, allow_null=True)


class GenerateBody(OrderBody):
    quote_id = OptionalId("A price to be kept.")


class DirectIdBody(serializers.Serializer):
    direct_id = TextUUIDField()


# --- Answers -------------------------------------------------------------------------------------


class ModelAnswer(serializers.Serializer):
    id = serializers.UUIDField()
    name = serializers.CharField()
    category = serializers.CharField()
    kind = serializers.ChoiceField(choices=ModelKind.choices)
    description = serializers.CharField(allow_blank=True)
    provider = serializers.CharField()
    is_featured = serializers.BooleanField()
    thumbnail_url = serializers.CharField(allow_null=True)
    pricing_type = serializers.ChoiceField(choices=PricingType.choices)
    base_price = serializers.FloatField(help_text="Dollars.")
    min_credits = serializers.IntegerField(min_value=1)
    required_fields = serializers.ListField(child=serializers.CharField())
    settings = serializers.DictField(
        child=serializers.DictField(), help_text="`{allowed: […], default: …}` by setting."
    )
    multipliers = serializers.DictField(
        child=serializers.DictField(child=serializers.FloatField()),
        required=False,
        help_text="Of a `variable` model, by setting and value.",
    )


class ModelsAnswer(serializers.Serializer):
    models = ModelAnswer(many=True)


class ThemeAnswer(serializers.Serializer):
    id = serializers.UUIDField()
    name = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    category = serializers.CharField()
    default_prompt = serializers.CharField()
    default_settings = serializers.DictField()
    thumbnail_url = serializers.CharField(allow_null=True)
    model_id = serializers.UUIDField()


class ThemesAnswer(serializers.Serializer):
    themes = ThemeAnswer(many=True)


FEE_SAID = (
    "Credits that a cancel keeps once the provider has begun, and a refusal by the provider's own "
    "content check: what the provider takes from us, no more than this. 0 while the user has free "
    "ones left."
)
SETTINGS_SAID = "All settings of the model as they are made and charged, defaults included."
REFUNDED = "Whether credits came back."
CREDITS_REFUNDED = "How many came back. Only where a fee was kept."


class QuoteAnswer(serializers.Serializer):
    quote_id = serializers.UUIDField()
    credits = serializers.IntegerField(min_value=1)
    credits_remaining = serializers.IntegerField(min_value=0)
    affordable = serializers.BooleanField()
    cancel_fee_after_start = serializers.IntegerField(
        min_value=0,
        help_text=f"{FEE_SAID} As of now: the answer of `generate-video` is what counts.",
    )
    settings = serializers.DictField(help_text=SETTINGS_SAID)
    expires_at = serializers.DateTimeField()


class OrderedAnswer(serializers.Serializer):
    job_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=[JobStatus.PENDING])
    credits_used = serializers.IntegerField(min_value=1)
    credits_remaining = serializers.IntegerField(min_value=0)
    cancel_fee_after_start = serializers.IntegerField(min_value=0, help_text=FEE_SAID)
    settings = serializers.DictField(
        required=False,
        help_text=f"{SETTINGS_SAID} Left out where an order of an earlier release is replayed.",
    )


class JobError(serializers.Serializer):
    code = serializers.ChoiceField(choices=[refusal.code for refusal in all_refusals()])
    type = serializers.ChoiceField(choices=[refusal.type for refusal in all_refusals()])
    message = serializers.CharField()


class Eta(serializers.Serializer):
    low = serializers.IntegerField(min_value=0, help_text="The median, in seconds.")
    high = serializers.IntegerField(min_value=0, help_text="The 90th percentile.")


class JobStatusAnswer(serializers.Serializer):
    job_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=JobStatus.choices)
    progress = serializers.IntegerField(min_value=0, max_value=100)
    queue_position = serializers.IntegerField(allow_null=True, min_value=0)
    eta_seconds = Eta(allow_null=True)
    video_url = serializers.CharField(allow_null=True)
    thumbnail_url = serializers.CharField(allow_null=True)
    credits_used = serializers.IntegerField(min_value=1)
    refunded = serializers.BooleanField(help_text=REFUNDED)
    credits_refunded = serializers.IntegerField(
        min_value=0, required=False, help_text=CREDITS_REFUNDED
    )
    error = JobError(allow_null=True)
    poll_after_seconds = serializers.IntegerField(min_value=2, max_value=30)
    created_at = serializers.DateTimeField()
    completed_at = serializers.DateTimeField(allow_null=True)


class JobInHistory(serializers.Serializer):
    job_id = serializers.UUIDField()
    prompt = serializers.CharField(allow_blank=True)
    model_name = serializers.CharField()
    credits_used = serializers.IntegerField(min_value=1)
    status = serializers.ChoiceField(choices=JobStatus.choices)
    video_url = serializers.CharField(allow_null=True)
    thumbnail_url = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    completed_at = serializers.DateTimeField(allow_null=True)
    error = JobError(allow_null=True)


class JobsAnswer(serializers.Serializer):
    jobs = JobInHistory(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class CancelledAnswer(serializers.Serializer):
    job_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=JobStatus.choices)
    refunded = serializers.BooleanField(help_text=REFUNDED)
    credits_refunded = serializers.IntegerField(
        min_value=0, required=False, help_text=CREDITS_REFUNDED
    )


class UploadAnswer(serializers.Serializer):
    upload_id = serializers.UUIDField()
    image_url = serializers.CharField()
    width = serializers.IntegerField(min_value=1)
    height = serializers.IntegerField(min_value=1)
    expires_at = serializers.DateTimeField()


class DirectUploadAnswer(serializers.Serializer):
    direct_id = serializers.UUIDField()
    url = serializers.CharField()
    fields: Any = serializers.DictField(child=serializers.CharField())  # not the serializer's own
    expires_at = serializers.DateTimeField()


# --- The table -----------------------------------------------------------------------------------

ORDERED = {
    "job_id": JOB,
    "status": "pending",
    "credits_used": 4,
    "credits_remaining": 6,
    "cancel_fee_after_start": 0,
    "settings": {"duration": 4},
}
STATUS = {
    "job_id": JOB,
    "status": "completed",
    "progress": 100,
    "queue_position": None,
    "eta_seconds": None,
    "video_url": VIDEO_URL,
    "thumbnail_url": PICTURE_URL,
    "credits_used": 4,
    "refunded": False,
    "error": None,
    "poll_after_seconds": 2,
    "created_at": "2026-11-21T05:17:16Z",
    "completed_at": "2026-11-21T05:17:19Z",
}
UPLOAD = {
    "upload_id": "01a1fc89-91ea-73fa-8415-4b583de90bfd",
    "image_url": PICTURE_URL,
    "width": 1024,
    "height": 768,
    "expires_at": "2026-11-22T05:17:16Z",
}
ORDER = {"model_id": SORA, "prompt": "a red balloon", "settings": {"duration": 4}}
# What reading an order, pricing it and judging it can refuse.
OF_AN_ORDER = (InvalidModel, InvalidPrompt, NotFound)
OF_A_PAID_ORDER = (
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    RequestInProgress,
    InsufficientCredits,
    InvalidFile,
    ContentRejected,
    AccountSuspended,
    ConsentRequired,
    ProviderUnavailable,
    StorageUnavailable,
    InMaintenance,
)
# A picture is judged as it comes in.
OF_A_PICTURE = (
    InvalidFile,
    ContentRejected,
    AccountSuspended,
    ConsentRequired,
    ProviderUnavailable,
    StorageUnavailable,
)
UNCHANGED = {304: "Unchanged since the answer of this `ETag`."}
CATALOGUE_HEADERS = {
    "ETag": "Names this state of the list.",
    "Cache-Control": "Ask each time.",
    "Vary": "`Accept-Language`: names are sorted as readers of that language do.",
}
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match", str, OpenApiParameter.HEADER, description="The `ETag` of what one has."
)

OPERATIONS: Operations = {
    api.GetModels: Operation(
        tag=Tag.CATALOGUE,
        summary="The models",
        text="Featured first, then by name.",
        parameters=(IF_NONE_MATCH,),
        response=ModelsAnswer,
        response_example={
            "models": [
                {
                    "id": SORA,
                    "name": "Sora 2",
                    "category": "video",
                    "kind": "text-to-video",
                    "description": "Video with sound from a prompt.",
                    "provider": "fal",
                    "is_featured": True,
                    "thumbnail_url": None,
                    "pricing_type": "duration",
                    "base_price": 0.4,
                    "min_credits": 4,
                    "required_fields": ["prompt"],
                    "settings": {"duration": {"allowed": [4, 8, 12], "default": 4}},
                }
            ]
        },
        headers=CATALOGUE_HEADERS,
        other_statuses=UNCHANGED,
    ),
    api.GetThemes: Operation(
        tag=Tag.CATALOGUE,
        summary="The themes",
        parameters=(IF_NONE_MATCH,),
        response=ThemesAnswer,
        response_example={
            "themes": [
                {
                    "id": "00000000-0000-4000-9000-000000000001",
                    "name": "Neon rain",
                    "description": "A city at night.",
                    "category": "city",
                    "default_prompt": "A street in the rain, neon signs in the puddles",
                    "default_settings": {"duration": 4},
                    "thumbnail_url": None,
                    "model_id": SORA,
                }
            ]
        },
        headers=CATALOGUE_HEADERS,
        other_statuses=UNCHANGED,
    ),
    api.QuoteVideo: Operation(
        tag=Tag.GENERATION,
        summary="Ask the price",
        text="The price is kept for ten minutes, for three orders that name the quote in "
        "`generate-video`: a job that failed can be ordered again.",
        body=OrderBody,
        request_example=ORDER,
        response=QuoteAnswer,
        response_example={
            "quote_id": "01a1fc89-91ea-73fa-8415-4b583de90bfe",
            "credits": 4,
            "credits_remaining": 10,
            "affordable": True,
            "cancel_fee_after_start": 0,
            "settings": {"duration": 4},
            "expires_at": "2026-11-21T05:27:16Z",
        },
        refusals=OF_AN_ORDER,
    ),
    api.GenerateVideo: Operation(
        tag=Tag.GENERATION,
        summary="Order a generation",
        text="Takes the credits and puts a job into the queue, both or neither.",
        parameters=(idempotency_key(required=True),),
        body=GenerateBody,
        request_example=ORDER,
        response=OrderedAnswer,
        response_example=ORDERED,
        headers=REPLAYED,
        refusals=OF_AN_ORDER + OF_A_PAID_ORDER,
    ),
    api.RetryVideoJob: Operation(
        tag=Tag.GENERATION,
        summary="Order once more what failed",
        text="A new job at today's price.",
        parameters=(idempotency_key(required=True),),
        body=JobIdBody,
        request_example={"job_id": JOB},
        response=OrderedAnswer,
        response_example=ORDERED,
        headers=REPLAYED,
        refusals=(*OF_AN_ORDER, *OF_A_PAID_ORDER, InvalidState),
    ),
    api.GetVideoStatus: Operation(
        tag=Tag.GENERATION,
        summary="How a job is doing",
        parameters=(JOB_ID,),
        response=JobStatusAnswer,
        response_example=STATUS,
        headers={"Retry-After": "`poll_after_seconds`."},
        refusals=(NotFound,),
    ),
    api.VideoJobEvents: Operation(
        tag=Tag.GENERATION,
        summary="The same, as it changes",
        text="Server-sent events: a `status` event at once and one for each change, whose data is "
        "the answer of `get-video-status`. The stream closes after the last, or when `retry` says "
        "when to come again.",
        parameters=(OpenApiParameter("job_id", OpenApiTypes.UUID, OpenApiParameter.PATH),),
        response={"type": "string"},
        media_type="text/event-stream",
        response_example='event: status\nretry: 2000\ndata: {"job_id": "' + JOB + '", …}\n\n',
        refusals=(NotFound,),
    ),
    api.GetVideoJobs: Operation(
        tag=Tag.GENERATION,
        summary="The user's jobs",
        text="Newest first.",
        parameters=(
            *PAGE,
            query("status", {"type": "string", "enum": JobStatus.values}, "Only those."),
        ),
        response=JobsAnswer,
        response_example={
            "jobs": [
                {
                    "job_id": JOB,
                    "prompt": "a red balloon",
                    "model_name": "Sora 2",
                    "credits_used": 4,
                    "status": "completed",
                    "video_url": VIDEO_URL,
                    "thumbnail_url": PICTURE_URL,
                    "created_at": "2026-11-21T05:17:16Z",
                    "completed_at": "2026-11-21T05:17:19Z",
                    "error": None,
                }
            ],
            "next_cursor": None,
        },
    ),
    api.CancelVideoJob: Operation(
        tag=Tag.GENERATION,
        summary="Take a job back",
        text="`processing` and not refunded: its provider goes on with it. Once the provider has "
        "begun, a cancel may keep the `cancel_fee_after_start` of the order.",
        body=JobIdBody,
        request_example={"job_id": JOB},
        response=CancelledAnswer,
        response_example={
            "job_id": JOB,
            "status": "cancelled",
            "refunded": True,
            "credits_refunded": 1,
        },
        refusals=(NotFound, InvalidState),
    ),
    api.DeleteVideoJob: Operation(
        tag=Tag.GENERATION,
        summary="Delete a job and its media",
        body=JobIdBody,
        request_example={"job_id": JOB},
        response=Done,
        response_example=SUCCESS,
        refusals=(NotFound, InvalidState),
    ),
    uploads_api.UploadImage: Operation(
        tag=Tag.GENERATION,
        summary="Send a picture in",
        text="JPEG, PNG, WebP or HEIC by content, up to 10 MB and 50 megapixels. Kept for a day, "
        "and for as long as a job needs it.",
        body={
            "type": "object",
            "properties": {"file": {"type": "string", "format": "binary"}},
            "required": ["file"],
        },
        body_type="multipart/form-data",
        response=UploadAnswer,
        response_example=UPLOAD,
        status=201,
        refusals=OF_A_PICTURE,
    ),
    uploads_api.StartDirectUpload: Operation(
        tag=Tag.GENERATION,
        summary="A form to send a picture straight into the bucket",
        text="409 without a bucket. POST to `url`: `fields`, and last the picture as `file`.",
        response=DirectUploadAnswer,
        response_example={
            "direct_id": "01a1fc89-91ea-73fa-8415-4b583de90bff",
            "url": "https://bucket.example.com/",
            "fields": {"key": "direct/01a1fc89", "policy": "eyJleHBpcmF0aW9uIjo="},
            "expires_at": "2026-11-21T05:27:16Z",
        },
        status=201,
        refusals=(InvalidState,),
    ),
    uploads_api.FinishDirectUpload: Operation(
        tag=Tag.GENERATION,
        summary="Take the picture in from the bucket",
        body=DirectIdBody,
        request_example={"direct_id": "01a1fc89-91ea-73fa-8415-4b583de90bff"},
        response=UploadAnswer,
        response_example=UPLOAD,
        status=201,
        refusals=(*OF_A_PICTURE, NotFound),
    ),
    api.ProviderWebhook: Operation(
        tag=Tag.WEBHOOKS,
        summary="A provider's call",
        text="fal signs as fal does, Replicate as Standard Webhooks do, others send the body's "
        "HMAC-SHA256 in hex as `X-Webhook-Signature`. 401 means that the signature is wrong; what "
        "is genuine and unknown is 200.",
        parameters=(query("token", str, "Names the job; part of the URL that we gave."),),
        body={"type": "object", "additionalProperties": True},
        body_type="*/*",
        request_example={"request_id": "764cabcf-b745-4b3e-ae38-1200304cf45b", "status": "OK"},
        response=Done,
        response_example=SUCCESS,
        refusals=(Unauthorized, RateLimited, NotFound),
    ),
    api.Media: Operation(
        tag=Tag.GENERATION,
        summary="A video or picture, by its signed URL",
        text="Byte ranges work, also with `If-Range`. Where media lie in a bucket, its own URLs "
        "are given instead.",
        parameters=(
            OpenApiParameter("Range", str, OpenApiParameter.HEADER),
            OpenApiParameter(
                "If-Range",
                str,
                OpenApiParameter.HEADER,
                description="The `ETag` or `Last-Modified` of the part that the client has; where "
                "it is of another file, the whole file is answered.",
            ),
            IF_NONE_MATCH,
        ),
        response={"type": "string", "format": "binary"},
        media_type="*/*",
        response_example=None,
        headers={"ETag": "Names these very bytes.", "Last-Modified": "When they were stored."},
        other_statuses={
            206: "The bytes that were asked for.",
            **UNCHANGED,
            412: "`If-Match` or `If-Unmodified-Since` does not hold.",
            416: "The range begins behind the end.",
        },
        refusals=(InvalidInput, Forbidden, NotFound),
    ),
}
