"""What an app tells of a purchase whose refund a customer asks for, and what of that is refused."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.apple.storekit.api import Api, read_object
from sandbox.apple.storekit.errors import ApiError, Code
from sandbox.apple.storekit.payloads import FAMILY_SHARED, SUBSCRIPTION, WHOLE, Transaction

DELIVERED = "DELIVERED"
DELIVERY_STATUSES = (
    DELIVERED,
    "UNDELIVERED_QUALITY_ISSUE",
    "UNDELIVERED_WRONG_ITEM",
    "UNDELIVERED_SERVER_OUTAGE",
    "UNDELIVERED_OTHER",
)
PRORATED = "GRANT_PRORATED"
REFUND_PREFERENCES = ("DECLINE", "GRANT_FULL", PRORATED)


class Consumption(Api):
    def routes(self) -> list[Route]:
        return [
            self._route("PUT", "/v2/transactions/consumption/{transaction_id}", self.take),
        ]

    async def take(self, request: Request) -> Response:
        transaction = self._get(request.path_params["transaction_id"])
        told = await read_object(request)
        _check(told, transaction)
        self._store.consumption.append(
            {
                "transaction_id": transaction.transaction_id,
                "environment": self._environment,
                "told": told,
                "at": datetime.now(UTC).isoformat(),
            }
        )
        return Response(status_code=202)


def _check(told: Mapping[str, Any], transaction: Transaction) -> None:
    """Raises ApiError. (Apple: ConsumptionRequest)

    The library does not know the numbers of the last refusals: they have that of any bad request.
    """
    if transaction.in_app_ownership_type == FAMILY_SHARED:
        raise ApiError(Code.FAMILY_TRANSACTION_NOT_SUPPORTED_ERROR)
    if told.get("customerConsented") is not True:
        raise ApiError(Code.INVALID_CUSTOMER_CONSENTED)
    if not isinstance(told.get("sampleContentProvided"), bool):
        raise ApiError(Code.INVALID_SAMPLE_CONTENT_PROVIDED)
    if told.get("deliveryStatus") not in DELIVERY_STATUSES:
        raise ApiError(Code.INVALID_DELIVERY_STATUS)
    preference = told.get("refundPreference")
    if preference not in (None, *REFUND_PREFERENCES):
        raise ApiError(Code.GENERAL_BAD_REQUEST, "refundPreference is none of Apple's.")
    _check_percentage(told, is_subscription=transaction.type == SUBSCRIPTION)


def _check_percentage(told: Mapping[str, Any], *, is_subscription: bool) -> None:
    percentage = told.get("consumptionPercentage")
    is_prorated = told.get("refundPreference") == PRORATED
    if is_subscription:
        if percentage is not None:
            raise _bad_percentage("is not for a subscription")
        return
    if percentage is not None and (type(percentage) is not int or not 0 <= percentage <= WHOLE):
        raise _bad_percentage(f"is not from 0 to {WHOLE}")
    if percentage and told["deliveryStatus"] != DELIVERED:
        raise _bad_percentage("must be 0 of what was not delivered")
    if is_prorated and not (percentage and percentage < WHOLE):
        raise _bad_percentage(f"must lie between 0 and {WHOLE} for {PRORATED}")


def _bad_percentage(problem: str) -> ApiError:
    return ApiError(Code.GENERAL_BAD_REQUEST, f"consumptionPercentage {problem}.")
