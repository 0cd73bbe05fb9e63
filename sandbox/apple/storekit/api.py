"""Base class of the App Store Server API's endpoints."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.apple.storekit.errors import ApiError, Code
from sandbox.apple.storekit.payloads import PRODUCTION, Transaction, app_fields
from sandbox.apple.storekit.signing import sign
from sandbox.apple.storekit.state import StoreState
from sandbox.times import now_in_milliseconds

PAGE_SIZE = 20
"""The maximum number of items in a response."""

Handler = Callable[[Request], Awaitable[Response]]


class Api:
    """Endpoints of one of Apple's environments. The environments do not share transactions."""

    def __init__(self, environment: str, state: StoreState) -> None:
        self._environment = environment
        self._authenticator = state.authenticator
        self._store = state.store
        self._notifications = state.notifications
        self._chain = state.chain
        self._app = state.app

    def _route(self, method: str, path: str, response: Handler) -> Route:
        base = "/apple/storekit" if self._environment == PRODUCTION else "/apple/storekit/sandbox"

        async def endpoint(request: Request) -> Response:
            self._authenticator.check(request, self._environment)
            return await response(request)

        return Route(f"{base}/inApps{path}", endpoint, methods=[method])

    def _find(self, transaction_id: str) -> Transaction | None:
        """Find a transaction of this environment and app."""
        if not transaction_id.isdecimal():
            raise ApiError(Code.INVALID_TRANSACTION_ID)
        found = self._store.find(transaction_id)
        return found if found is not None and self._is_visible(found) else None

    def _is_visible(self, transaction: Transaction) -> bool:
        return (
            transaction.environment == self._environment
            and transaction.bundle_id == self._app.bundle_id
        )

    def _get(self, transaction_id: str) -> Transaction:
        found = self._find(transaction_id)
        if found is None:
            raise ApiError(Code.TRANSACTION_ID_NOT_FOUND)
        return found

    def _app_fields(self) -> dict[str, Any]:
        return app_fields(self._app, self._environment, bundle_id=self._app.bundle_id)

    def _signed(self, transaction: Transaction) -> str:
        return sign(transaction.payload(signed_at=now_in_milliseconds()), self._chain)


async def parse_json_object(request: Request) -> dict[str, Any]:
    """Parse the body's JSON object. Raises ApiError."""
    try:
        body = json.loads(await request.body())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ApiError(Code.GENERAL_BAD_REQUEST)
    return body
