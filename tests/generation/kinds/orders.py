"""An order of each kind, for tests that hold for all of them."""

from __future__ import annotations

from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image

from generation.models import Job, ModelKind
from tests.helpers import pictures
from tests.helpers.job_driver import create_job
from tests.helpers.model_ids import SORA
from tests.helpers.phone import Phone

SORA_FROM_PICTURE = "00000000-0000-4000-8000-000000000004"
SIZE = (320, 180)
# Bodies besides the prompt and the source images.
BODIES: dict[ModelKind, dict[str, Any]] = {
    ModelKind.TEXT_TO_VIDEO: {"model_id": str(SORA)},
    ModelKind.IMAGE_TO_VIDEO: {"model_id": SORA_FROM_PICTURE},
    ModelKind.KEYFRAMES_TO_VIDEO: {"model_id": None, "kind": "keyframes-to-video"},
    ModelKind.TEXT_TO_IMAGE: {"model_id": None, "tier": "standard"},
    ModelKind.IMAGE_EDIT: {"model_id": None, "kind": "image-edit"},
    ModelKind.INPAINT: {"model_id": None, "kind": "inpaint"},
    ModelKind.UPSCALE: {"model_id": None, "kind": "upscale"},
}


def order(phone: Phone, kind: ModelKind, **body: Any) -> Job:
    """A job of this kind that was just paid. Images: one."""
    return create_job(phone, **BODIES[kind] | sources(phone, kind) | body)


def sources(phone: Phone, kind: ModelKind) -> dict[str, Any]:
    """The source images of an order, uploaded: red and blue halves, a mask of the left one, and
    green as the last keyframe."""
    if kind in {ModelKind.TEXT_TO_VIDEO, ModelKind.TEXT_TO_IMAGE}:
        return {}
    halves = pictures.saved(pictures.two_halves(SIZE), "JPEG", quality=95)
    image_id = pictures.uploaded(phone, halves)["upload_id"]
    found: dict[str, Any] = {"upload_id": image_id}
    if kind == ModelKind.INPAINT:
        found["mask_upload_id"] = masked(phone, image_id).json()["upload_id"]
    if kind == ModelKind.KEYFRAMES_TO_VIDEO:
        green = pictures.saved(Image.new("RGB", SIZE, (0, 200, 0)), "JPEG", quality=95)
        found["last_upload_id"] = pictures.uploaded(phone, green)["upload_id"]
    return found


def left_half(size: tuple[int, int] = SIZE, mode: str = "L") -> Image.Image:
    """A mask: white on the left."""
    mask = Image.new(mode, size, 0)
    mask.paste("white", (0, 0, size[0] // 2, size[1]))
    return mask


def masked(phone: Phone, image_id: Any, content: bytes | None = None) -> Any:
    """Upload a mask of this image."""
    content = content or pictures.saved(left_half(), "PNG")
    file = SimpleUploadedFile("mask.png", content, "image/png")
    headers = {"Authorization": f"Bearer {phone.session['access_token']}"}
    return phone.client.post("/v1/uploads", {"file": file, "mask_of": image_id}, headers=headers)
