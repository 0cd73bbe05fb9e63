"""Reading a request for a generation: what is asked, of which model, with which settings.

Pure: the body and the catalogue in, a priced order out; refusals say what is wrong with which
field.
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
from rendio.common import http
from rendio.common.api import parse_uuid
from rendio.common.errors import InvalidInput

MAX_URL_LENGTH = 2000


@dataclass(frozen=True)
class Order:
    model: ModelSpec
    theme_id: UUID | None
    prompt: str
    settings: dict[str, Any]
    price: Price
    # The picture to start from: an upload, or where it has still to be fetched from.
    upload_id: UUID | None = None
    picture_url: str = ""
    quote_id: UUID | None = None
    retry_of: UUID | None = None  # the failed job that it repeats


def parse_order(body: dict[str, Any], catalogue: Catalogue) -> Order:
    """The body of generate-video or quote-video as a priced order.

    Raises InvalidModel, InvalidPrompt, InvalidInput with the fields that are wrong.
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
    prompt = model.validate_prompt(prompt)
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
    """What a job was asked for, as an order at today's price.

    Raises InvalidModel where its model is no longer on sale, InvalidInput where the model no longer
    has its settings or takes their values.
    """
    model = catalogue.model(job.model_id)
    chosen = model.resolve_settings(job.settings)
    return Order(
        model=model,
        theme_id=job.theme_id,
        prompt=model.validate_prompt(job.prompt),
        settings=chosen,
        price=model.price(chosen),
        upload_id=job.upload_id,
        retry_of=job.id,
    )


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
    """The picture to start from: the id of an upload, or the foreign address that it is to be
    fetched from; the id counts where an app sends both.

    Raises InvalidInput. Whose upload it is, and whether it is still there, the database knows.
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
    # What one reader of URLs takes for a part of the host and another for its end.
    if " " in url or "\\" in url:
        raise InvalidInput(fields={"image_url": [_("Must be an https URL.")]})
    try:
        http.check_url(url)
    except http.Refused:
        raise InvalidInput(fields={"image_url": [_("Must be an https URL.")]}) from None
    return None, url
