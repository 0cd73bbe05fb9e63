"""Reading a request for a generation: what is asked, of which model, with which settings.

Pure: the body and the catalogue in, a priced order out; refusals say what is wrong with which
field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from generation.catalogue import Catalogue, ModelSpec
from generation.errors import InvalidPrompt
from generation.models import Job
from generation.pricing import Price
from rendio.common.api import parse_uuid
from rendio.common.errors import InvalidInput

MAX_URL = 2000


@dataclass(frozen=True)
class Order:
    model: ModelSpec
    theme_id: UUID | None
    prompt: str
    image_url: str
    settings: dict[str, Any]
    price: Price
    quote_id: UUID | None = None
    retry_of: UUID | None = None  # the failed job that it repeats


def read_order(body: dict[str, Any], catalogue: Catalogue) -> Order:
    """The body of generate-video or quote-video as a priced order.

    Raises InvalidModel, InvalidPrompt, InvalidInput with the fields that are wrong.
    """
    theme = (
        catalogue.theme(parse_uuid(body["theme_id"], "theme_id"))
        if _given(body, "theme_id")
        else None
    )
    if _given(body, "model_id"):
        model = catalogue.model(parse_uuid(body["model_id"], "model_id"))
    elif theme:
        model = catalogue.model(theme.model_id)
    else:
        model = catalogue.default_model()
    asked = _object(body, "settings")
    defaults = theme.default_settings if theme and theme.model_id == model.id else {}
    chosen = model.choose(
        {**defaults, **{key: value for key, value in asked.items() if value is not None}}
    )
    prompt = body.get("prompt")
    if prompt is None and theme:
        prompt = theme.default_prompt
    if not isinstance(prompt, str):
        raise InvalidPrompt
    return Order(
        model=model,
        theme_id=theme.id if theme else None,
        prompt=model.check_prompt(prompt),
        image_url=_image_url(body, model),
        settings=chosen,
        price=model.price(chosen),
        quote_id=parse_uuid(body["quote_id"], "quote_id") if _given(body, "quote_id") else None,
    )


def repeated_order(job: Job, catalogue: Catalogue) -> Order:
    """What a job was asked for, as an order at today's price.

    Raises InvalidModel where its model is no longer on sale, InvalidInput where the model no longer
    takes its settings.
    """
    model = catalogue.model(job.model_id)
    chosen = model.choose(job.settings)
    return Order(
        model=model,
        theme_id=job.theme_id,
        prompt=model.check_prompt(job.prompt),
        image_url=job.image_url,
        settings=chosen,
        price=model.price(chosen),
        retry_of=job.id,
    )


def _given(body: dict[str, Any], name: str) -> bool:
    return body.get(name) not in (None, "")


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput(fields={name: ["Must be an object."]})
    return value


def _image_url(body: dict[str, Any], model: ModelSpec) -> str:
    """The picture to start from, which the provider fetches; only where the model takes one."""
    value = body.get("image_url")
    if not model.needs_image:
        return ""
    if value in (None, ""):
        raise InvalidInput(fields={"image_url": ["This model needs a picture."]})
    problem = {"image_url": ["Must be an https URL."]}
    if not isinstance(value, str) or len(value) > MAX_URL or not value.isprintable():
        raise InvalidInput(fields=problem)
    # What one reader of URLs takes for a part of the host and another for its end.
    if " " in value or "\\" in value:
        raise InvalidInput(fields=problem)
    try:
        parts = urlsplit(value)
        sound = (
            parts.scheme == "https"
            and parts.hostname
            and "@" not in parts.netloc
            and parts.port in (None, 443)
        )
    except ValueError:
        sound = False
    if not sound:
        raise InvalidInput(fields=problem)
    return value
