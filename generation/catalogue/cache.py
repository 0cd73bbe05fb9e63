"""The in-memory catalogue of each process, reloaded every settings.CATALOGUE_CACHE_SECONDS.

Every process shows a change in the admin within that time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings

from generation.catalogue import availability
from generation.catalogue.availability import Availability
from generation.catalogue.responses import model_answer, theme_answer
from generation.catalogue.specs import ModelSpec, ThemeSpec, UnknownKind, to_spec
from generation.errors import InvalidModel
from generation.models import GenerationModel, ModelKind, Theme, Tier, TrainingKind
from rendio.common.text.collation import sort_key
from rendio.common.ttl_cache import ttl_cache

logger = structlog.get_logger(__name__)

DEFAULT_RUN_SECONDS = 600


@dataclass(frozen=True)
class Catalogue:
    """Models, themes and trainers on sale, and availability.

    `models_json` and `themes_json` map a language to the response body. The order of names depends
    on the language.
    """

    models: dict[UUID, ModelSpec]
    themes: dict[UUID, ThemeSpec]
    availability: Availability = field(default_factory=Availability)
    models_json: dict[str, bytes] = field(default_factory=dict, repr=False)
    themes_json: dict[str, bytes] = field(default_factory=dict, repr=False)
    # Models of the kind training, which only `train/start` orders, by what the images show.
    trainers: dict[TrainingKind, ModelSpec] = field(default_factory=dict)

    @property
    def all_models(self) -> Iterable[ModelSpec]:
        """Trainers included."""
        return [*self.models.values(), *self.trainers.values()]

    def trainer(self, kind: TrainingKind) -> ModelSpec:
        """Raises InvalidModel."""
        try:
            return self.trainers[kind]
        except KeyError:
            raise InvalidModel from None

    def model(self, model_id: UUID) -> ModelSpec:
        """Raises InvalidModel."""
        try:
            return self.models[model_id]
        except KeyError:
            raise InvalidModel from None

    def theme(self, theme_id: UUID) -> ThemeSpec:
        """Raises InvalidModel."""
        try:
            return self.themes[theme_id]
        except KeyError:
            raise InvalidModel from None

    def default_model(self) -> ModelSpec:
        """The default model, else one for videos from text. Raises InvalidModel if none is left."""
        for model in self.models.values():
            if model.is_default:
                return model
        for model in self.models.values():
            if model.kind.name == ModelKind.TEXT_TO_VIDEO:
                return model
        raise InvalidModel

    def model_of(self, kind: ModelKind, tier: str) -> ModelSpec:
        """The first model of this kind and tier. Raises InvalidModel.

        Without a tier: of the standard tier, else of any.
        """
        models = [model for model in self.models.values() if model.kind.name == kind]
        wanted = [model for model in models if model.tier == (tier or Tier.STANDARD)]
        if not wanted and not tier:
            wanted = models
        if not wanted:
            raise InvalidModel
        return wanted[0]

    def model_that_loads(self, base_family: str) -> ModelSpec:
        """The first model that can use trained models of this family. Raises InvalidModel."""
        for model in self.models.values():
            if model.loads(base_family):
                return model
        raise InvalidModel


@ttl_cache(lambda: settings.CATALOGUE_CACHE_SECONDS)
def current() -> Catalogue:
    """The cached catalogue, at most CATALOGUE_CACHE_SECONDS old."""
    return _load()


def invalidate() -> None:
    """Load the catalogue again at the next request of this process, after a change."""
    current.cache_clear()


def find_model(model_id: UUID) -> ModelSpec | None:
    """The model, also if it is off sale; None if it was deleted. Raises UnknownKind."""
    if model := _find_on_sale(model_id):
        return model
    row = GenerationModel.objects.prefetch_related("routes").filter(id=model_id).first()
    return to_spec(row) if row else None


def _find_on_sale(model_id: UUID) -> ModelSpec | None:
    catalogue = current()
    trainers = (model for model in catalogue.trainers.values() if model.id == model_id)
    return catalogue.models.get(model_id) or next(trainers, None)


def run_deadline_seconds(model_id: UUID) -> int:
    """Seconds that a job of the model may run: the setting, else the model's, else ten minutes."""
    # The catalogue has no models that are off sale.
    model = _find_on_sale(model_id) or GenerationModel.objects.filter(id=model_id).first()
    return (
        settings.JOB_RUN_DEADLINE_SECONDS
        or (model and model.run_deadline_seconds)
        or DEFAULT_RUN_SECONDS
    )


def etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _load() -> Catalogue:
    rows = GenerationModel.objects.filter(is_available=True).prefetch_related("routes")
    models: dict[UUID, ModelSpec] = {}
    bodies: dict[UUID, dict[str, Any]] = {}
    trainers: dict[TrainingKind, ModelSpec] = {}
    for spec in sorted(_known(rows), key=partial(_model_sort_key, language="en")):
        if not spec.routes:
            continue
        try:
            bodies[spec.id] = model_answer(spec)
        except (KeyError, ValueError, TypeError, AttributeError, ArithmeticError):
            # One row that cannot be priced must not take the other models off sale.
            logger.exception("model_left_out", model_id=str(spec.id))
            continue
        if not spec.kind.is_training:
            models[spec.id] = spec
        elif spec.category in TrainingKind.values:
            trainers.setdefault(TrainingKind(spec.category), spec)
    themes = {
        row.id: ThemeSpec(
            id=row.id,
            name=row.name,
            description=row.description,
            category=row.category,
            default_prompt=row.default_prompt,
            default_settings=row.default_settings,
            thumbnail_url=row.thumbnail_url,
            model_id=row.model_id,
        )
        for row in Theme.objects.filter(is_available=True)
        if row.model_id in models
    }
    languages = [language for language, _name in settings.LANGUAGES]
    return Catalogue(
        models,
        themes,
        availability.read(),
        {
            language: _dump(
                {
                    "models": [
                        bodies[model.id]
                        for model in sorted(
                            models.values(), key=partial(_model_sort_key, language=language)
                        )
                    ]
                }
            )
            for language in languages
        },
        {
            language: _dump(
                {
                    "themes": [
                        theme_answer(theme)
                        for theme in sorted(
                            themes.values(), key=lambda theme: sort_key(theme.name, language)
                        )
                    ]
                }
            )
            for language in languages
        },
        trainers,
    )


def _known(rows: Iterable[GenerationModel]) -> Iterator[ModelSpec]:
    """The models whose kind this release knows. While a newer one is deployed, its migration has
    added others."""
    for row in rows:
        try:
            yield to_spec(row)
        except UnknownKind:
            logger.warning("model_of_unknown_kind", model_id=str(row.id), kind=row.kind)


def _model_sort_key(model: ModelSpec, *, language: str) -> tuple[Any, ...]:
    """Featured models first, then by name in the order of the language."""
    return not model.is_featured, sort_key(model.name, language)


def _dump(body: dict[str, Any]) -> bytes:
    return json.dumps(body, default=str, ensure_ascii=False).encode()
