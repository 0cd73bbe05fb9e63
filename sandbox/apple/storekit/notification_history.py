"""Endpoints for the notification history and test notifications."""

import base64
import json
from hashlib import sha256
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.apple.storekit.api import PAGE_SIZE, Api, parse_json_object
from sandbox.apple.storekit.errors import ApiError, Code
from sandbox.apple.storekit.events import TYPES
from sandbox.apple.storekit.notifications import Notification
from sandbox.apple.storekit.payloads import PRODUCTION
from sandbox.times import DAY_MILLISECONDS, is_milliseconds, now_in_milliseconds

MAX_AGE_MILLISECONDS = 180 * DAY_MILLISECONDS
# Apple's sandbox keeps notifications for a shorter time. (Apple: Get Notification History)
SANDBOX_RETENTION_MILLISECONDS = 30 * DAY_MILLISECONDS


class NotificationHistory(Api):
    def routes(self) -> list[Route]:
        return [
            self._route("POST", "/v1/notifications/history", self.history),
            self._route("POST", "/v1/notifications/test", self.request_test),
            self._route("GET", "/v1/notifications/test/{token}", self.test_status),
        ]

    async def history(self, request: Request) -> Response:
        body = await parse_json_object(request)
        first = _parse_page_token(request.query_params.get("paginationToken"), body)
        found = self._find_matching(body, now_in_milliseconds())
        page = found[first : first + PAGE_SIZE]
        has_more = len(found) > first + PAGE_SIZE
        response = {
            "notificationHistory": [notification.as_json() for notification in page],
            "hasMore": has_more,
        }
        if has_more:
            response["paginationToken"] = _encode_page_token(first + PAGE_SIZE, body)
        return JSONResponse(response)

    async def request_test(self, _: Request) -> Response:
        """Request a test notification. Apple responds before it sends the notification."""
        if self._notifications.url is None:
            raise ApiError(Code.SERVER_NOTIFICATION_URL_NOT_FOUND)
        test = self._notifications.create_test(self._environment, at=now_in_milliseconds())
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
        return JSONResponse(test.as_json())

    def _find_matching(self, body: dict[str, Any], now: int) -> list[Notification]:
        """Return the matching notifications, oldest first. Raises ApiError."""
        start, end = _parse_period(body, now)
        if self._environment != PRODUCTION:
            start = max(start, now - SANDBOX_RETENTION_MILLISECONDS)
        notification_type, subtype = body.get("notificationType"), body.get("notificationSubtype")
        customer = self._find_customer(body)
        if notification_type is not None and customer is not None:
            raise ApiError(Code.MULTIPLE_FILTERS_SUPPLIED)
        if notification_type not in (None, *TYPES) or (subtype and not notification_type):
            raise ApiError(Code.INVALID_NOTIFICATION_TYPE)
        only_failures = body.get("onlyFailures") is True
        found = [
            notification
            for notification in self._notifications.all()
            if notification.environment == self._environment
            and start <= notification.signed_at < end
            and notification_type in (None, notification.type)
            and subtype in (None, notification.subtype)
            and customer in (None, notification.app_transaction_id)
            and not (only_failures and notification.is_delivered)
        ]
        return sorted(found, key=lambda notification: notification.signed_at)

    def _find_customer(self, body: dict[str, Any]) -> str | None:
        transaction_id = body.get("transactionId")
        return None if transaction_id is None else self._get(str(transaction_id)).app_transaction_id


def _parse_period(body: dict[str, Any], now: int) -> tuple[int, int]:
    """Return the start and exclusive end of the query. Raises ApiError."""
    start, end = body.get("startDate"), body.get("endDate")
    if not is_milliseconds(start):
        raise ApiError(Code.INVALID_START_DATE)
    if not is_milliseconds(end):
        raise ApiError(Code.INVALID_END_DATE)
    if start < now - MAX_AGE_MILLISECONDS:
        raise ApiError(Code.START_DATE_TOO_FAR_IN_PAST)
    if start >= end:
        raise ApiError(Code.START_DATE_AFTER_END_DATE)
    return start, end


def _encode_page_token(first: int, body: dict[str, Any]) -> str:
    """Encode the offset of the next page. Valid for the same query only."""
    return base64.urlsafe_b64encode(f"{first}:{_fingerprint(body)}".encode()).decode()


def _parse_page_token(token: str | None, body: dict[str, Any]) -> int:
    """Return the offset of the page. Raises ApiError."""
    if token is None:
        return 0
    try:
        first, _, fingerprint = base64.urlsafe_b64decode(token).decode().partition(":")
    except ValueError:
        raise ApiError(Code.INVALID_PAGINATION_TOKEN) from None
    if fingerprint != _fingerprint(body) or not first.isdecimal():
        raise ApiError(Code.INVALID_PAGINATION_TOKEN)
    return int(first)


def _fingerprint(body: dict[str, Any]) -> str:
    return sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
