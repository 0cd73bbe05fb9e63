"""What every provider of generated media must be able to do, and the answers it may give.

An adapter speaks the provider's wire form and nothing else: it writes no rows and decides nothing
about jobs or money. It never raises for what the outside does; what it cannot read is Unknown, and
Unknown is never a failure.
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
# Our own key or balance is at fault: it can be mended meanwhile.
ACCOUNT_RETRY_SECONDS = 30
# Of what a provider said, so much is kept for a person. The text of an answer with a result is a
# few kilobytes.
MAX_RAW_CHARS = 20_000

MediaKind = Literal["video", "image"]


class FailureReason(Enum):
    """Why a job will not be made."""

    REJECTED = "rejected"  # the provider refused this input
    PROVIDER_ERROR = "provider error"  # it broke over there
    UNUSABLE = "unusable"  # what was made cannot be had, or cannot be played
    RESULT_FLAGGED = "objected"  # moderation refused what was made
    RESULT_NOT_MODERATED = "not judged"  # moderation was out of reach for as long as we could wait
    TIMEOUT = "timeout"
    STORAGE_ERROR = "not stored"  # our own storage failed
    WORKER_ERROR = "broken"  # our own workers failed on it
    CANCELLED = "cancelled"  # stopped over there, as we had asked
    CANCELLED_BY_PROVIDER = "stopped"  # stopped over there, and we had not asked

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
    """What a provider's own word for a job's state means."""

    QUEUED = "waiting"  # in its queue
    RUNNING = "running"
    FINISHED = "ended"  # well or not


@dataclass(frozen=True)
class Handle:
    """How a provider knows one submission of ours. URLs are the provider's own, followed as
    given, with the key that it was submitted with."""

    request_id: str
    status_url: str
    response_url: str
    cancel_url: str
    key_label: str = ""
    # What the provider said of the result, where we could do nothing with that before.
    raw_result: str = field(default="", compare=False, repr=False)


# --- Answers to submit ------------------------------------------------------------------------


@dataclass(frozen=True)
class Accepted:
    """`cost_usd` here and below is what the provider says it takes; None where it does not say."""

    handle: Handle
    queue_position: int | None = None
    cost_usd: Decimal | None = None


@dataclass(frozen=True)
class Rejected:
    """The provider refused this input; nothing runs, and asking again would not help."""

    reason: FailureReason
    error_type: str
    detail: str


# The error type of a RetryLater that asks us not to come before: all submissions of that key wait.
RATE_LIMITED = "rate_limited"


@dataclass(frozen=True)
class RetryLater:
    """Nothing runs, and it is not the input's fault: ask again after some seconds."""

    retry_after_seconds: int
    error_type: str
    detail: str


@dataclass(frozen=True)
class Unknown:
    """No answer that we can read. After a submit: it may run.

    `raw` here and below is what the provider said, for a person to read where nothing comes of it.
    """

    detail: str
    raw: str = field(default="", compare=False, repr=False)


# --- Answers to a look at the status, and to fetching the result ---------------------------------


@dataclass(frozen=True)
class Running:
    """`began` is False while it waits in the provider's queue; `progress` is 0-100 or None."""

    is_started: bool
    progress: int | None = None
    queue_position: int | None = None


@dataclass(frozen=True)
class Done:
    """Finished, well or not: fetching the result tells."""


@dataclass(frozen=True)
class Media:
    url: str
    kind: MediaKind
    cost_usd: Decimal | None = None
    raw: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True)
class Failed:
    reason: FailureReason
    error_type: str
    detail: str
    cost_usd: Decimal | None = None
    raw: str = field(default="", compare=False, repr=False)


class CancelResult(Enum):
    REQUESTED = "asked"  # it may still finish: the result tells
    CANCELLED = "cancelled"  # it will not be made
    TOO_LATE = "too late"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class WebhookEvent:
    """What a genuine webhook says. Only a hint: the result is taken from the provider itself."""

    request_id: str


# To connect and to read, in seconds; the settings' where left out.
Timeout = tuple[float, float]


