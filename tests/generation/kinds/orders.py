"""An order of each kind, for tests that hold for all of them."""

from __future__ import annotations

from typing import Any

from generation.models import Job, ModelKind
from tests.helpers import pictures
from tests.helpers.job_driver import create_job
from tests.helpers.phone import Phone

SORA_FROM_PICTURE = "00000000-0000-4000-8000-000000000004"
# Bodies besides the prompt and the source images.
BODIES: dict[ModelKind, dict[str, Any]] = {
    ModelKind.TEXT_TO_VIDEO: {},
    ModelKind.IMAGE_TO_VIDEO: {"model_id": SORA_FROM_PICTURE},
    ModelKind.TEXT_TO_IMAGE: {"model_id": None, "tier": "standard"},
}


def order(phone: Phone, kind: ModelKind, **body: Any) -> Job:
    """A job of this kind that was just paid. Images: one."""
    sources: dict[str, Any] = {}
    if kind == ModelKind.IMAGE_TO_VIDEO:
        sources["upload_id"] = pictures.uploaded(phone)["upload_id"]
    return create_job(phone, **BODIES[kind] | sources | body)
