"""Errors of the App Store Server API. The first three digits of a code are the status."""

from enum import IntEnum

from starlette.requests import Request
from starlette.responses import JSONResponse

from sandbox.times import now_in_milliseconds

RATE_LIMIT_MILLISECONDS = 60_000


class Code(IntEnum):
    """The codes that are used here, by the names of Apple's library."""

    GENERAL_BAD_REQUEST = 4000000
    INVALID_REQUEST_REVISION = 4000005
    INVALID_TRANSACTION_ID = 4000006
    START_DATE_TOO_FAR_IN_PAST = 4000012
    START_DATE_AFTER_END_DATE = 4000013
    INVALID_PAGINATION_TOKEN = 4000014
    INVALID_START_DATE = 4000015
    INVALID_END_DATE = 4000016
    INVALID_NOTIFICATION_TYPE = 4000018
    MULTIPLE_FILTERS_SUPPLIED = 4000019
    INVALID_SORT = 4000021
    INVALID_PRODUCT_TYPE = 4000022
    INVALID_IN_APP_OWNERSHIP_TYPE = 4000026
    INVALID_REVOKED = 4000030
    INVALID_STATUS = 4000031
    INVALID_CUSTOMER_CONSENTED = 4000035
    INVALID_DELIVERY_STATUS = 4000036
    INVALID_SAMPLE_CONTENT_PROVIDED = 4000041
    INVALID_APP_ACCOUNT_TOKEN_UUID_ERROR = 4000183
    FAMILY_TRANSACTION_NOT_SUPPORTED_ERROR = 4000185
    TRANSACTION_ID_IS_NOT_ORIGINAL_TRANSACTION_ID_ERROR = 4000187
    ORIGINAL_TRANSACTION_ID_NOT_FOUND = 4040005
    SERVER_NOTIFICATION_URL_NOT_FOUND = 4040007
    TEST_NOTIFICATION_NOT_FOUND = 4040008
    TRANSACTION_ID_NOT_FOUND = 4040010
    RATE_LIMIT_EXCEEDED = 4290000


class ApiError(Exception):
    def __init__(self, code: int, message: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.message = message or _default_message(code)


async def handle_api_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)  # noqa: S101 (registered for nothing else)
    headers = {}
    if error.code == Code.RATE_LIMIT_EXCEEDED:
        # A time in milliseconds, not a number of seconds. (Apple: Identifying rate limits)
        headers["Retry-After"] = str(now_in_milliseconds() + RATE_LIMIT_MILLISECONDS)
    return JSONResponse(
        {"errorCode": error.code, "errorMessage": error.message},
        status_code=error.code // 10_000,
        headers=headers,
    )


def _default_message(code: int) -> str:
    names = {int(known): known.name for known in Code}
    return names.get(code, "An error that a control asked for")
