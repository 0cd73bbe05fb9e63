"""How a submission can go."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    OK = "ok"
    # Accepted; the result is a failure.
    ERROR = "error"
    CONTENT_POLICY = "content_policy"
    INVALID_INPUT = "invalid_input"
    # Accepted; stopped over there, though nobody asked for it.
    CANCELLED = "cancelled"
    # Accepted; given up over there before it began, as its deadline had passed.
    ABORTED = "aborted"
    # Accepted; runs for ever.
    HANG = "hang"
    # Refused: no job exists.
    SUBMIT_403_BALANCE = "submit_403_balance"
    SUBMIT_500 = "submit_500"
    SUBMIT_503 = "submit_503"
    SUBMIT_429 = "submit_429"
    # No answer: of the first no job exists, of the second one does.
    SUBMIT_TIMEOUT = "submit_timeout"
    SUBMIT_LOST = "submit_lost"
    # The job runs well and its webhook says so; asking for it fails.
    STATUS_500 = "status_500"
    STATUS_UNKNOWN = "status_unknown"
    RESULT_500 = "result_500"
    RESULT_404 = "result_404"
    # The result is good, in a shape that nobody documents.
    RESULT_ODD = "result_odd"
    # The result is good; its file lies elsewhere on the same host, or is none.
    MEDIA_REDIRECT = "media_redirect"
    # It plays, though not on an iPhone: VP9 and Opus in an MP4, HEVC under the tag hev1.
    MEDIA_UNPLAYABLE = "media_unplayable"
    MEDIA_MISTAGGED = "media_mistagged"
    MEDIA_404 = "media_404"
    MEDIA_TRUNCATED = "media_truncated"
    MEDIA_HUGE = "media_huge"
    MEDIA_NOT_VIDEO = "media_not_video"
    # The job runs well; the news of it does not arrive as it should.
    WEBHOOK_LOST = "webhook_lost"
    WEBHOOK_DUPLICATE = "webhook_duplicate"
    WEBHOOK_LATE = "webhook_late"
    WEBHOOK_BAD_SIGNATURE = "webhook_bad_signature"
    WEBHOOK_STALE_TIMESTAMP = "webhook_stale_timestamp"


@dataclass(frozen=True)
class CannedResponse:
    """A status code with its body, as one endpoint sends it and a webhook repeats it."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ok(self) -> bool:
        return 200 <= self.status < 300
