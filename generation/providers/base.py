"""The provider contract: the methods of every provider adapter, and the result types of each call.

An adapter translates to and from the provider's wire format. It writes no rows and decides nothing
about jobs or money. It never raises for the provider's behaviour. A response that the adapter
cannot read is `Unknown`, and `Unknown` is never a failure.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Any, ClassVar, Literal

import structlog
from django.conf import settings

from generation.errors import (
    ContentRejected,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    StorageUnavailable,
)
from generation.providers.parsing import clean_text, dict_or_empty, parse_json_object
from generation.providers.signatures import verify_hex_hmac
from rendio.common.errors import InternalError, Refusal
from rendio.common.observability import metrics
from rendio.common.outbound import http

logger = structlog.get_logger(__name__)

NOT_SENT_RETRY_SECONDS = 5
# Our API key or balance is the cause, and staff may fix it in the meantime.
ACCOUNT_RETRY_SECONDS = 30
# How much of a provider's response is kept for staff. The text of a response with a result is a few
# kilobytes.
MAX_RAW_CHARS = 20_000

# "weights" are those of a trained model: a file for providers, never for phones.
MediaKind = Literal["video", "image", "weights"]


class FailureReason(Enum):
    """Why a job failed. The values are labels of `rendio_jobs_ended_total`."""

    REJECTED = "rejected"  # the provider rejected this input
    PROVIDER_ERROR = "provider error"  # the provider failed
    UNUSABLE = "unusable"  # the result cannot be downloaded or played
    RESULT_FLAGGED = "objected"  # moderation flagged the result
    RESULT_NOT_MODERATED = "not judged"  # moderation was unavailable until the deadline
    TIMEOUT = "timeout"
    STORAGE_ERROR = "not stored"  # our own storage failed
    WORKER_ERROR = "broken"  # our own workers failed
    CANCELLED = "cancelled"  # cancelled at the provider, at our request
    CANCELLED_BY_PROVIDER = "stopped"  # cancelled at the provider, without our request

    @property
    def refusal(self) -> type[Refusal]:
        """The error of the failed job, as its owner sees it."""
        return {
            FailureReason.REJECTED: ProviderRejected,
            FailureReason.RESULT_FLAGGED: ContentRejected,
            FailureReason.TIMEOUT: ProviderTimeout,
            FailureReason.STORAGE_ERROR: StorageUnavailable,
            FailureReason.WORKER_ERROR: InternalError,
        }.get(self, ProviderUnavailable)


class ProviderState(Enum):
    """The meaning of a provider's own name for a job's state."""

    QUEUED = "waiting"  # in the provider's queue
    RUNNING = "running"
    FINISHED = "ended"  # succeeded, failed or cancelled


@dataclass(frozen=True)
class Handle:
    """How a provider identifies one submission. The URLs are the provider's own and are used
    unchanged, with the key of the submission."""

    request_id: str
    status_url: str
    response_url: str
    cancel_url: str
    key_label: str = ""
    # The provider's response with the result, kept when we could not use the result before.
    raw_result: str = field(default="", compare=False, repr=False)


# --- Results of submit ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Accepted:
    """`cost_usd`, here and below, is the cost that the provider reports. None: not reported."""

    handle: Handle
    queue_position: int | None = None
    cost_usd: Decimal | None = None


@dataclass(frozen=True)
class Rejected:
    """The provider rejected the submission. Nothing runs, and a retry would fail too."""

    reason: FailureReason
    error_type: str
    detail: str


# `error_type` of a RetryLater that applies to the whole key: all submissions of the key wait.
RATE_LIMITED = "rate_limited"


@dataclass(frozen=True)
class RetryLater:
    """Nothing runs, and the input is not the cause. Retry after `retry_after_seconds`."""

    retry_after_seconds: int
    error_type: str
    detail: str


@dataclass(frozen=True)
class Unknown:
    """No response, or a response that the adapter cannot read. After a submit, the job may run.

    `raw`, here and below, is the provider's response. Staff read it when no result comes of it.
    """

    detail: str
    raw: str = field(default="", compare=False, repr=False)


# --- Results of status and result -----------------------------------------------------------------


@dataclass(frozen=True)
class Running:
    """`is_started` is False while the job waits in the provider's queue. `progress` is 0-100, or
    None."""

    is_started: bool
    progress: int | None = None
    queue_position: int | None = None


@dataclass(frozen=True)
class Done:
    """Finished. Only the result says whether the job succeeded."""


@dataclass(frozen=True)
class Media:
    """The file, and the further files of an order of several images.

    `provider_model` is the provider's name of its copy of a trained model. "" if it keeps none.
    """

    url: str
    kind: MediaKind
    cost_usd: Decimal | None = None
    raw: str = field(default="", compare=False, repr=False)
    more_urls: tuple[str, ...] = ()
    provider_model: str = ""


@dataclass(frozen=True)
class Failed:
    reason: FailureReason
    error_type: str
    detail: str
    cost_usd: Decimal | None = None
    raw: str = field(default="", compare=False, repr=False)


class CancelResult(Enum):
    REQUESTED = "asked"  # it may still finish: the result says so
    CANCELLED = "cancelled"  # nothing will be produced
    TOO_LATE = "too late"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class WebhookEvent:
    """The content of a verified webhook. Only a hint: the result is always fetched from the
    provider."""

    request_id: str


# Connect and read timeout in seconds. None: the timeouts of the settings.
Timeout = tuple[float, float]


class Provider(ABC):
    """One provider. `settings.PROVIDERS` has its URL, API keys and media hosts."""

    name: ClassVar[str]

    # Every state that the provider documents, by the provider's name for it.
    states: ClassVar[Mapping[str, ProviderState]]

    # Whether webhooks are signed. If not, only the token in their URL proves the sender.
    signs_webhooks: ClassVar[bool] = True

    # Prefixes of the error types that mean: the provider's own moderation rejected the input.
    content_rejection_prefixes: ClassVar[tuple[str, ...]] = ("content_policy_violation",)

    def __init__(self) -> None:
        # Creates the series at 0, so that the first increment is visible to `increase()`.
        metrics.unknown_provider_states.labels(self.name)

    @property
    def _config(self) -> Any:
        return settings.PROVIDERS[self.name]

    @property
    def key_labels(self) -> list[str]:
        """Labels of the configured API keys. Without a key, nothing can be submitted."""
        labels: list[str] = self._config.keys.labels()
        return labels

    @property
    def media_hosts(self) -> list[str]:
        """Hosts that results may be downloaded from: host names, or `*.domain`."""
        hosts: list[str] = self._config.media_hosts
        return hosts

    def is_content_rejection(self, error_type: str) -> bool:
        """Whether this rejection came from the provider's moderation, not from malformed input."""
        return error_type.startswith(self.content_rejection_prefixes)

    @abstractmethod
    def submit(
        self, *, model_id: str, body: dict[str, Any], webhook_url: str, key_label: str
    ) -> SubmitResult:
        """Submit one job with exactly one request. The request is never repeated once it may have
        been sent."""

    @abstractmethod
    def status(
        self, handle: Handle, *, timeout: Timeout | None = None
    ) -> Running | Done | Unknown: ...

    @abstractmethod
    def result(
        self, handle: Handle, *, kind: MediaKind = "video", timeout: Timeout | None = None
    ) -> Media | Failed | Running | Unknown:
        """Fetch the result. `kind` is the media kind of the route.

        Returns Failed with UNUSABLE and the response in `raw` if the result has no media of that
        kind.
        """

    @abstractmethod
    def parse_result(
        self, payload: Mapping[str, Any], *, kind: MediaKind
    ) -> Media | Failed | Unknown:
        """Read the result from a stored response (`raw`)."""

    def result_in_webhook(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the part of a webhook's body that `parse_result` reads. {} if there is none."""
        return payload

    @abstractmethod
    def cancel(self, handle: Handle, *, timeout: Timeout | None = None) -> CancelResult: ...

    def weights_headers(self, handle: Handle) -> dict[str, str]:
        """Headers for the download of weights, which may hold the API key. By default the file is
        public."""
        return {}

    def delete_model(self, provider_model: str, *, key_label: str) -> bool:
        """Delete the provider's copy of a trained model. False: not deleted yet, to be repeated.

        `provider_model` is that of Media, or the input `destination` of a training that has no
        result. By default a provider keeps no copy besides the file of the result.
        """
        return True

    def _request(
        self,
        method: str,
        url: str,
        key_label: str,
        *,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> http.Response:
        """Send one request with this API key. `options` are those of http.request.

        A GET follows redirects within the provider's own URLs, because the API key is sent along.

        Raises NotSent, NoAnswer.
        """
        headers = {**(headers or {}), **self._auth_headers(self._config.keys.secret(key_label))}
        response = http.request(method, url, headers=headers, **options)
        for _ in range(http.MOST_REDIRECTS if method == "GET" else 0):
            target = self._redirect_target(url, response)
            if not target:
                break
            url = target
            response = http.request("GET", url, headers=headers, **options | {"params": None})
        return response

    def _redirect_target(self, url: str, response: http.Response) -> str:
        """Return the redirect's target, or "" without a redirect to one of the provider's URLs."""
        if not response.redirect:
            return ""
        try:
            target = http.redirected(url, response)
        except http.Refused:
            return ""
        return (
            target if any(target.startswith(f"{base}/") for base in self._allowed_base_urls) else ""
        )

    @property
    def _allowed_base_urls(self) -> list[str]:
        """Base URLs that the API key may be sent to."""
        return [self._config.url]

    @abstractmethod
    def _auth_headers(self, key: str) -> dict[str, str]: ...

    def _post_once(
        self, url: str, key_label: str, **options: Any
    ) -> http.Response | RetryLater | Unknown:
        """POST a submission once. Unknown: no response came, and the request may have arrived."""
        try:
            return self._request("POST", url, key_label, **options)
        except http.NotSent as error:
            return RetryLater(NOT_SENT_RETRY_SECONDS, "not_sent", str(error))
        except http.NoAnswer as error:
            return Unknown(str(error))

    def _get_json(
        self, url: str, key_label: str, *, method: str = "GET", **options: Any
    ) -> dict[str, Any] | Unknown:
        """Return the JSON object of a successful response."""
        try:
            response = self._request(method, url, key_label, **options)
        except (http.NotSent, http.NoAnswer) as error:
            return Unknown(str(error))
        return (
            dict_or_empty(response.json()) if response.ok else Unknown(f"status {response.status}")
        )

    def _parse_state(self, payload: Mapping[str, Any]) -> ProviderState | Unknown:
        """Parse the `status` field. An undocumented state is logged and counted at once, because it
        may be a final state that we do not know."""
        status = payload.get("status")
        if isinstance(status, str) and status in self.states:
            return self.states[status]
        word = clean_text(status, max_length=40)
        logger.warning("unknown_provider_state", provider=self.name, state=word)
        metrics.unknown_provider_states.labels(self.name).inc()
        return Unknown(f"status {word!r}")

    @abstractmethod
    def build_handle(self, *, model_id: str, request_id: str, key_label: str) -> Handle:
        """Build the handle of a submission whose response was lost, from the id in its webhook."""

    def verify_webhook(self, *, headers: Mapping[str, str], body: bytes) -> WebhookEvent:
        """Verify the hex HMAC-SHA256 of the body, and read the event. Providers with their own
        scheme override this. Without `signs_webhooks` nothing is verified.

        Raises BadSignature; NotSent or NoAnswer if the public keys cannot be fetched.
        """
        if self.signs_webhooks:
            verify_hex_hmac(
                headers.get("X-Webhook-Signature", ""), body, secrets=self._config.webhook_secrets
            )
        payload = parse_json_object(body)
        return WebhookEvent(
            clean_text(payload.get("request_id") or payload.get("id"), max_length=100)
        )


SubmitResult = Accepted | Rejected | RetryLater | Unknown
NOT_FOUND = Unknown("status 404")
