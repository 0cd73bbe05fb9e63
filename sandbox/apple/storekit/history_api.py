"""The calls about all that one customer bought: history, refunds and subscriptions.

A customer is named by any transaction of theirs, or by their download of the app.
"""

from collections.abc import Callable, Collection
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.apple.storekit.api import PAGE, Api
from sandbox.apple.storekit.errors import ApiError, Code
from sandbox.apple.storekit.payloads import OWNERSHIPS, PRODUCT_TYPES, Transaction
from sandbox.apple.storekit.signing import sign
from sandbox.apple.storekit.store import STATUSES, Subscription
from sandbox.times import is_milliseconds, now_in_milliseconds

# As a query asks for them; a transaction has other names for the same.
PRODUCT_TYPES_ASKED = dict(
    zip(
        ("CONSUMABLE", "NON_CONSUMABLE", "AUTO_RENEWABLE", "NON_RENEWABLE"),
        PRODUCT_TYPES,
        strict=True,
    )
)
ASCENDING, DESCENDING = SORTS = ("ASCENDING", "DESCENDING")
# Apple's Python library writes them as Python does.
FLAGS = {"true": True, "false": False, "True": True, "False": False}


class Histories(Api):
    def routes(self) -> list[Route]:
        return [
            self._route("GET", "/v2/history/{transaction_id}", self.history),
            self._route("GET", "/v2/refund/lookup/{transaction_id}", self.refunds),
            self._route("GET", "/v1/subscriptions/{transaction_id}", self.subscriptions),
        ]

    async def history(self, request: Request) -> Response:
        query = request.query_params
        is_wanted = _filter(query)
        is_descending = _find_choice(query, "sort", SORTS, Code.INVALID_SORT) == DESCENDING
        found = [one for one in self._bought_by_customer(request) if is_wanted(one)]
        page = self._page(found, query, is_descending=is_descending)
        return JSONResponse(self._about_app() | page)

    async def refunds(self, request: Request) -> Response:
        bought = self._bought_by_customer(request)
        refunded = [one for one in bought if one.revocation_date is not None]
        return JSONResponse(self._page(refunded, request.query_params, is_descending=False))

    async def subscriptions(self, request: Request) -> Response:
        statuses = _statuses(request.query_params)
        now = now_in_milliseconds()
        groups: dict[str | None, list[dict[str, Any]]] = {}
        for bought in self._bought_by_customer(request):
            subscription = self._store.find_subscription(bought)
            if (
                subscription is not None
                and subscription.latest is bought
                and subscription.status(now) in statuses
            ):
                group = groups.setdefault(bought.subscription_group_identifier, [])
                group.append(self._as_json(subscription, now))
        data = [
            {"subscriptionGroupIdentifier": name, "lastTransactions": latest}
            for name, latest in groups.items()
        ]
        return JSONResponse(self._about_app() | {"data": data})

    def _bought_by_customer(self, request: Request) -> list[Transaction]:
        """Known here, those last that were changed last. Raises ApiError where there is none."""
        named = request.path_params["transaction_id"]
        transaction = self._find(named)
        customer = transaction.app_transaction_id if transaction else named
        found = [one for one in self._store.all_of_customer(customer) if self._is_known(one)]
        if not found:
            raise ApiError(Code.TRANSACTION_ID_NOT_FOUND)
        return found

    def _page(
        self, found: list[Transaction], query: QueryParams, *, is_descending: bool
    ) -> dict[str, Any]:
        """Those after the revision, which is the change up to which the caller has seen them."""
        revision = query.get("revision")
        if revision is not None and not revision.isdecimal():
            raise ApiError(Code.INVALID_REQUEST_REVISION)
        if is_descending:
            found = [one for one in reversed(found) if not revision or one.change < int(revision)]
        else:
            found = [one for one in found if not revision or one.change > int(revision)]
        page = found[:PAGE]
        return {
            "signedTransactions": [self._signed(one) for one in page],
            "revision": str(page[-1].change) if page else revision or "0",
            "hasMore": len(found) > PAGE,
        }

    def _as_json(self, subscription: Subscription, now: int) -> dict[str, Any]:
        return {
            "status": subscription.status(now),
            "originalTransactionId": subscription.latest.original_transaction_id,
            "signedTransactionInfo": self._signed(subscription.latest),
            "signedRenewalInfo": sign(subscription.renewal.payload(signed_at=now), self._chain),
        }


def _filter(query: QueryParams) -> Callable[[Transaction], bool]:
    """Whether the caller wants a transaction. Raises ApiError."""
    start = _find_date(query, "startDate", Code.INVALID_START_DATE)
    end = _find_date(query, "endDate", Code.INVALID_END_DATE)
    if start is not None and end is not None and start >= end:
        raise ApiError(Code.START_DATE_AFTER_END_DATE)
    types = query.getlist("productType")
    if not set(types) <= set(PRODUCT_TYPES_ASKED):
        raise ApiError(Code.INVALID_PRODUCT_TYPE)
    ownership = _find_choice(
        query, "inAppOwnershipType", OWNERSHIPS, Code.INVALID_IN_APP_OWNERSHIP_TYPE
    )
    revoked = _find_choice(query, "revoked", FLAGS, Code.INVALID_REVOKED)
    products = query.getlist("productId")
    groups = query.getlist("subscriptionGroupIdentifier")

    def is_wanted(one: Transaction) -> bool:
        return (
            (start is None or one.purchase_date >= start)
            and (end is None or one.purchase_date < end)
            and (not types or one.type in [PRODUCT_TYPES_ASKED[name] for name in types])
            and ownership in (None, one.in_app_ownership_type)
            and (revoked is None or FLAGS[revoked] == (one.revocation_date is not None))
            and (not products or one.product_id in products)
            and (not groups or one.subscription_group_identifier in groups)
        )

    return is_wanted


def _statuses(query: QueryParams) -> Collection[int]:
    given = query.getlist("status")
    if not set(given) <= {str(status) for status in STATUSES}:
        raise ApiError(Code.INVALID_STATUS)
    return [int(status) for status in given] or STATUSES


def _find_date(query: QueryParams, name: str, refusal: Code) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    date = int(text) if text.isdecimal() else None
    if not is_milliseconds(date):
        raise ApiError(refusal)
    return date


def _find_choice(
    query: QueryParams, name: str, choices: Collection[str], refusal: Code
) -> str | None:
    choice = query.get(name)
    if choice is not None and choice not in choices:
        raise ApiError(refusal)
    return choice
