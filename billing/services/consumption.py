"""Apple's consumption requests: questions about a purchase for which a refund was requested.

Data is sent only if the customer has consented (record-consent, kind `consumption`). The ledger
also shows whether the credits bought a result: a job that ends without its video is refunded in the
same transaction.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from appstoreserverlibrary.models.DeliveryStatus import DeliveryStatus
from appstoreserverlibrary.models.RefundPreference import RefundPreference
from django.conf import settings
from django.db import transaction

from billing.appstore.client import Consumption
from billing.appstore.payloads import DecodedNotification
from billing.models import FULL_SHARE, ConsumptionRequest, Purchase, RefundPolicy
from billing.services import periods
from credits import queries as credit_queries
from rendio.common.errors import InvalidState, NotFound


@transaction.atomic(durable=True)
def upsert_request(notification: DecodedNotification, *, now: datetime) -> ConsumptionRequest:
    """Schedule the answer. It waits a while, so that running jobs can end and support can override
    the policy.

    Apple asks up to three times for one refund request. An older notification than the stored one
    changes nothing.
    """
    assert notification.transaction  # noqa: S101 (and its purchase is recorded)
    purchase = Purchase.objects.get(
        environment=notification.environment, transaction_id=notification.transaction.transaction_id
    )
    deadline_at = notification.signed_at + timedelta(hours=settings.CONSUMPTION_DEADLINE_HOURS)
    answer_at = notification.signed_at + timedelta(minutes=settings.CONSUMPTION_ANSWER_MINUTES)
    asked = {
        "reason": notification.refund_reason,
        "requested_at": notification.signed_at,
        "deadline_at": deadline_at,
        "due_at": max(answer_at, now),
        "tries": 0,
    }
    request, is_new = ConsumptionRequest.objects.select_for_update().get_or_create(
        purchase=purchase, defaults=asked
    )
    if not is_new and notification.signed_at > request.requested_at:
        for name, value in asked.items():
            setattr(request, name, value)
        request.save(update_fields=[*asked])
    return request


def override_refund_policy(
    *, request_id: UUID, policy: RefundPolicy, now: datetime
) -> tuple[str, ConsumptionRequest]:
    """Use another policy for this request, and answer again if it was answered before. Return (the
    override before, the request). Joins the caller's transaction.

    Raises NotFound, and InvalidState after Apple's deadline.
    """
    request = ConsumptionRequest.objects.select_for_update().filter(id=request_id).first()
    if request is None:
        raise NotFound
    if request.deadline_at <= now:
        raise InvalidState(problem="Apple's deadline for an answer has passed.")
    before = request.override
    request.override, request.due_at, request.tries = policy, now, 0
    request.save(update_fields=["override", "due_at", "tries"])
    return before, request


def build_consumption(purchase: Purchase, *, policy: RefundPolicy) -> Consumption:
    """Collect the facts about a user's purchase, and the refund preference that `policy` derives
    from them.
    """
    assert purchase.user  # noqa: S101 (who has agreed to it)
    use = credit_queries.lot_usage(purchase.ledger_id)
    is_delivered = use is not None and not (use.jobs and use.jobs == use.failed_jobs)
    used_share = use.share if use and is_delivered else 0
    is_period = periods.is_period(purchase)
    return Consumption(
        delivery=DeliveryStatus.DELIVERED if is_delivered else DeliveryStatus.UNDELIVERED_OTHER,
        used_share=None if is_period else used_share,
        preference=_preference(policy, used_share, can_be_prorated=not is_period),
        # The welcome grant is a free sample.
        sample_provided=purchase.user.welcomed_at is not None,
    )


def _preference(
    policy: RefundPolicy, used_share: int, *, can_be_prorated: bool
) -> RefundPreference | None:
    if policy == RefundPolicy.DECLINE or (
        policy == RefundPolicy.BY_SHARE and used_share == FULL_SHARE
    ):
        return RefundPreference.DECLINE
    if policy == RefundPolicy.GRANT or (policy == RefundPolicy.BY_SHARE and used_share == 0):
        return RefundPreference.GRANT_FULL
    if policy == RefundPolicy.BY_SHARE and can_be_prorated:
        return RefundPreference.GRANT_PRORATED
    return None
