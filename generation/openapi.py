"""Descriptions of the API calls of generation: tags, summaries and examples. Those of trainings are
in training/openapi.py.

Bodies stand where they are parsed, serializers of responses beside the functions that build the
responses: serializers.py, catalogue/orders.py, catalogue/responses.py and uploads/responses.py.
"""

from __future__ import annotations

from dataclasses import replace

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from accounts.errors import ConsentRequired
from credits.errors import (
    AccountSuspended,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    InsufficientCredits,
)
from generation import api
from generation.catalogue.orders import GenerateBody, OrderBody, OrderedAnswer
from generation.catalogue.responses import ModelsAnswer, ThemesAnswer
from generation.errors import (
    ContentRejected,
    InMaintenance,
    InvalidFile,
    InvalidModel,
    InvalidPrompt,
    ProviderUnavailable,
    StorageUnavailable,
)
from generation.models import MEDIA_KINDS, JobStatus
from generation.prompt_helper import api as prompt_helper_api
from generation.prompt_helper.responses import ImproveBody, ImprovedAnswer
from generation.provenance import ProvenanceAnswer
from generation.serializers import (
    CancelledAnswer,
    JobsAnswer,
    JobStatusAnswer,
    QuoteAnswer,
)
from generation.uploads import api as uploads_api
from generation.uploads.responses import DirectIdBody, DirectUploadAnswer, UploadAnswer
from generation.video_files.media_info import SourceType
from rendio.common.errors import (
    Forbidden,
    InvalidInput,
    InvalidState,
    NotFound,
    RateLimited,
    RequestInProgress,
    Unauthorized,
)
from rendio.common.web.body import JobIdBody
from rendio.common.web.openapi import (
    JOB_ID,
    PAGE,
    REPLAYED,
    SUCCESS,
    Done,
    Operation,
    Operations,
    Tag,
    idempotency_key,
    query,
)

JOB = "01a1fc89-91ea-73fa-8415-4b583de90bfb"
SORA = "00000000-0000-4000-8000-000000000003"
VIDEO_URL = "https://api.example.com/media/eyJ2aWRlbyI6MX0:c2lnbmVk"
IMAGE_URL = "https://api.example.com/media/eyJwaWN0dXJlIjoxfQ:c2lnbmVk"

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
    "thumbnail_url": IMAGE_URL,
    "credits_used": 4,
    "refunded": False,
    "error": None,
    "poll_after_seconds": 2,
    "created_at": "2026-11-21T05:17:16Z",
    "completed_at": "2026-11-21T05:17:19Z",
    "ai_generated": True,
}
JOBS = {
    "jobs": [
        {
            "job_id": JOB,
            "kind": "text-to-video",
            "prompt": "a red balloon",
            "model_name": "Sora 2",
            "credits_used": 4,
            "status": "completed",
            "video_url": VIDEO_URL,
            "thumbnail_url": IMAGE_URL,
            "created_at": "2026-11-21T05:17:16Z",
            "completed_at": "2026-11-21T05:17:19Z",
            "error": None,
            "ai_generated": True,
        }
    ],
    "next_cursor": None,
}
JOB_FILTERS = (
    *PAGE,
    query("status", {"type": "string", "enum": JobStatus.values}, "Only jobs of this status."),
    query(
        "kind",
        {"type": "string", "enum": [kind for kind, _label in MEDIA_KINDS]},
        "Only jobs of models of this kind.",
    ),
)
UPLOAD = {
    "upload_id": "01a1fc89-91ea-73fa-8415-4b583de90bfd",
    "image_url": IMAGE_URL,
    "width": 1024,
    "height": 768,
    "expires_at": "2026-11-22T05:17:16Z",
}
CANCELLED = {"job_id": JOB, "status": "cancelled", "refunded": True, "credits_refunded": 1}
JOB_IN_PATH = OpenApiParameter("job_id", OpenApiTypes.UUID, OpenApiParameter.PATH)
IMAGE_ORDER = {
    "tier": "standard",
    "prompt": "a red balloon",
    "settings": {"aspect_ratio": "16:9", "num_outputs": 2},
}
ORDER = {"model_id": SORA, "prompt": "a red balloon", "settings": {"duration": 4}}
# Refusals of parsing and pricing an order.
ORDER_REFUSALS = (InvalidModel, InvalidPrompt, NotFound)
PAID_ORDER_REFUSALS = (
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
# An upload is moderated at once.
UPLOAD_REFUSALS = (
    InvalidFile,
    ContentRejected,
    AccountSuspended,
    ConsentRequired,
    ProviderUnavailable,
    StorageUnavailable,
)
UNCHANGED = {304: "Not modified since this `ETag`."}
CATALOGUE_HEADERS = {
    "ETag": "Identifies this version of the list.",
    "Cache-Control": "Revalidate each time.",
    "Vary": "`Accept-Language`: the language decides the order of names.",
}
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match", str, OpenApiParameter.HEADER, description="The `ETag` of the cached response."
)

