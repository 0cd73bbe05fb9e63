"""Endpoints for a customer's history, refunds and subscriptions.

A customer is identified by any of their transactions, or by their app transaction id.
"""

from collections.abc import Callable, Collection
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.apple.storekit.api import PAGE_SIZE, Api
from sandbox.apple.storekit.errors import ApiError, Code
from sandbox.apple.storekit.payloads import OWNERSHIPS, PRODUCT_TYPES, Transaction
from sandbox.apple.storekit.signing import sign
from sandbox.apple.storekit.store import STATUSES, Subscription
from sandbox.times import is_milliseconds, now_in_milliseconds

# Product types of a query, mapped to those of a transaction.
PRODUCT_TYPE_FILTERS = dict(
    zip(
        ("CONSUMABLE", "NON_CONSUMABLE", "AUTO_RENEWABLE", "NON_RENEWABLE"),
        PRODUCT_TYPES,
        strict=True,
    )
)
ASCENDING, DESCENDING = SORTS = ("ASCENDING", "DESCENDING")
# Apple's Python library sends Python's spelling.
FLAGS = {"true": True, "false": False, "True": True, "False": False}


class HistoryApi(Api):
    def routes(self) -> list[Route]:
        return [
            self._route("GET", "/v2/history/{transaction_id}", self.history),
            self._route("GET", "/v2/refund/lookup/{transaction_id}", self.refunds),
            self._route("GET", "/v1/subscriptions/{transaction_id}", self.subscriptions),
        ]

    async def history(self, request: Request) -> Response:
        query = request.query_params
        matches = _parse_filter(query)
        is_descending = _parse_choice(query, "sort", SORTS, Code.INVALID_SORT) == DESCENDING
        found = [
            transaction
            for transaction in self._customer_transactions(request)
            if matches(transaction)
        ]
        page = self._page(found, query, is_descending=is_descending)
        return JSONResponse(self._app_fields() | page)

    async def refunds(self, request: Request) -> Response:
        transactions = self._customer_transactions(request)
        refunded = [
            transaction for transaction in transactions if transaction.revocation_date is not None
        ]
        return JSONResponse(self._page(refunded, request.query_params, is_descending=False))

    async def subscriptions(self, request: Request) -> Response:
        statuses = _parse_statuses(request.query_params)
        now = now_in_milliseconds()
        groups: dict[str | None, list[dict[str, Any]]] = {}
        for transaction in self._customer_transactions(request):
            subscription = self._store.find_subscription(transaction)
            if (
                subscription is not None
                and subscription.latest is transaction
                and subscription.status(now) in statuses
            ):
                group = groups.setdefault(transaction.subscription_group_identifier, [])
                group.append(self._as_json(subscription, now))
        data = [
            {"subscriptionGroupIdentifier": name, "lastTransactions": latest}
            for name, latest in groups.items()
        ]
        return JSONResponse(self._app_fields() | {"data": data})

    def _customer_transactions(self, request: Request) -> list[Transaction]:
        """Return the customer's transactions, last changed last. Raises ApiError if there are
        none.
        """
        transaction_id = request.path_params["transaction_id"]
        transaction = self._find(transaction_id)
        customer = transaction.app_transaction_id if transaction else transaction_id
        found = [
            transaction
            for transaction in self._store.transactions_of_customer(customer)
            if self._is_visible(transaction)
        ]
        if not found:
            raise ApiError(Code.TRANSACTION_ID_NOT_FOUND)
        return found

    def _page(
        self, found: list[Transaction], query: QueryParams, *, is_descending: bool
    ) -> dict[str, Any]:
        """Return a page of transactions after the revision, the last change that the caller has
        seen."""
        revision = query.get("revision")
        if revision is not None and not revision.isdecimal():
            raise ApiError(Code.INVALID_REQUEST_REVISION)
        if is_descending:
            found = [
                transaction
                for transaction in reversed(found)
                if not revision or transaction.change < int(revision)
            ]
        else:
            found = [
                transaction
                for transaction in found
                if not revision or transaction.change > int(revision)
            ]
        page = found[:PAGE_SIZE]
        return {
            "signedTransactions": [self._signed(transaction) for transaction in page],
            "revision": str(page[-1].change) if page else revision or "0",
            "hasMore": len(found) > PAGE_SIZE,
        }

    def _as_json(self, subscription: Subscription, now: int) -> dict[str, Any]:
        return {
            "status": subscription.status(now),
            "originalTransactionId": subscription.latest.original_transaction_id,
            "signedTransactionInfo": self._signed(subscription.latest),
            "signedRenewalInfo": sign(subscription.renewal.payload(signed_at=now), self._chain),
        }


def _parse_filter(query: QueryParams) -> Callable[[Transaction], bool]:
    """Return a function that says whether a transaction matches the query. Raises ApiError."""
    start = _parse_date(query, "startDate", Code.INVALID_START_DATE)
    end = _parse_date(query, "endDate", Code.INVALID_END_DATE)
    if start is not None and end is not None and start >= end:
        raise ApiError(Code.START_DATE_AFTER_END_DATE)
    types = query.getlist("productType")
    if not set(types) <= set(PRODUCT_TYPE_FILTERS):
        raise ApiError(Code.INVALID_PRODUCT_TYPE)
    ownership = _parse_choice(
        query, "inAppOwnershipType", OWNERSHIPS, Code.INVALID_IN_APP_OWNERSHIP_TYPE
    )
    revoked = _parse_choice(query, "revoked", FLAGS, Code.INVALID_REVOKED)
    products = query.getlist("productId")
    groups = query.getlist("subscriptionGroupIdentifier")

    def matches(transaction: Transaction) -> bool:
        return (
            (start is None or transaction.purchase_date >= start)
            and (end is None or transaction.purchase_date < end)
            and (not types or transaction.type in [PRODUCT_TYPE_FILTERS[name] for name in types])
            and ownership in (None, transaction.in_app_ownership_type)
            and (revoked is None or FLAGS[revoked] == (transaction.revocation_date is not None))
            and (not products or transaction.product_id in products)
            and (not groups or transaction.subscription_group_identifier in groups)
        )

    return matches


def _parse_statuses(query: QueryParams) -> Collection[int]:
    values = query.getlist("status")
    if not set(values) <= {str(status) for status in STATUSES}:
        raise ApiError(Code.INVALID_STATUS)
    return [int(status) for status in values] or STATUSES


def _parse_date(query: QueryParams, name: str, code: Code) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    date = int(text) if text.isdecimal() else None
    if not is_milliseconds(date):
        raise ApiError(code)
    return date


def _parse_choice(
    query: QueryParams, name: str, choices: Collection[str], code: Code
) -> str | None:
    choice = query.get(name)
    if choice is not None and choice not in choices:
        raise ApiError(code)
    return choice
