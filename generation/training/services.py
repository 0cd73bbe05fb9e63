"""The user's actions on trainings and trained models: start, cancel, delete."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _

from credits import services as credit_services
from credits.idempotency import IdempotentRequest, StoredResponse
from generation import cleanup
from generation import services as job_services
from generation.catalogue import cache
from generation.catalogue.orders import Order
from generation.catalogue.specs import ModelSpec
from generation.due_work import SUBMIT_JOBS
from generation.job_creation import Sale, create_job
from generation.models import (
    Job,
    JobStatus,
    TrainedModel,
    TrainingConsent,
    TrainingKind,
    TrainingSet,
)
from generation.training import deletion
from generation.training.consent_text import TEXT_VERSION
from generation.training.picture_checks import MESSAGES
from generation.training.trigger_words import make_trigger_word
from rendio.common.background import changes
from rendio.common.errors import InvalidInput, InvalidState, NotFound
from rendio.common.ids import uuid7
from rendio.common.observability import metrics

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class TrainingOrder:
    """What the user asks for. `consent_version` is None without a consent."""

    set_id: UUID
    name: str
    kind: TrainingKind
    steps: int
    consent_version: str | None
    subject_name: str
    language: str


def start(*, attempt: IdempotentRequest, asked: TrainingOrder, now: datetime) -> StoredResponse:
    """Charge for a training and enqueue it, or replay the response to the same idempotency key.

    Opens one transaction of its own for the charge, the job, the model, the consent and the stored
    response. Before it, refuses what cannot be trained: InvalidInput for an expired set, for too
    few usable images, each unusable one named, and for a missing consent; NotFound for another
    user's set; InvalidModel for a kind that is not on sale. Raises like `services.generate`.
    """
    return job_services.place_once(attempt, lambda: _place(attempt, asked, now=now), now=now)


def _place(
    attempt: IdempotentRequest, asked: TrainingOrder, *, now: datetime
) -> StoredResponse | None:
    trainer = cache.current().trainer(asked.kind)
    order = _build_order(trainer, asked.steps)
    _require_consent(asked)
    own_set = TrainingSet.objects.owned_by(attempt.user_id).filter(id=asked.set_id)
    require_trainable(own_set.first(), trainer, asked.kind, now=now)
    job_services.require_orderable(order, user_id=attempt.user_id, now=now)
    job_id, model_id = uuid7(), uuid7()
    with transaction.atomic(durable=True):
        wallet = credit_services.lock_wallet(user_id=attempt.user_id)
        training_set = require_trainable(
            own_set.select_for_update().first(), trainer, asked.kind, now=now
        )
        with transaction.atomic():  # so that the job does not commit alone
            answer = create_job(
                attempt,
                order,
                Sale(order.price.credits, order.price.usd),
                wallet=wallet,
                now=now,
                job_id=job_id,
                build_answer=partial(started_answer, model_id=model_id),
            )
        if answer is None:
            return None
        TrainedModel.objects.create(
            id=model_id,
            user_id=attempt.user_id,
            name=asked.name,
            kind=asked.kind,
            job_id=job_id,
            training_set=training_set,
            trigger_word=make_trigger_word(),
            consent=_record_consent(attempt.user_id, asked, now=now),
            created_at=now,
        )
        # The end of the training sets the time again.
        TrainingSet.objects.filter(id=training_set.id).update(remove_at=None)
        SUBMIT_JOBS.wake_workers(queue=trainer.kind.queue)
        changes.announce_on_commit(attempt.user_id)
    metrics.jobs_ordered.labels(trainer.kind.queue).inc()
    logger.info("training_started", job_id=str(job_id), credits=order.price.credits)
    return answer


def _build_order(trainer: ModelSpec, steps: int) -> Order:
    """Raises InvalidInput for a number of steps that the trainer does not offer."""
    try:
        chosen = trainer.resolve_settings({"steps": steps})
    except InvalidInput as problem:
        problems = problem.details["fields"]
        raise InvalidInput(
            fields={name.removeprefix("settings."): texts for name, texts in problems.items()}
        ) from None
    return Order(
        model=trainer, theme_id=None, prompt="", settings=chosen, price=trainer.price(chosen)
    )


def _require_consent(asked: TrainingOrder) -> None:
    """Raises InvalidInput if a person is to be trained without a consent to the current text."""
    if asked.kind != TrainingKind.PERSON:
        return
    if asked.consent_version is None:
        problem = _("A model of a person needs a consent.")
        raise InvalidInput(fields={"consent": [problem]})
    if asked.consent_version != TEXT_VERSION:
        problem = _("The text has changed. Show it again.")
        raise InvalidInput(fields={"consent.text_version": [problem]})


def _record_consent(
    user_id: UUID, asked: TrainingOrder, *, now: datetime
) -> TrainingConsent | None:
    """Joins the caller's transaction. None for other kinds, which need no consent."""
    if asked.kind != TrainingKind.PERSON or asked.consent_version is None:
        return None
    return TrainingConsent.objects.create(
        user_id=user_id,
        given_at=now,
        text_version=asked.consent_version,
        language=asked.language,
        subject_name=asked.subject_name,
    )