# Operations that several calls share.
GENERATE = Operation(
    tag=Tag.GENERATION,
    summary="Order a generation",
    text="Charges the credits and enqueues a job in one transaction.",
    parameters=(idempotency_key(required=True),),
    body=GenerateBody,
    request_example=ORDER,
    response=OrderedAnswer,
    response_example=ORDERED,
    headers=REPLAYED,
    refusals=ORDER_REFUSALS + PAID_ORDER_REFUSALS,
)
LIST_JOBS = Operation(
    tag=Tag.GENERATION,
    summary="List the user's jobs of every kind",
    text="Newest first.",
    parameters=JOB_FILTERS,
    response=JobsAnswer,
    response_example=JOBS,
)

OPERATIONS: Operations = {
    api.GetModels: Operation(
        tag=Tag.CATALOGUE,
        summary="List models",
        text="Featured models first, then by name.",
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
        summary="List themes",
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
    prompt_helper_api.ImprovePrompt: Operation(
        tag=Tag.GENERATION,
        summary="Improve a prompt",
        text="A language model rewrites the draft. Costs nothing. 409 if the server has no prompt "
        "helper. After a 503 use the draft as it is, or try again.",
        body=ImproveBody,
        request_example={"prompt": "a red balloon", "kind": "text-to-video", "language": "en"},
        response=ImprovedAnswer,
        response_example={
            "prompt": "A red balloon rises over wet roofs at dawn, slow tilt up, soft light.",
            "changes": ["Added a place and a time of day.", "Added a movement of the camera."],
        },
        refusals=(
            InvalidPrompt,
            InvalidState,
            ContentRejected,
            AccountSuspended,
            ConsentRequired,
            ProviderUnavailable,
        ),
    ),
    api.QuoteVideo: Operation(
        tag=Tag.GENERATION,
        summary="Get a price quote",
        text="The price is guaranteed for ten minutes and three orders. Pass the quote to "
        "`generate-video`; a failed job can be ordered again with it.",
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
        refusals=ORDER_REFUSALS,
    ),
    api.GenerateVideo: GENERATE,
    api.GenerateOnlyVideo: replace(
        GENERATE,
        id="generateOnlyVideo",  # "generateVideo" is generate-video's
        summary="Order a video",
        text="`generate-video` by another name, for models that make videos.",
    ),
    api.GenerateImage: replace(
        GENERATE,
        summary="Order images",
        text="Without a `model_id`, the first model of the `kind` (text-to-image) and `tier` "
        "(standard). `quote-video` quotes the price of the same body.",
        request_example=IMAGE_ORDER,
        response_example=ORDERED | {"settings": {"aspect_ratio": "16:9", "num_outputs": 2}},
    ),
    api.GetGeneration: Operation(
        tag=Tag.GENERATION,
        summary="Get the status of a job by its path",
        text="`get-video-status` by another name.",
        parameters=(JOB_IN_PATH,),
        response=JobStatusAnswer,
        response_example=STATUS,
        headers={"Retry-After": "`poll_after_seconds`."},
        refusals=(NotFound,),
    ),
    api.CancelGeneration: Operation(
        tag=Tag.GENERATION,
        summary="Cancel a job by its path",
        text="`cancel-video-job` by another name.",
        parameters=(JOB_IN_PATH,),
        response=CancelledAnswer,
        response_example=CANCELLED,
        refusals=(NotFound, InvalidState),
    ),
    api.RetryVideoJob: Operation(
        tag=Tag.GENERATION,
        summary="Retry a failed job",
        text="A new job at today's price.",
        parameters=(idempotency_key(required=True),),
        body=JobIdBody,
        request_example={"job_id": JOB},
        response=OrderedAnswer,
        response_example=ORDERED,
        headers=REPLAYED,
        refusals=(*ORDER_REFUSALS, *PAID_ORDER_REFUSALS, InvalidState),
    ),
    api.GetVideoStatus: Operation(
        tag=Tag.GENERATION,
        summary="Get the status of a job",
        parameters=(JOB_ID,),
        response=JobStatusAnswer,
        response_example=STATUS,
        headers={"Retry-After": "`poll_after_seconds`."},
        refusals=(NotFound,),
    ),
    api.GetJobs: LIST_JOBS,
    api.GetVideoJobs: replace(
        LIST_JOBS,
        summary="List the user's video jobs",
        text="Newest first. `get-jobs` lists the images too.",
    ),
    api.GetProvenance: Operation(
        tag=Tag.GENERATION,
        summary="Get the origin of a job's files",
        text="Who made the files, and with what, as the record of the mark that they have. For the "
        "user who ordered the job only, and until the job is deleted.",
        parameters=(OpenApiParameter("job_id", OpenApiTypes.UUID, OpenApiParameter.PATH),),
        response=ProvenanceAnswer,
        response_example={
            "job_id": JOB,
            "ai_generated": True,
            "digital_source_type": SourceType.GENERATED,
            "model_name": "Sora 2",
            "kind": "text-to-video",
            "provider": "fal",
            "provider_model": "fal-ai/sora-2/text-to-video",
            "created_at": "2026-11-21T05:17:16Z",
            "completed_at": "2026-11-21T05:17:19Z",
        },
        refusals=(NotFound,),
    ),
    api.CancelVideoJob: Operation(
        tag=Tag.GENERATION,
        summary="Cancel a job",
        text="A response with `processing` and no refund means that the provider continues. After "
        "the provider has started, the refund may leave out the order's `cancel_fee_after_start`.",
        body=JobIdBody,
        request_example={"job_id": JOB},
        response=CancelledAnswer,
        response_example=CANCELLED,
        refusals=(NotFound, InvalidState),
    ),
    api.DeleteVideoJob: Operation(
        tag=Tag.GENERATION,
        summary="Delete a job and its files",
        body=JobIdBody,
        request_example={"job_id": JOB},
        response=Done,
        response_example=SUCCESS,
        refusals=(NotFound, InvalidState),
    ),
    uploads_api.UploadImage: Operation(
        tag=Tag.GENERATION,
        summary="Upload an image",
        text="JPEG, PNG, WebP or HEIC by content, up to 10 MB and 50 megapixels. Stored for a day, "
        "and as long as a job needs the image.",
        body={
            "type": "object",
            "properties": {"file": {"type": "string", "format": "binary"}},
            "required": ["file"],
        },
        body_type="multipart/form-data",
        response=UploadAnswer,
        response_example=UPLOAD,
        status=201,
        refusals=UPLOAD_REFUSALS,
    ),
    uploads_api.Uploads: Operation(
        tag=Tag.GENERATION,
        summary="Upload an image, or the mask of an image",
        text="As `upload-image`. With `mask_of`, the id of an uploaded image, the file is a mask "
        "for inpainting: light where the image may change, transparent or dark where it stays, in "
        "the image's shape. Stored as a black and white PNG of the image's size, and good for "
        "this image.",
        body={
            "type": "object",
            "properties": {
                "file": {"type": "string", "format": "binary"},
                "mask_of": {"type": "string", "format": "uuid"},
            },
            "required": ["file"],
        },
        body_type="multipart/form-data",
        response=UploadAnswer,
        response_example=UPLOAD,
        status=201,
        refusals=(*UPLOAD_REFUSALS, NotFound),
    ),
    uploads_api.StartDirectUpload: Operation(
        tag=Tag.GENERATION,
        summary="Start a direct upload to the bucket",
        text="409 without a bucket. POST `fields` to `url`, followed by the image as `file`.",
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
        summary="Finish a direct upload",
        body=DirectIdBody,
        request_example={"direct_id": "01a1fc89-91ea-73fa-8415-4b583de90bff"},
        response=UploadAnswer,
        response_example=UPLOAD,
        status=201,
        refusals=(*UPLOAD_REFUSALS, NotFound),
    ),
    api.ProviderWebhook: Operation(
        tag=Tag.WEBHOOKS,
        summary="Receive a provider's webhook",
        text="Signatures: fal's own scheme, Standard Webhooks for Replicate, and for others the "
        "hexadecimal HMAC-SHA256 of the body as `X-Webhook-Signature`. RunPod and Modal sign "
        "nothing, and need the token of a submission. 401 means a wrong signature or token. A "
        "verified call about an unknown job is 200.",
        parameters=(query("token", str, "Identifies the submission. Part of the webhook URL."),),
        body={"type": "object", "additionalProperties": True},
        body_type="*/*",
        request_example={"request_id": "764cabcf-b745-4b3e-ae38-1200304cf45b", "status": "OK"},
        response=Done,
        response_example=SUCCESS,
        refusals=(Unauthorized, RateLimited, NotFound),
    ),
    api.Media: Operation(
        tag=Tag.GENERATION,
        summary="Download a video or image by its signed URL",
        text="Supports byte ranges, also with `If-Range`. With a bucket, responses contain the "
        "bucket's signed URLs instead.",
        parameters=(
            OpenApiParameter("Range", str, OpenApiParameter.HEADER),
            OpenApiParameter(
                "If-Range",
                str,
                OpenApiParameter.HEADER,
                description="The `ETag` or `Last-Modified` of the client's partial file. If the "
                "file has changed, the response is the whole file.",
            ),
            IF_NONE_MATCH,
        ),
        response={"type": "string", "format": "binary"},
        media_type="*/*",
        response_example=None,
        headers={"ETag": "Identifies the content.", "Last-Modified": "When the file was stored."},
        other_statuses={
            206: "The requested range.",
            **UNCHANGED,
            412: "`If-Match` or `If-Unmodified-Since` does not hold.",
            416: "The range starts after the end of the file.",
        },
        refusals=(InvalidInput, Forbidden, NotFound),
    ),
}
