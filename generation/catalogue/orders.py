"""Parsing the body of a generation request into a priced order.

Limits of a request are here. Pure: no query, no call. Errors name the invalid field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils.translation import gettext as _

from generation import media
from generation.catalogue.cache import Catalogue, ModelSpec
from generation.catalogue.pricing import Price
from generation.errors import InvalidPrompt
from generation.models import Job, Upload
from rendio.common.errors import InvalidInput
from rendio.common.outbound import http
from rendio.common.visible_text import has_visible
from rendio.common.web.api import parse_uuid

# Characters. The message of InvalidPrompt (generation/errors.py) states both in every language.
PROMPT_MIN_VISIBLE, PROMPT_MAX = 3, 2000
MAX_URL_LENGTH = 2000


@dataclass(frozen=True)
class Order:
    model: ModelSpec
    theme_id: UUID | None
    prompt: str
    settings: dict[str, Any]
    price: Price
    # The source image: an upload, or the URL of an external image that is not fetched yet.
    upload_id: UUID | None = None
    picture_url: str = ""
    quote_id: UUID | None = None
    retry_of: UUID | None = None  # the failed job that this order repeats


def parse_order(body: dict[str, Any], catalogue: Catalogue) -> Order:
    """Parse the body of generate-video or quote-video, and price the order.

    Raises InvalidModel, InvalidPrompt, and InvalidInput with the invalid fields.
    """
    theme = (
        catalogue.theme(parse_uuid(body["theme_id"], "theme_id"))
        if _is_present(body, "theme_id")
        else None
    )
    if _is_present(body, "model_id"):
        model = catalogue.model(parse_uuid(body["model_id"], "model_id"))
    elif theme:
        model = catalogue.model(theme.model_id)
    else:
        model = catalogue.default_model()
    asked = _parse_object(body, "settings")
    defaults = theme.default_settings if theme and theme.model_id == model.id else {}
    chosen = model.resolve_settings(asked, defaults=defaults)
    prompt = body.get("prompt")
    if prompt is None and theme:
        prompt = theme.default_prompt
    if not isinstance(prompt, str):
        raise InvalidPrompt
    prompt = parse_prompt(prompt)
    upload_id, picture_url = _parse_picture(body) if model.needs_image else (None, "")
    return Order(
        model=model,
        theme_id=theme.id if theme else None,
        prompt=prompt,
        settings=chosen,
        price=model.price(chosen),
        upload_id=upload_id,
        picture_url=picture_url,
        quote_id=parse_uuid(body["quote_id"], "quote_id")
        if _is_present(body, "quote_id")
        else None,
    )


def order_from_job(job: Job, catalogue: Catalogue) -> Order:
    """The order that repeats a job, at today's price.

    Raises InvalidModel if the model is off sale, and InvalidInput if the model no longer accepts
    the job's settings.
    """
    model = catalogue.model(job.model_id)
    chosen = model.resolve_settings(job.settings)
    return Order(
        model=model,
        theme_id=job.theme_id,
        prompt=parse_prompt(job.prompt),
        settings=chosen,
        price=model.price(chosen),
        upload_id=job.upload_id,
        retry_of=job.id,
    )


def is_valid_prompt(text: str) -> bool:
    return has_visible(text, least=PROMPT_MIN_VISIBLE) and len(text) <= PROMPT_MAX


def parse_prompt(text: str) -> str:
    """The prompt without surrounding white space. Raises InvalidPrompt."""
    prompt = text.strip()
    if not is_valid_prompt(prompt):
        raise InvalidPrompt
    return prompt


def _is_present(body: dict[str, Any], name: str) -> bool:
    return body.get(name) not in (None, "")


def _parse_object(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput(fields={name: [_("Must be an object.")]})
    return value


def _parse_picture(body: dict[str, Any]) -> tuple[UUID | None, str]:
    """The source image as (upload id, "") or (None, external URL). The id wins if both are sent.

    Raises InvalidInput. Does not check that the upload exists and belongs to the user.
    """
    if _is_present(body, "upload_id"):
        return parse_uuid(body["upload_id"], "upload_id"), ""
    url = body.get("image_url")
    if url in (None, ""):
        raise InvalidInput(fields={"image_url": [_("This model needs a picture.")]})
    if not isinstance(url, str) or len(url) > MAX_URL_LENGTH:
        raise InvalidInput(fields={"image_url": [_("Must be a URL.")]})
    if upload_id := Upload.id_in(media.name_from_url(url) or ""):
        return upload_id, ""
    if not settings.ALLOW_EXTERNAL_IMAGE_URLS:
        problem = _("Must be the image_url of an uploaded picture.")
        raise InvalidInput(fields={"image_url": [problem]})
    # URL parsers disagree whether these characters end the host.
    if " " in url or "\\" in url:
        raise InvalidInput(fields={"image_url": [_("Must be an https URL.")]})
    try:
        http.check_url(url)
    except http.Refused:
        raise InvalidInput(fields={"image_url": [_("Must be an https URL.")]}) from None
    return None, url
