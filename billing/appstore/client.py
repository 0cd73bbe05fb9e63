"""The App Store Server API: Apple's client library over our own HTTP client.

A transaction's id does not show its environment. Production is asked first, then the sandbox, where
testers and App Review buy. Before an app's first release, production answers 401 for sandbox
transactions, which is no final answer. A 401 from both means that our key is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import structlog
from appstoreserverlibrary.api_client import APIError, APIException, AppStoreServerAPIClient
from appstoreserverlibrary.models.ConsumptionRequest import ConsumptionRequest
from appstoreserverlibrary.models.DeliveryStatus import DeliveryStatus
from appstoreserverlibrary.models.Environment import Environment as AppleEnvironment
from appstoreserverlibrary.models.NotificationHistoryRequest import NotificationHistoryRequest
from appstoreserverlibrary.models.RefundPreference import RefundPreference
from appstoreserverlibrary.models.UpdateAppAccountTokenRequest import UpdateAppAccountTokenRequest
from cattrs.errors import CattrsError
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from billing.appstore import verifier
from billing.appstore.payloads import Transaction
from billing.errors import InvalidTransaction, StoreUnavailable
from billing.models import Environment
from rendio.common.outbound import http

logger = structlog.get_logger(__name__)

TIMEOUT_SECONDS = (5.0, 10.0)  # to connect, to read; a person may be waiting
_TRANSIENT_STATUSES = {408, 429}
_RETRYABLE_CODES = {
    APIError.ACCOUNT_NOT_FOUND_RETRYABLE,
    APIError.APP_NOT_FOUND_RETRYABLE,
    APIError.ORIGINAL_TRANSACTION_ID_NOT_FOUND_RETRYABLE,
}
_NOT_FOUND_CODES = {
    APIError.TRANSACTION_ID_NOT_FOUND,
    APIError.ORIGINAL_TRANSACTION_ID_NOT_FOUND,
    APIError.INVALID_TRANSACTION_ID,
}

T = TypeVar("T")


class Rejected(Exception):
    """Apple understood the request and rejected it. The text is Apple's."""

    def __init__(self, status: int, code: int | None, message: str | None) -> None:
        super().__init__(f"{status} {code or ''} {message or ''}".strip())
        self.status = status
        self.code = code

    @property
    def is_final(self) -> bool:
        """Whether a retry is pointless. Not for a 401, which may end when our key is renewed."""
        return self.status in {400, 404}


@dataclass(frozen=True)
class NotificationPage:
    """A page of the notification history, as Apple signed it then."""

    signed_payloads: list[str]
    next_token: str | None


@dataclass(frozen=True)
class Consumption:
    """The used part of a purchase. The customer has consented.

    Apple ("ConsumptionRequest"): no share for a subscription, no share but 0 for what was not
    delivered, and a prorated refund only for a partly used purchase.
    """

    delivery: DeliveryStatus
    used_share: int | None  # in thousandths of a percent
    preference: RefundPreference | None
    sample_provided: bool


@dataclass(frozen=True)
class SignedPeriod:
    """A period of a subscription and its renewal info, both as Apple signed them."""

    transaction: str
    renewal: str


@dataclass(frozen=True)
class TestNotification:
    """A test notification; `results` has Apple's word for each delivery attempt."""

    signed_payload: str
    results: list[str]


def find_transaction(transaction_id: str) -> Transaction | None:
    """Fetch a transaction; None if none of Apple's environments knows it.

    Raises StoreUnavailable, Unreadable with the payload that Apple signed, InvalidTransaction for
    an answer that Apple did not sign.
    """
    unauthorized = []
    for name in settings.APPSTORE_ENVIRONMENTS:
        environment = Environment(name)
        try:
            answer = _call(environment, lambda client: client.get_transaction_info(transaction_id))
        except Rejected as rejection:
            if rejection.status == 401:
                unauthorized.append(environment)
            elif rejection.code not in _NOT_FOUND_CODES:
                logger.exception("appstore_refused_us", status=rejection.status)
                raise StoreUnavailable from rejection
            continue  # not known there
        return _verify(answer.signedTransactionInfo, transaction_id)
    if unauthorized:
        if len(unauthorized) == len(settings.APPSTORE_ENVIRONMENTS):
            logger.error("appstore_key_refused")
        raise StoreUnavailable
    return None


def find_periods(*, environment: Environment, original_transaction_id: str) -> list[SignedPeriod]:
    """Fetch the latest period of each of the customer's subscriptions, not verified yet.

    Raises StoreUnavailable, Rejected.
    """
    answer = _call(
        environment, lambda client: client.get_all_subscription_statuses(original_transaction_id)
    )
    latest = [item for group in answer.data or [] for item in group.lastTransactions or []]
    return [
        SignedPeriod(item.signedTransactionInfo or "", item.signedRenewalInfo or "")
        for item in latest
    ]


def set_account_token(
    *, environment: Environment, original_transaction_id: str, token: UUID
) -> None:
    """Have Apple name another of our users in a purchase. Raises StoreUnavailable, Rejected."""
    body = UpdateAppAccountTokenRequest(appAccountToken=str(token))
    _call(environment, lambda client: client.set_app_account_token(original_transaction_id, body))


