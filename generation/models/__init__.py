"""Models of the catalogue, jobs, provider requests, files, moderation and operations.

The table of jobs is the queue: `stage` states what happens next to a job, `due_at` when. Workers
find due jobs by an index. Only generation.lifecycle changes the stage of a job.
"""

from __future__ import annotations

from generation.models.catalogue import (
    MEDIA_KINDS,
    CostUnit,
    GenerationModel,
    ModelKind,
    PricingType,
    ProviderRoute,
    Quote,
    Theme,
    Tier,
)
from generation.models.files import FileDeletion, Upload
from generation.models.jobs import (
    IN_FLIGHT,
    NEGATIVE_PROMPT,
    PROGRESS_QUEUED,
    PROGRESS_RUNNING,
    PROGRESS_STORING,
    AccountMediaDeletion,
    Job,
    JobStatus,
    Stage,
    credits_refunded,
    media_kind,
)
from generation.models.moderation import BlockedTerm, InputKind, Sanction, Violation
from generation.models.operations import (
    MAINTENANCE_ID,
    DeadKind,
    DeadLetter,
    DeadState,
    Maintenance,
)
from generation.models.providers import Breaker, ProviderHealth, ProviderKey, SpendDay
from generation.models.requests import (
    LIVE_STATES,
    OPEN_STATES,
    ProviderRequest,
    RequestState,
    WebhookDelivery,
    new_webhook_token,
)
from generation.models.training import (
    FACE_PROBLEMS,
    MAX_MODEL_NAME,
    PictureProblem,
    ProviderModelDeletion,
    TrainedModel,
    TrainingConsent,
    TrainingKind,
    TrainingPicture,
    TrainingSet,
)

__all__ = [
    "FACE_PROBLEMS",
    "IN_FLIGHT",
    "LIVE_STATES",
    "MAINTENANCE_ID",
    "MAX_MODEL_NAME",
    "MEDIA_KINDS",
    "NEGATIVE_PROMPT",
    "OPEN_STATES",
    "PROGRESS_QUEUED",
    "PROGRESS_RUNNING",
    "PROGRESS_STORING",
    "AccountMediaDeletion",
    "BlockedTerm",
    "Breaker",
    "CostUnit",
    "DeadKind",
    "DeadLetter",
    "DeadState",
    "FileDeletion",
    "GenerationModel",
    "InputKind",
    "Job",
    "JobStatus",
    "Maintenance",
    "ModelKind",
    "PictureProblem",
    "PricingType",
    "ProviderHealth",
    "ProviderKey",
    "ProviderModelDeletion",
    "ProviderRequest",
    "ProviderRoute",
    "Quote",
    "RequestState",
    "Sanction",
    "SpendDay",
    "Stage",
    "Theme",
    "Tier",
    "TrainedModel",
    "TrainingConsent",
    "TrainingKind",
    "TrainingPicture",
    "TrainingSet",
    "Upload",
    "Violation",
    "WebhookDelivery",
    "credits_refunded",
    "media_kind",
    "new_webhook_token",
]
