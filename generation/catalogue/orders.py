"""Orders: the bodies of quote-video and generate-video, and the response to an order.

Limits of a request are here. Pure: no query, no call. Errors name the invalid field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils.translation import gettext as _
from rest_framework import serializers

from generation import media
from generation.catalogue.cache import Catalogue
from generation.catalogue.kinds import Kind
from generation.catalogue.pricing import Price
from generation.catalogue.specs import ModelSpec, ThemeSpec
from generation.errors import InvalidModel, InvalidPrompt
from generation.models import MEDIA_KINDS, Job, JobStatus, ModelKind, Tier, TrainedModel, Upload
from generation.providers.base import MediaKind
from rendio.common.errors import InvalidInput
from rendio.common.outbound import http
from rendio.common.text.visible_text import has_visible
from rendio.common.web.body import Body, BodyField, optional_id
from rendio.common.web.fields import StrictCharField

# Characters. The message of InvalidPrompt (generation/errors.py) states both in every language.
PROMPT_MIN_VISIBLE, PROMPT_MAX = 3, 2000
MAX_URL_LENGTH = 2000
FEE_HELP = (
    "Credits that the refund leaves out if the user cancels after the provider has started, or if "
    "the provider's content check refuses the content: the provider's charge, at most this number. "
    "0 while the user has free cancellations left."
)
SETTINGS_HELP = "All settings of the model that apply, defaults included."


def _read_prompt(value: Any, name: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InvalidPrompt
    return value


def _read_image_url(value: Any, name: str) -> str:
    """ "" if the URL is omitted."""
    if value in (None, ""):
        return ""
    if not isinstance(value, str) or len(value) > MAX_URL_LENGTH:
        raise InvalidInput(fields={name: [_("Must be a URL.")]})
    return value


def _read_settings(value: Any, name: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput(fields={name: [_("Must be an object.")]})
    return value


def _choice(choices: Sequence[tuple[str, Any]], help_text: str) -> BodyField[str]:
    """One of the values, "" if the field is omitted. Raises InvalidInput."""
    values = [value for value, _label in choices]

    def read(value: Any, name: str) -> str:
        if value is None:
            return ""
        if not isinstance(value, str) or value not in values:
            options = ", ".join(values)
            raise InvalidInput(
                fields={name: [_("Must be one of %(options)s.") % {"options": options}]}
            )
        return value

    return BodyField(
        read,
        serializers.ChoiceField(
            choices=choices,
            required=False,
            help_text=help_text,
        ),
    )


class SettingsBody(serializers.Serializer):
    """Defaults to the theme's settings, then the model's. Settings that the model does not have
    are refused.

    `auto` as a resolution or an aspect ratio means the default, unless the model lists `auto` as a
    value. The response states the settings that apply, and each image its own `aspect_ratio`.
    """

    # For the description only: the model states its settings and their values (specs.py).
    duration = serializers.IntegerField(required=False, allow_null=True, help_text="Seconds.")
    resolution = StrictCharField(required=False, allow_null=True)
    aspect_ratio = StrictCharField(required=False, allow_null=True)
    num_outputs = serializers.IntegerField(
        required=False, allow_null=True, help_text="How many images. The price is for each."
    )
    seed = serializers.IntegerField(
        required=False, allow_null=True, help_text="The same seed and prompt give a similar image."
    )
    negative_prompt = StrictCharField(
        required=False, allow_null=True, help_text="What the image should not show."
    )


class OrderBody(Body):
    """The body of quote-video."""

    model_id = optional_id(
        "Defaults to the theme's model, then the first model of `kind` and `tier`, then the "
        "default model."
    )
    kind = _choice(
        MEDIA_KINDS, "Only without `model_id` and `theme_id`. With a `tier`: text-to-image."
    )
    tier = _choice(Tier.choices, "Only without `model_id` and `theme_id`. Defaults to standard.")
    theme_id = optional_id()
    prompt = BodyField(
        _read_prompt,
        StrictCharField(
            required=False,
            allow_null=True,
            min_length=PROMPT_MIN_VISIBLE,
            max_length=PROMPT_MAX,
            help_text="At least three visible characters. Defaults to the theme's prompt.",
        ),
    )
    image_url = BodyField(
        _read_image_url,
        StrictCharField(
            required=False,
            allow_null=True,
            allow_blank=True,
            max_length=MAX_URL_LENGTH,
            help_text="The source image: the `image_url` of an upload. Ignored by a model that "
            "takes no image.",
        ),
    )
    upload_id = optional_id(
        "The source image, by the id of the upload, instead of `image_url`. Ignored by a model "
        "that takes no image."
    )
    mask_upload_id = optional_id("The mask of the source image (`uploads`), by its id.")
    last_upload_id = optional_id("The last keyframe, by the id of the upload.")
    trained_model_id = optional_id(
        "A trained model of the user. Without a model, a theme, a kind and a tier, the first model "
        "that can use it is chosen."
    )
    settings = BodyField(_read_settings, SettingsBody(required=False, allow_null=True))


class GenerateBody(OrderBody):
    """The body of generate-video."""

    quote_id = optional_id("The quote whose price applies.")


@dataclass(frozen=True)
class Order:
    model: ModelSpec
    theme_id: UUID | None
    prompt: str
    settings: dict[str, Any]
    price: Price
    # The source image: an upload, or the URL of an external image that is not fetched yet.
    upload_id: UUID | None = None
    external_image_url: str = ""
    second_upload_id: UUID | None = None  # the mask, or the last keyframe
    # A trained model, and the base family that a route has to load for it.
    trained_model_id: UUID | None = None
    base_family: str = ""
    quote_id: UUID | None = None
    retry_of: UUID | None = None  # the failed job that this order repeats


def parse_order(
    body: dict[str, Any],
    catalogue: Catalogue,
    *,
    media: MediaKind | None = None,
    trained: TrainedModel | None = None,
) -> Order:
    """Parse the body of an order or of quote-video, and price the order.

    `media` limits the models to those that make videos or images. `trained` is the user's trained
    model that the body names. Raises InvalidModel, InvalidPrompt, and InvalidInput with the invalid
    fields.
    """
    theme_id = GenerateBody.theme_id.parse(body)
    theme = catalogue.theme(theme_id) if theme_id else None
    base_family = trained.base_family if trained else ""
    model = _parse_model(body, theme, catalogue, media, base_family)
    if trained and not model.loads(base_family):
        problem = _("This model cannot use the trained model.")
        raise InvalidInput(fields={"trained_model_id": [problem]})
    asked = GenerateBody.settings.parse(body)
    defaults = theme.default_settings if theme and theme.model_id == model.id else {}
    chosen = model.resolve_settings(asked, defaults=defaults)
    prompt = GenerateBody.prompt.parse(body)
    if prompt is None and theme:
        prompt = theme.default_prompt
    prompt = parse_prompt(prompt or "") if model.kind.needs_prompt else ""
    upload_id, external_image_url = _parse_image(body) if model.kind.images else (None, "")
    return Order(
        model=model,
        theme_id=theme.id if theme else None,
        prompt=prompt,
        settings=chosen,
        price=model.price(chosen),
        upload_id=upload_id,
        external_image_url=external_image_url,
        second_upload_id=_parse_second_image(body, model.kind),
        trained_model_id=trained.id if trained else None,
        base_family=base_family,
        quote_id=GenerateBody.quote_id.parse(body),
    )


def _parse_model(
    body: dict[str, Any],
    theme: ThemeSpec | None,
    catalogue: Catalogue,
    media: MediaKind | None,
    base_family: str,
) -> ModelSpec:
    """Raises InvalidModel, and InvalidInput for a kind or tier beside a model or theme."""
    kind, tier = GenerateBody.kind.parse(body), GenerateBody.tier.parse(body)
    model_id = GenerateBody.model_id.parse(body)
    if (kind or tier) and (model_id or theme):
        problem = _("Only without a model and a theme.")
        raise InvalidInput(
            fields={name: [problem] for name, value in (("kind", kind), ("tier", tier)) if value}
        )
    if model_id:
        model = catalogue.model(model_id)
    elif theme:
        model = catalogue.model(theme.model_id)
    elif base_family and not (kind or tier):
        model = catalogue.model_that_loads(base_family)
    elif kind or tier or media == "image":
        model = catalogue.model_of(ModelKind(kind or ModelKind.TEXT_TO_IMAGE), tier)
    else:
        model = catalogue.default_model()
    if media and model.kind.media != media:
        raise InvalidModel
    return model


def order_from_job(job: Job, catalogue: Catalogue, *, trained: TrainedModel | None) -> Order:
    """The order that repeats a job, at today's price. `trained` is the job's trained model.

    Raises InvalidModel if the model is off sale, and InvalidInput if the model no longer accepts
    the job's settings.
    """
    model = catalogue.model(job.model_id)
    chosen = model.resolve_settings(job.settings)
    return Order(
        model=model,
        theme_id=job.theme_id,
        prompt=parse_prompt(job.prompt) if model.kind.needs_prompt else "",
        settings=chosen,
        price=model.price(chosen),
        upload_id=job.upload_id,
        second_upload_id=job.second_upload_id,
        trained_model_id=trained.id if trained else None,
        base_family=trained.base_family if trained else "",
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


def _parse_image(body: dict[str, Any]) -> tuple[UUID | None, str]:
    """The source image as (upload id, "") or (None, external URL). The id wins if both are sent.

    Raises InvalidInput. Does not check that the upload exists and belongs to the user.
    """
    if upload_id := GenerateBody.upload_id.parse(body):
        return upload_id, ""
    url = GenerateBody.image_url.parse(body)
    if not url:
        raise InvalidInput(fields={"image_url": [_("This model needs an image.")]})
    if upload_id := Upload.id_in(media.name_from_url(url) or ""):
        return upload_id, ""
    if not settings.ALLOW_EXTERNAL_IMAGE_URLS:
        problem = _("Must be the image_url of an uploaded image.")
        raise InvalidInput(fields={"image_url": [problem]})
    # URL parsers disagree whether these characters end the host.
    if " " in url or "\\" in url:
        raise InvalidInput(fields={"image_url": [_("Must be an https URL.")]})
    try:
        http.check_url(url)
    except http.Refused:
        raise InvalidInput(fields={"image_url": [_("Must be an https URL.")]}) from None
    return None, url


def _parse_second_image(body: dict[str, Any], kind: Kind) -> UUID | None:
    """The mask or the last keyframe. Raises InvalidInput if the kind needs one."""
    if not kind.second_image:
        return None
    field = GenerateBody.mask_upload_id if kind.has_mask else GenerateBody.last_upload_id
    upload_id = field.parse(body)
    if upload_id is None:
        problem = (
            _("This model needs a mask.") if kind.has_mask else _("This model needs an image.")
        )
        raise InvalidInput(fields={field.name: [problem]})
    return upload_id


class OrderedAnswer(serializers.Serializer):
    job_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=[JobStatus.PENDING])
    credits_used = serializers.IntegerField(min_value=1)
    credits_remaining = serializers.IntegerField(min_value=0)
    cancel_fee_after_start = serializers.IntegerField(min_value=0, help_text=FEE_HELP)
    settings = serializers.DictField(
        required=False,
        help_text=f"{SETTINGS_HELP} Missing in the replay of an order from an earlier release.",
    )


def ordered_answer(
    *,
    job_id: UUID,
    settings: dict[str, Any],
    credits: int,
    credits_remaining: int,
    cancel_fee: int,
) -> dict[str, Any]:
    """The response to generate-video and retry-video-job, which is stored for replays."""
    # In the key order of PostgreSQL's jsonb, so that a replay is equal to the byte.
    return {
        "job_id": str(job_id),
        "status": JobStatus.PENDING.value,
        "settings": settings,
        "credits_used": credits,
        "credits_remaining": credits_remaining,
        "cancel_fee_after_start": cancel_fee,
    }