def require_trainable(
    training_set: TrainingSet | None, trainer: ModelSpec, kind: TrainingKind, *, now: datetime
) -> TrainingSet:
    """Raises NotFound for None, and InvalidInput for an expired set and for too few usable
    images."""
    if training_set is None:
        raise NotFound
    if training_set.expires_at <= now:
        raise InvalidInput(fields={"set_id": [_("These images have expired.")]})
    pictures = list(training_set.pictures.order_by("position"))
    bad = {one.id: problems for one in pictures if (problems := one.problems_for(kind))}
    usable = len(pictures) - len(bad)
    if usable < trainer.min_pictures:
        problem = _("%(least)s usable images are needed, and there are %(usable)s.") % {
            "least": trainer.min_pictures,
            "usable": usable,
        }
        named = {
            f"pictures.{picture_id}": [str(MESSAGES[name]) for name in names]
            for picture_id, names in bad.items()
        }
        raise InvalidInput(fields={"set_id": [problem], **named})
    return training_set


def started_answer(
    *,
    job_id: UUID,
    model_id: UUID,
    credits: int,
    credits_remaining: int,
    cancel_fee: int,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """The response to train/start, which is stored for replays."""
    # In the key order of PostgreSQL's jsonb, so that a replay is equal to the byte.
    return {
        "status": JobStatus.PENDING.value,
        "model_id": str(model_id),
        "settings": settings,
        "training_id": str(job_id),
        "credits_used": credits,
        "credits_remaining": credits_remaining,
        "cancel_fee_after_start": cancel_fee,
    }


def withdraw_consent(*, user_id: UUID, model_id: UUID, now: datetime) -> None:
    """Withdraw the consent to a model of a person: as `delete_model`, and the record of the consent
    says when. Raises InvalidState for a model that needed no consent."""
    trained = TrainedModel.objects.owned_by(user_id).filter(id=model_id).first()
    if trained is None:
        raise NotFound
    if trained.consent_id is None:
        raise InvalidState
    delete_models([trained], withdraws_consent=True, now=now)


def delete_model(*, user_id: UUID, model_id: UUID, now: datetime) -> None:
    """Delete a trained model with its weights, its images and the providers' copies. A training
    that runs is cancelled first, as by `cancel_job`.

    Opens transactions of its own. Raises NotFound, also for another user's model.
    """
    trained = TrainedModel.objects.owned_by(user_id).filter(id=model_id).first()
    if trained is None:
        raise NotFound
    delete_models([trained], now=now)


def delete_models(
    models: Iterable[TrainedModel], *, now: datetime, withdraws_consent: bool = False
) -> None:
    """As `delete_model`, for models that the caller has found. `withdraws_consent` records that, in
    the transaction that deletes."""
    for trained in models:
        with suppress(InvalidState, NotFound):  # it has ended, or is deleted
            job_services.cancel_job(
                user_id=trained.user_id, job_id=trained.job_id, now=now, is_training=True
            )
        with transaction.atomic(durable=True):
            credit_services.lock_wallet(user_id=trained.user_id, through_merge=True)
            Job.objects.select_for_update(of=("self",)).get(id=trained.job_id)
            if withdraws_consent:
                consent = TrainingConsent.objects.filter(trained_models=trained)
                consent.update(withdrawn_at=Coalesce(F("withdrawn_at"), now))
            files = deletion.delete_trained(
                TrainedModel.objects.filter(id=trained.id, deleted_at=None), now=now
            )
        cleanup.delete_now(files)
        logger.info("trained_model_deleted", model_id=str(trained.id))