class Provider(ABC):
    """One provider. Its address, its keys and its hosts stand in settings.PROVIDERS."""

    name: ClassVar[str]

    # Every state that its published description lists, by its own word.
    states: ClassVar[Mapping[str, ProviderState]]

    # How the error types begin by which it says that its own moderation refused the input.
    content_rejection_prefixes: ClassVar[tuple[str, ...]] = ("content_policy_violation",)

    def __init__(self) -> None:
        # From zero on, so that the first is an increase.
        metrics.unknown_provider_states.labels(self.name)

    @property
    def _config(self) -> Any:
        return settings.PROVIDERS[self.name]

    @property
    def key_labels(self) -> list[str]:
        """Those of the keys that we have; without one, nothing can be submitted."""
        labels: list[str] = self._config.keys.labels()
        return labels

    @property
    def media_hosts(self) -> list[str]:
        """Where its results may be fetched from: host names, or *.domain."""
        hosts: list[str] = self._config.media_hosts
        return hosts

    def is_content_rejection(self, error_type: str) -> bool:
        """Whether such a rejection is its moderation's, and no fault in the form of the input."""
        return error_type.startswith(self.content_rejection_prefixes)

    @abstractmethod
    def submit(
        self, *, model_id: str, body: dict[str, Any], webhook_url: str, key_label: str
    ) -> SubmitResult:
        """Hand one job over, with exactly one request: never repeated once it may have left us."""

    @abstractmethod
    def status(
        self, handle: Handle, *, timeout: Timeout | None = None
    ) -> Running | Done | Unknown: ...

    @abstractmethod
    def result(
        self, handle: Handle, *, kind: MediaKind = "video", timeout: Timeout | None = None
    ) -> Media | Failed | Running | Unknown:
        """`kind` is what the route makes. A result in which nothing of that kind is found is
        Failed as UNUSABLE, with what was said in `raw`."""

    @abstractmethod
    def parse_result(
        self, payload: Mapping[str, Any], *, kind: MediaKind
    ) -> Media | Failed | Unknown:
        """The result in an answer that was kept (`raw`)."""

    @abstractmethod
    def cancel(self, handle: Handle, *, timeout: Timeout | None = None) -> CancelResult: ...

    def _request(self, method: str, url: str, key_label: str, **options: Any) -> http.Response:
        """One request with that key; the options are those of http.request. Raises NotSent,
        NoAnswer.

        Of a GET redirects are followed, as long as they stay at an address of the provider's: our
        key goes with them.
        """
        headers = self._auth_headers(self._config.keys.secret(key_label))
        response = http.request(method, url, headers=headers, **options)
        for _ in range(http.MOST_REDIRECTS if method == "GET" else 0):
            target = self._redirect_target(url, response)
            if not target:
                break
            url = target
            response = http.request("GET", url, headers=headers, **options | {"params": None})
        return response

    def _redirect_target(self, url: str, response: http.Response) -> str:
        """ "" where it sends us nowhere, or away from the provider."""
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
        """The addresses that our key may go to."""
        return [self._config.url]

    @abstractmethod
    def _auth_headers(self, key: str) -> dict[str, str]: ...

    def _post_once(
        self, url: str, key_label: str, **options: Any
    ) -> http.Response | RetryLater | Unknown:
        """POST a submission: without an answer, it may or may not have arrived."""
        try:
            return self._request("POST", url, key_label, **options)
        except http.NotSent as error:
            return RetryLater(NOT_SENT_RETRY_SECONDS, "not_sent", str(error))
        except http.NoAnswer as error:
            return Unknown(str(error))

    def _get_json(
        self, url: str, key_label: str, *, method: str = "GET", **options: Any
    ) -> dict[str, Any] | Unknown:
        """The JSON object of a good answer."""
        try:
            response = self._request(method, url, key_label, **options)
        except (http.NotSent, http.NoAnswer) as error:
            return Unknown(str(error))
        return (
            dict_or_empty(response.json()) if response.ok else Unknown(f"status {response.status}")
        )

    def _parse_state(self, payload: Mapping[str, Any]) -> ProviderState | Unknown:
        """The `status` of an answer. A state that no description lists is logged and counted as
        soon as it is seen: it may be an end that we do not know."""
        status = payload.get("status")
        if isinstance(status, str) and status in self.states:
            return self.states[status]
        word = clean_text(status, max_length=40)
        logger.warning("unknown_provider_state", provider=self.name, state=word)
        metrics.unknown_provider_states.labels(self.name).inc()
        return Unknown(f"status {word!r}")

    @abstractmethod
    def build_handle(self, *, model_id: str, request_id: str, key_label: str) -> Handle:
        """The handle of a submission whose answer was lost, once a webhook has told its id."""

    def verify_webhook(self, *, headers: Mapping[str, str], body: bytes) -> WebhookEvent:
        """By the hex HMAC-SHA256 of the body, where the provider has no scheme of its own.

        Raises BadSignature; http.NotSent or NoAnswer where the keys that would tell cannot be had.
        """
        verify_hex_hmac(
            headers.get("X-Webhook-Signature", ""), body, secrets=self._config.webhook_secrets
        )
        payload = parse_json_object(body)
        return WebhookEvent(
            clean_text(payload.get("request_id") or payload.get("id"), max_length=100)
        )


SubmitResult = Accepted | Rejected | RetryLater | Unknown
NOT_FOUND = Unknown("status 404")
