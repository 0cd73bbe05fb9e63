"""The user's actions on generations: quote, order, retry, cancel, delete."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import OperationalError, transaction
from django.utils.translation import gettext as _
from psycopg.errors import LockNotAvailable

from accounts import queries as account_queries
from credits import idempotency
from credits import services as credit_services
from credits.errors import InsufficientCredits
from credits.idempotency import IdempotentRequest, StoredResponse
from generation import cleanup, exposure
from generation.catalogue import cache, routing
from generation.catalogue.kinds import SOURCE_IMAGES
from generation.catalogue.orders import GenerateBody, Order, order_from_job, parse_order
from generation.catalogue.specs import ModelSpec
from generation.due_work import CANCEL_JOBS, SUBMIT_JOBS
from generation.job_creation import Sale, create_job
from generation.lifecycle import cancel as cancelling
from generation.lifecycle import settle
from generation.models import (
    NEGATIVE_PROMPT,
    Job,
    JobStatus,
    Maintenance,
    ProviderRequest,
    Quote,
    Stage,
)
from generation.moderation import screening
from generation.providers.base import MediaKind
from generation.training import usage
from generation.uploads import ingest, retention
from generation.uploads.retention import Source
from rendio.common import db
from rendio.common.background import changes
from rendio.common.errors import InvalidInput, InvalidState, NotFound, Refusal, RequestInProgress
from rendio.common.ids import uuid7
from rendio.common.observability import metrics

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Quoted:
    """A price that is guaranteed until `expires_at`, and the user's wallet. Amounts in credits.

    `cancel_fee` is an estimate. The response to the order states the final fee.
    """

    quote_id: UUID
    credits: int
    settings: dict[str, Any]
    expires_at: datetime
    cancel_fee: int
    balance: int
    debt: int


_CREATE_QUOTE = f"""
WITH quote AS (
    INSERT INTO generation_quote (id, user_id, model_id, settings, credits, price_usd, expires_at)
    VALUES (%(quote_id)s, %(user_id)s, %(model_id)s, %(settings)s, %(credits)s, %(price_usd)s,
        %(expires_at)s)
)
SELECT exposure.cancel_fee, wallet.balance, wallet.debt
FROM generation_exposure({exposure.PARAMETERS_SQL}) exposure, credits_balance(%(user_id)s) wallet
"""  # noqa: S608


def quote(*, user_id: UUID, body: dict[str, Any], now: datetime) -> Quoted:
    """Price the body of a generate-video request and guarantee the price for QUOTE_SECONDS.

    One round trip to the database, and one for each upload. Raises like `parse_order` and
    `retention.get_usable`, and NotFound if there is no wallet.
    """
    order = _parse_order(body, user_id)
    for source in _sources(order):
        retention.get_usable(source, user_id=user_id, now=now)
    quote_id, credits = uuid7(), order.price.credits
    expires_at = now + timedelta(seconds=settings.QUOTE_SECONDS)
    max_cost_usd = routing.max_cost_usd(order.model, order.settings, credits=credits)
    with db.prepared_cursor() as cursor:
        cursor.execute(
            _CREATE_QUOTE,
            {
                **exposure.parameters(user_id, max_cost_usd=max_cost_usd, credits=credits, now=now),
                "quote_id": quote_id,
                "model_id": order.model.id,
                "settings": json.dumps(order.settings),
                "credits": credits,
                "price_usd": order.price.usd,
                "expires_at": expires_at,
            },
        )
        row = cursor.fetchone()
    if row is None:
        raise NotFound
    return Quoted(quote_id, credits, order.settings, expires_at, *row)


def generate(
    *,
    attempt: IdempotentRequest,
    body: dict[str, Any],
    now: datetime,
    media: MediaKind | None = None,
) -> StoredResponse:
    """Charge for one job and enqueue it, or replay the response to the same idempotency key.
    `media`: only a model that makes videos, or images.

    Opens one transaction of its own for charge, job and stored response. A replay is answered even
    where a new order would be refused now.
    """
    return _order_once(attempt, lambda: _parse_order(body, attempt.user_id, media=media), now=now)


def _parse_order(body: dict[str, Any], user_id: UUID, *, media: MediaKind | None = None) -> Order:
    """As `parse_order`, with the trained model that the body names. Costs a query only with one.

    Raises like `usage.get_usable`, too.
    """
    trained_id = GenerateBody.trained_model_id.parse(body)
    trained = usage.get_usable(trained_id, user_id=user_id) if trained_id else None
    return parse_order(body, cache.current(), media=media, trained=trained)


def retry(*, attempt: IdempotentRequest, job_id: UUID, now: datetime) -> StoredResponse:
    """Order a failed job again: a new job, a new charge, today's price.

    Opens one transaction of its own. Raises like `generate`, NotFound, and InvalidState
    for a job that did not fail.
    """

    def read_failed_job() -> Order:
        job = get_job(user_id=attempt.user_id, job_id=job_id)
        if job.status != JobStatus.FAILED:
            raise InvalidState
        trained_id = job.trained_model_id
        trained = usage.get_usable(trained_id, user_id=job.user_id) if trained_id else None
        return order_from_job(job, cache.current(), trained=trained)

    return _order_once(attempt, read_failed_job, now=now)


def _order_once(
    attempt: IdempotentRequest, build_order: Callable[[], Order], *, now: datetime
) -> StoredResponse:
    """Place the order, or replay the response that is stored for this idempotency key."""

    def place() -> StoredResponse | None:
        order = build_order()
        require_orderable(order, user_id=attempt.user_id, now=now)
        if order.external_image_url or screening.is_enabled():
            if replay := _find_replay(attempt, now=now):
                return replay
            order = _moderate_and_fetch_image(attempt, order, now=now)
        return _charge_and_create_job(attempt, order, now=now)

    return place_once(attempt, place, now=now)


def require_orderable(order: Order, *, user_id: UUID, now: datetime) -> None:
    """Raises like `routing.require_available`, and ConsentRequired."""
    routing.require_available(order, now=now)
    _require_ai_consent(user_id, order.model)


def place_once(
    attempt: IdempotentRequest, place: Callable[[], StoredResponse | None], *, now: datetime
) -> StoredResponse:
    """Call `place`, or replay the response that is stored for this idempotency key. `place` returns
    None, with nothing written, if there is one.

    A stored response is looked for only after a refusal or a conflict, so that a first request
    costs no query for it.
    """
    try:
        answer = place()
    except Refusal as refusal:
        if replay := _find_replay(attempt, now=now):
            return replay
        if isinstance(refusal, InsufficientCredits):
            logger.info("generate_video_insufficient_credits", **refusal.details)
        raise
    except OperationalError as error:
        # The wallet stayed locked for longer than lock_timeout: the first request still runs.
        if isinstance(error.__cause__, LockNotAvailable):
            raise RequestInProgress from None
        raise
    answer = answer or _find_replay(attempt, now=now)
    if answer is None:
        raise RequestInProgress
    return answer


def _find_replay(attempt: IdempotentRequest, *, now: datetime) -> StoredResponse | None:
    """The stored response to this idempotency key. Raises IdempotencyKeyReused."""
    answer = idempotency.find_response(attempt, now=now)
    if answer:
        logger.info("idempotent_replay", operation=attempt.operation)
    return answer


def _require_ai_consent(user_id: UUID, model: ModelSpec) -> None:
    """Raises ConsentRequired. Costs no query while the setting is off."""
    if settings.REQUIRE_AI_CONSENT:
        providers = model.providers | screening.third_parties()
        account_queries.require_ai_consent(user_id=user_id, providers=providers)


def _moderate_and_fetch_image(attempt: IdempotentRequest, order: Order, *, now: datetime) -> Order:
    """The order with its prompt moderated and its external image stored as an upload.

    Calls other services, so it runs before the transaction that locks the wallet.
    """
    if screening.is_enabled():
        screening.require_allowed_prompt(attempt=attempt, prompt=order.prompt, now=now)
    if not order.external_image_url:
        return order
    upload = ingest.ingest_url(user_id=attempt.user_id, url=order.external_image_url, now=now)
    return replace(order, upload_id=upload.id)


def _charge_and_create_job(
    attempt: IdempotentRequest, order: Order, *, now: datetime
) -> StoredResponse | None:
    """Charge the wallet, create the job and store the response. None, with nothing written, if a
    response is stored for this idempotency key already.

    Two round trips to the database including transaction control, also with a quote and an upload.
    A test counts them.
    """
    with transaction.atomic(durable=True):
        first: list[db.Statement[Any]] = [credit_services.wallet_lock(attempt.user_id)]
        first += [
            retention.lock_for_job(
                source, user_id=attempt.user_id, now=None if order.retry_of else now
            )
            for source in _sources(order)
        ]
        if order.trained_model_id:
            first.append(usage.read_for_job(order.trained_model_id, user_id=attempt.user_id))
        if order.quote_id:
            first.append(_quoted_sale(order, order.quote_id, attempt.user_id, now=now))
        wallet, *found = db.begin_with(*first)
        sale = found[-1] if order.quote_id else Sale(order.price.credits, order.price.usd)
        answer = create_job(attempt, order, sale, wallet=wallet, now=now)
        if answer is None:
            return None
        SUBMIT_JOBS.wake_workers(queue=order.model.kind.queue)
        # Of the new job and of the balance.
        changes.announce_on_commit(attempt.user_id)
    metrics.jobs_ordered.labels(order.model.kind.queue).inc()
    logger.info("video_generation_started", job_id=answer.body["job_id"], credits=sale.credits)
    return answer


def _sources(order: Order) -> list[Source]:
    """The source images that are uploads."""
    kind = order.model.kind
    sources = [Source("upload_id", order.upload_id)] if order.upload_id else []
    if order.second_upload_id:
        mask_of = order.upload_id if kind.has_mask else None
        field = SOURCE_IMAGES[kind.second_image]
        sources.append(Source(field, order.second_upload_id, mask_of))
    return sources


_own_quote = db.CompiledQuery(
    lambda user_id, quote_id: Quote.objects.owned_by(user_id).filter(id=quote_id)
)


def _quoted_sale(
    order: Order, quote_id: UUID, user_id: UUID, *, now: datetime
) -> db.Statement[Sale]:
    """The statement that finds the order's quote. The wallet's lock serializes its uses.

    Raises NotFound, and InvalidInput for a quote that is expired, used up or of other settings.
    """

    def read(quote: Quote | None) -> Sale:
        if quote is None:
            raise NotFound
        if quote.expires_at <= now:
            raise InvalidInput(fields={"quote_id": [_("This quote has expired.")]})
        if (quote.model_id, quote.settings) != (order.model.id, order.settings):
            problem = _("This quote was for another model or settings.")
            raise InvalidInput(fields={"quote_id": [problem]})
        if quote.orders >= settings.QUOTE_ORDERS:
            raise InvalidInput(fields={"quote_id": [_("This quote has been used up.")]})
        return Sale(quote.credits, quote.price_usd, quote.id)

    return _own_quote.statement(user_id, quote_id, read=read)


_own_job = db.CompiledQuery(lambda user_id, job_id: Job.objects.owned_by(user_id).filter(id=job_id))


def get_job(*, user_id: UUID, job_id: UUID, is_training: bool = False) -> Job:
    """The user's own job. Raises NotFound, also for another user's job, and for a training unless
    `is_training`."""
    job = _own_job.first(user_id, job_id)
    if job is None or job.is_training != is_training:
        raise NotFound
    return job


def cancel_job(*, user_id: UUID, job_id: UUID, now: datetime, is_training: bool = False) -> Job:
    """Cancel a job, or a training, and return its new state.

    A job that no provider has is cancelled and refunded at once. Otherwise the provider is asked to
    cancel, now and, if it does not answer, again by the workers. A job that its provider has
    finished is delivered; if the delivery fails, the job ends as cancelled: at once if the provider
    has already failed to give the result.

    Opens transactions of its own. Raises NotFound, and InvalidState for a job that has ended.
    """
    job = get_job(user_id=user_id, job_id=job_id, is_training=is_training)
    if job.status == JobStatus.CANCELLED:
        return job
    if job.is_terminal:
        raise InvalidState
    if not (job.stage == Stage.SUBMIT and settle.cancel_before_submit(job, now=now)):
        Job.objects.filter(id=job.id, status__in=[JobStatus.PENDING, JobStatus.PROCESSING]).update(
            cancel_requested_at=now
        )
        job.refresh_from_db()
        if job.stage == Stage.STORE:
            settle.cancel_missing_result(job.id, user_id=user_id, now=now)
        elif job.stage != Stage.CONVERT:
            cancelling.cancel([job], now=now)
            CANCEL_JOBS.wake_workers()
    return get_job(user_id=user_id, job_id=job_id, is_training=is_training)


def delete_job(*, user_id: UUID, job_id: UUID, now: datetime) -> None:
    """Delete an ended job from history and its files from storage. The ledger keeps its entries.

    Opens its own transaction. Files that storage fails to delete now are deleted later
    (generation.cleanup). Raises NotFound, and InvalidState while the job runs.
    """
    with transaction.atomic(durable=True):
        job = (
            Job.objects.owned_by(user_id)
            .filter(id=job_id, is_training=False)
            .select_for_update(of=("self",))
            .first()
        )
        if job is None:
            raise NotFound
        if not job.is_terminal:
            raise InvalidState
        files = [job.media_name, job.thumbnail_name, cleanup.job_folder(job.id)]
        media = cleanup.schedule_deletion(files, now=now)
        upload_ids = [id_ for id_ in (job.upload_id, job.second_upload_id) if id_]
        job.upload_id = job.second_upload_id = None
        job.deleted_at = now
        job.prompt = job.media_name = job.thumbnail_name = job.original_name = ""
        job.settings.pop(NEGATIVE_PROMPT, None)
        job.images = []
        job.save(
            update_fields=[
                "deleted_at", "prompt", "settings", "upload", "second_upload", "media_name",
                "thumbnail_name", "original_name", "images",
            ]
        )  # fmt: skip
        ProviderRequest.objects.filter(job=job).exclude(raw_result="").update(raw_result="")
        changes.announce_on_commit(user_id)
        for upload_id in upload_ids:
            retention.release(upload_id=upload_id, now=now)
    cleanup.delete_now(media)


def switch_maintenance(*, is_on: bool, reason: str, now: datetime) -> bool:
    """Stop or resume new orders. Every process notices within CATALOGUE_CACHE_SECONDS.

    Joins the caller's transaction. Returns whether maintenance was on before.
    """
    switch = Maintenance.objects.select_for_update().get()
    was_on = switch.is_on
    switch.is_on, switch.reason, switch.changed_at = is_on, reason, now
    switch.save(update_fields=["is_on", "reason", "changed_at"])
    transaction.on_commit(cache.invalidate)
    logger.warning("maintenance_switched", is_on=is_on, reason=reason)
    return was_on
