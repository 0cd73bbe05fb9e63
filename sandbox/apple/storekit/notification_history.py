"""The calls about notifications: what was sent and how it went, and one to try the way."""

import base64
import json
from hashlib import sha256
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.apple.storekit.api import PAGE, Api, read_object
from sandbox.apple.storekit.errors import ApiError, Code
from sandbox.apple.storekit.events import TYPES
from sandbox.apple.storekit.notifications import Notification
from sandbox.apple.storekit.payloads import PRODUCTION
from sandbox.times import DAY_MILLISECONDS, is_milliseconds, now_in_milliseconds

LONGEST_AGO = 180 * DAY_MILLISECONDS
# Apple's sandbox forgets sooner. (Apple: Get Notification History)
KEPT_IN_SANDBOX = 30 * DAY_MILLISECONDS


class NotificationHistory(Api):
    def routes(self) -> list[Route]:
        return [
            self._route("POST", "/v1/notifications/history", self.history),
            self._route("POST", "/v1/notifications/test", self.request_test),
            self._route("GET", "/v1/notifications/test/{token}", self.test_status),
        ]

    async def history(self, request: Request) -> Response:
        asked = await read_object(request)
        first = _read_page_token(request.query_params.get("paginationToken"), asked)
        found = self._found(asked, now_in_milliseconds())
        page = found[first : first + PAGE]
        has_more = len(found) > first + PAGE
        answer = {
            "notificationHistory": [one.as_record() for one in page],
            "hasMore": has_more,
        }
        if has_more:
            answer["paginationToken"] = _page_token(first + PAGE, asked)
        return JSONResponse(answer)

    async def request_test(self, _: Request) -> Response:
        """Apple answers first and sends then."""
        if self._notifications.url is None:
            raise ApiError(Code.SERVER_NOTIFICATION_URL_NOT_FOUND)
        test = self._notifications.write_test(self._environment, at=now_in_milliseconds())
        self._notifications.deliver_soon(test)
        return JSONResponse({"testNotificationToken": f"{test.uuid}_{test.signed_at}"})

    async def test_status(self, request: Request) -> Response:
        notification_uuid, _, signed_at = request.path_params["token"].partition("_")
        test = self._notifications.find(notification_uuid)
        if (
            test is None
            or test.environment != self._environment
            or signed_at != str(test.signed_at)
        ):
            raise ApiError(Code.TEST_NOTIFICATION_NOT_FOUND)
        return JSONResponse(test.as_record())

    def _found(self, asked: dict[str, Any], now: int) -> list[Notification]:
        """Those that the caller wants, oldest first. Raises ApiError."""
        start, end = _read_span(asked, now)
        if self._environment != PRODUCTION:
            start = max(start, now - KEPT_IN_SANDBOX)
        notification_type, subtype = asked.get("notificationType"), asked.get("notificationSubtype")
        customer = self._find_customer(asked)
        if notification_type is not None and customer is not None:
            raise ApiError(Code.MULTIPLE_FILTERS_SUPPLIED)
        if notification_type not in (None, *TYPES) or (subtype and not notification_type):
            raise ApiError(Code.INVALID_NOTIFICATION_TYPE)
        only_failures = asked.get("onlyFailures") is True
        found = [
            one
            for one in self._notifications.all()
            if one.environment == self._environment
            and start <= one.signed_at < end
            and notification_type in (None, one.type)
            and subtype in (None, one.subtype)
            and customer in (None, one.app_transaction_id)
            and not (only_failures and one.has_arrived)
        ]
        return sorted(found, key=lambda one: one.signed_at)

    def _find_customer(self, asked: dict[str, Any]) -> str | None:
        transaction_id = asked.get("transactionId")
        return None if transaction_id is None else self._get(str(transaction_id)).app_transaction_id


def _read_span(asked: dict[str, Any], now: int) -> tuple[int, int]:
    """From when until before when. Raises ApiError."""
    start, end = asked.get("startDate"), asked.get("endDate")
    if not is_milliseconds(start):
        raise ApiError(Code.INVALID_START_DATE)
    if not is_milliseconds(end):
        raise ApiError(Code.INVALID_END_DATE)
    if start < now - LONGEST_AGO:
        raise ApiError(Code.START_DATE_TOO_FAR_IN_PAST)
    if start >= end:
        raise ApiError(Code.START_DATE_AFTER_END_DATE)
    return start, end


def _page_token(first: int, asked: dict[str, Any]) -> str:
    """Where the next page begins, for the same question only."""
    return base64.urlsafe_b64encode(f"{first}:{_fingerprint(asked)}".encode()).decode()


def _read_page_token(token: str | None, asked: dict[str, Any]) -> int:
    """Where the page begins. Raises ApiError."""
    if token is None:
        return 0
    try:
        first, _, fingerprint = base64.urlsafe_b64decode(token).decode().partition(":")
    except ValueError:
        raise ApiError(Code.INVALID_PAGINATION_TOKEN) from None
    if fingerprint != _fingerprint(asked) or not first.isdecimal():
        raise ApiError(Code.INVALID_PAGINATION_TOKEN)
    return int(first)


def _fingerprint(asked: dict[str, Any]) -> str:
    return sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
