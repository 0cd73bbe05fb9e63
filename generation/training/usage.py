"""Trained models in orders of images."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _

from generation import media
from generation.catalogue.kinds import WEIGHTS_URL
from generation.models import TrainedModel
from rendio.common import db
from rendio.common.errors import InvalidInput, NotFound

_own_model = db.CompiledQuery(
    lambda user_id, model_id: TrainedModel.objects.owned_by(user_id).filter(id=model_id)
)


def get_usable(model_id: UUID, *, user_id: UUID) -> TrainedModel:
    """Raises NotFound for an unknown or deleted model and for another user's, and InvalidInput for
    one whose training has not made it."""
    return _require_usable(_own_model.first(user_id, model_id))


def read_for_job(model_id: UUID, *, user_id: UUID) -> db.Statement[TrainedModel]:
    """The statement that reads a model for a new job. The lock of the user's wallet, which the
    deletion of a model takes as well, keeps the model until the job is there. Raises like
    `get_usable`."""
    return _own_model.statement(user_id, model_id, read=_require_usable)


def _require_usable(trained: TrainedModel | None) -> TrainedModel:
    if trained is None:
        raise NotFound
    if not trained.weights_name:
        raise InvalidInput(fields={"trained_model_id": [_("This model is not trained.")]})
    return trained


def inputs(model_id: UUID, prompt: str, *, seconds: int) -> dict[str, Any]:
    """The inputs of a route for a job with a trained model: the weights at a signed URL that is
    valid for `seconds`, and the prompt with the trigger word.

    Raises TrainedModel.DoesNotExist if the model is deleted.
    """
    trained = TrainedModel.objects.usable().get(id=model_id)
    return {
        WEIGHTS_URL: media.signed_url(trained.weights_name, seconds=seconds),
        "prompt": _with_trigger_word(prompt, trained.trigger_word),
    }


def _with_trigger_word(prompt: str, word: str) -> str:
    return prompt if word in prompt else f"{word}, {prompt}"
