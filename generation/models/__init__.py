"""The catalogue, and the life of a job.

The due row is the queue: what has to happen next to a job stands in `stage`, when in `due_at`, and
a worker finds it by an index. generation.lifecycle alone moves jobs on.
"""

from __future__ import annotations

from generation.models.catalogue import CostUnit, Model, ModelKind, PricingType, Quote, Route, Theme
from generation.models.files import FileDeletion, Upload
from generation.models.jobs import (
    IN_FLIGHT,
    PROGRESS_QUEUED,
    PROGRESS_RUNNING,
    PROGRESS_STORING,
    AccountMediaDeletion,
    Job,
    JobStatus,
    Stage,
)
from generation.models.moderation import BlockedTerm, Input, Offence, Step
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

__all__ = [
    "IN_FLIGHT",
    "LIVE_STATES",
    "MAINTENANCE_ID",
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
    "Input",
    "Job",
    "JobStatus",
    "Maintenance",
    "Model",
    "ModelKind",
    "Offence",
    "PricingType",
    "ProviderHealth",
    "ProviderKey",
    "ProviderRequest",
    "Quote",
    "RequestState",
    "Route",
    "SpendDay",
    "Stage",
    "Step",
    "Theme",
    "Upload",
    "WebhookDelivery",
    "new_webhook_token",
]
