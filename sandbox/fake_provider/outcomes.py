"""The outcomes that a submission can be scripted to have."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    OK = "ok"
    # Accepted; the result is an error.
    ERROR = "error"
    CONTENT_POLICY = "content_policy"
    INVALID_INPUT = "invalid_input"
    # Accepted; cancelled by the provider without a request to cancel.
    CANCELLED = "cancelled"
    # Accepted; aborted before the start, because the provider's deadline passed.
    ABORTED = "aborted"
    # Accepted; never finishes.
    HANG = "hang"
    # Rejected: no job exists.
    SUBMIT_403_BALANCE = "submit_403_balance"
    SUBMIT_500 = "submit_500"
    SUBMIT_503 = "submit_503"
    SUBMIT_429 = "submit_429"
    # No response. SUBMIT_TIMEOUT creates no job, SUBMIT_LOST creates one.
    SUBMIT_TIMEOUT = "submit_timeout"
    SUBMIT_LOST = "submit_lost"
    # Accepted, and answered only after Modal's limit: 303 to an address with the answer.
    SUBMIT_REDIRECT = "submit_redirect"
    # The job succeeds and its webhook says so, but reading the status or result fails.
    STATUS_500 = "status_500"
    STATUS_UNKNOWN = "status_unknown"
    RESULT_500 = "result_500"
    RESULT_404 = "result_404"
    # As RESULT_500 for three minutes, then well.
    RESULT_LATE = "result_late"
    # The job succeeds, but the result has an undocumented shape.
    RESULT_ODD = "result_odd"
    # The job succeeds with one image fewer than ordered.
    IMAGES_MISSING = "images_missing"
    # The safety checker blackens the first image.
    IMAGES_FLAGGED = "images_flagged"
    # The archive of trained weights holds none.
    WEIGHTS_MISSING = "weights_missing"
    # The first of several files is missing at the media host.
    FIRST_MEDIA_404 = "first_media_404"
    # The job succeeds, but the file is a redirect or unusable.
    MEDIA_REDIRECT = "media_redirect"
    # Plays, but not on iPhones: VP9 and Opus in an MP4, HEVC with the tag hev1.
    MEDIA_UNPLAYABLE = "media_unplayable"
    MEDIA_MISTAGGED = "media_mistagged"
    MEDIA_404 = "media_404"
    MEDIA_TRUNCATED = "media_truncated"
    MEDIA_HUGE = "media_huge"
    MEDIA_NOT_VIDEO = "media_not_video"
    # The job succeeds, but its webhook is not delivered correctly.
    WEBHOOK_LOST = "webhook_lost"
    WEBHOOK_DUPLICATE = "webhook_duplicate"
    WEBHOOK_LATE = "webhook_late"
    WEBHOOK_BAD_SIGNATURE = "webhook_bad_signature"
    WEBHOOK_STALE_TIMESTAMP = "webhook_stale_timestamp"


@dataclass(frozen=True)
class CannedResponse:
    """Status code, body and headers, as an endpoint returns them and a webhook repeats them."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ok(self) -> bool:
        return 200 <= self.status < 300