def send_consumption(
    *, environment: Environment, transaction_id: str, consumption: Consumption
) -> None:
    """Send a purchase's consumption. Raises StoreUnavailable, Rejected."""
    body = ConsumptionRequest(
        customerConsented=True,
        sampleContentProvided=consumption.sample_provided,
        deliveryStatus=consumption.delivery,
        consumptionPercentage=consumption.used_share,
        refundPreference=consumption.preference,
    )
    _call(environment, lambda client: client.send_consumption_information(transaction_id, body))


def notification_history(
    *,
    environment: Environment,
    from_at: datetime,
    until_at: datetime,
    only_failures: bool,
    token: str,
) -> NotificationPage:
    """Fetch a page of 20 notifications. `token` is from the previous page, empty for the first.

    Raises StoreUnavailable, Rejected.
    """
    asked = NotificationHistoryRequest(
        startDate=_milliseconds(from_at),
        endDate=_milliseconds(until_at),
        onlyFailures=only_failures or None,
    )
    answer = _call(
        environment, lambda client: client.get_notification_history(token or None, asked)
    )
    payloads = [item.signedPayload for item in answer.notificationHistory or []]
    return NotificationPage(
        signed_payloads=[payload for payload in payloads if payload],
        next_token=answer.paginationToken if answer.hasMore else None,
    )


def request_test_notification(environment: Environment) -> str:
    """Have Apple send a test notification to our webhook; return a token for
    find_test_notification.

    Raises StoreUnavailable, Rejected.
    """
    answer = _call(environment, lambda client: client.request_test_notification())
    return answer.testNotificationToken or ""


def find_test_notification(environment: Environment, token: str) -> TestNotification | None:
    """None until Apple has tried to deliver it. Raises StoreUnavailable, Rejected."""
    try:
        answer = _call(environment, lambda client: client.get_test_notification_status(token))
    except Rejected as rejection:
        if rejection.code == APIError.TEST_NOTIFICATION_NOT_FOUND:
            return None
        raise
    results = [attempt.rawSendAttemptResult or "" for attempt in answer.sendAttempts or []]
    return TestNotification(answer.signedPayload or "", results) if results else None


def _call(environment: Environment, call: Callable[[_Client], T]) -> T:
    """Raises StoreUnavailable if Apple does not answer now, Rejected if Apple says no."""
    try:
        return call(_Client(environment))
    except (http.NotSent, http.NoAnswer) as error:
        logger.warning("appstore_unreachable", environment=environment.value, error=str(error))
        raise StoreUnavailable from error
    except APIException as problem:
        status, code = problem.http_status_code, problem.raw_api_error
        logger.info("appstore_refused", environment=environment.value, status=status, code=code)
        if (
            400 <= status < 500
            and status not in _TRANSIENT_STATUSES
            and code not in _RETRYABLE_CODES
        ):
            raise Rejected(status, code, problem.error_message) from problem
        raise StoreUnavailable from problem
    except CattrsError as error:
        logger.exception("appstore_unreadable", environment=environment.value)
        raise StoreUnavailable from error


def _verify(signed: str | None, transaction_id: str) -> Transaction:
    try:
        transaction = verifier.read_transaction(signed or "")
    except verifier.NotGenuine as problem:
        # The answer is not from Apple, or is about another app.
        logger.exception("appstore_answer_not_genuine")
        raise InvalidTransaction from problem
    if transaction.transaction_id != transaction_id:
        logger.error("appstore_answered_another", transaction_id=transaction.transaction_id)
        raise StoreUnavailable
    return transaction


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


@dataclass(frozen=True)
class _Response:
    """The parts of a response that Apple's library reads."""

    answer: http.Response

    @property
    def status_code(self) -> int:
        return self.answer.status

    @property
    def headers(self) -> Any:
        return self.answer.headers

    def json(self) -> Any:
        body = self.answer.json()
        if body is None:
            raise http.NoAnswer("not JSON")
        return body


class _Client(AppStoreServerAPIClient):
    """Apple's client for one environment, with our URLs, timeouts and connections."""

    def __init__(self, environment: Environment) -> None:
        if not settings.APPSTORE_PRIVATE_KEY:
            raise ImproperlyConfigured("APPSTORE_PRIVATE_KEY is not set.")
        super().__init__(
            signing_key=settings.APPSTORE_PRIVATE_KEY.encode(),
            key_id=settings.APPSTORE_KEY_ID,
            issuer_id=settings.APPSTORE_ISSUER_ID,
            bundle_id=settings.APPSTORE_BUNDLE_ID,
            environment=AppleEnvironment(environment.value),
        )
        self._base_url = (
            settings.APPSTORE_URL
            if environment == Environment.PRODUCTION
            else settings.APPSTORE_SANDBOX_URL
        )

    def _execute_request(
        self, method: str, url: str, params: Any, headers: Any, json: Any, data: Any
    ) -> Any:
        return _Response(
            http.request(
                method, url, params=params, headers=headers, json=json, timeout=TIMEOUT_SECONDS
            )
        )
