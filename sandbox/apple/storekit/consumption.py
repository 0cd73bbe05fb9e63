"""The consumption endpoint: an app's statement on a purchase whose refund was requested."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.apple.storekit.api import Api, parse_json_object
from sandbox.apple.storekit.errors import ApiError, Code
from sandbox.apple.storekit.payloads import (
    FAMILY_SHARED,
    FULL_PERCENTAGE,
    SUBSCRIPTION,
    Transaction,
)

DELIVERED = "DELIVERED"
DELIVERY_STATUSES = (
    DELIVERED,
    "UNDELIVERED_QUALITY_ISSUE",
    "UNDELIVERED_WRONG_ITEM",
    "UNDELIVERED_SERVER_OUTAGE",
    "UNDELIVERED_OTHER",
)
GRANT_PRORATED = "GRANT_PRORATED"
REFUND_PREFERENCES = ("DECLINE", "GRANT_FULL", GRANT_PRORATED)


class Consumption(Api):
    def routes(self) -> list[Route]:
        return [
            self._route("PUT", "/v2/transactions/consumption/{transaction_id}", self.receive),
        ]

    async def receive(self, request: Request) -> Response:
        transaction = self._get(request.path_params["transaction_id"])
        consumption = await parse_json_object(request)
        _validate(consumption, transaction)
        self._store.consumption_calls.append(
            {
                "transaction_id": transaction.transaction_id,
                "environment": self._environment,
                "told": consumption,
                "at": datetime.now(UTC).isoformat(),
            }
        )
        return Response(status_code=202)


def _validate(consumption: Mapping[str, Any], transaction: Transaction) -> None:
    """Validate the statement (Apple: ConsumptionRequest). Raises ApiError.

    Apple's library has no codes for the last errors, so they have the code of a general bad
    request.
    """
    if transaction.in_app_ownership_type == FAMILY_SHARED:
        raise ApiError(Code.FAMILY_TRANSACTION_NOT_SUPPORTED_ERROR)
    if consumption.get("customerConsented") is not True:
        raise ApiError(Code.INVALID_CUSTOMER_CONSENTED)
    if not isinstance(consumption.get("sampleContentProvided"), bool):
        raise ApiError(Code.INVALID_SAMPLE_CONTENT_PROVIDED)
    if consumption.get("deliveryStatus") not in DELIVERY_STATUSES:
        raise ApiError(Code.INVALID_DELIVERY_STATUS)
    preference = consumption.get("refundPreference")
    if preference not in (None, *REFUND_PREFERENCES):
        raise ApiError(Code.GENERAL_BAD_REQUEST, "refundPreference is none of Apple's.")
    _validate_percentage(consumption, is_subscription=transaction.type == SUBSCRIPTION)


def _validate_percentage(consumption: Mapping[str, Any], *, is_subscription: bool) -> None:
    percentage = consumption.get("consumptionPercentage")
    is_prorated = consumption.get("refundPreference") == GRANT_PRORATED
    if is_subscription:
        if percentage is not None:
            raise _percentage_error("is not for a subscription")
        return
    if percentage is not None and (
        type(percentage) is not int or not 0 <= percentage <= FULL_PERCENTAGE
    ):
        raise _percentage_error(f"is not from 0 to {FULL_PERCENTAGE}")
    if percentage and consumption["deliveryStatus"] != DELIVERED:
        raise _percentage_error("must be 0 of what was not delivered")
    if is_prorated and not (percentage and percentage < FULL_PERCENTAGE):
        raise _percentage_error(f"must lie between 0 and {FULL_PERCENTAGE} for {GRANT_PRORATED}")


def _percentage_error(problem: str) -> ApiError:
    return ApiError(Code.GENERAL_BAD_REQUEST, f"consumptionPercentage {problem}.")
