"""Base class for providers whose API has one resource for submit, status and result.

Submitting the resource, reading its state and fetching its result share this code. A subclass
parses the fields.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar

from generation.providers.base import (
    ACCOUNT_RETRY_SECONDS,
    MAX_RAW_CHARS,
    NOT_FOUND,
    RATE_LIMITED,
    Accepted,
    CancelResult,
    Done,
    Failed,
    FailureReason,
    Handle,
    Media,
    MediaKind,
    Provider,
    ProviderState,
    Rejected,
    RetryLater,
    Running,
    SubmitResult,
    Timeout,
    Unknown,
)
from generation.providers.parsing import (
    clean_detail,
    dict_or_empty,
    dump_json,
    parse_request_id,
    parse_retry_after,
)
from rendio.common.outbound import http

JsonObject = dict[str, Any]


class SingleResourceProvider(Provider):
    # States of a resource that was cancelled. Only for `_cancel_by_post`.
    cancelled_states: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def _parse_progress(self, resource: JsonObject) -> int | None:
        """Return the progress of a running resource in percent. None: not reported."""

    @abstractmethod
    def _parse_outcome(self, resource: JsonObject, kind: MediaKind) -> Media | Failed:
        """Parse the outcome of a finished resource."""

    @abstractmethod
    def _error_message(self, payload: JsonObject) -> str:
        """Return the error message of an error response."""

    def _parse_special_rejection(
        self, response: http.Response, payload: JsonObject
    ) -> SubmitResult | None:
        """Handle error responses that the status code does not explain here. None: handle by
        status."""

    def _estimated_cost(self, payload: JsonObject) -> Decimal | None:
        """Return the estimated cost if the response to the submit has one."""

    def _post_job(
        self, path: str, json: JsonObject, *, model_id: str, key_label: str
    ) -> SubmitResult:
        """Submit a job. The provider's id is the field `id` of the response."""
        response = self._post_once(f"{self._config.url}{path}", key_label, json=json)
        if isinstance(response, RetryLater | Unknown):
            return response
        payload = dict_or_empty(response.json())
        if not response.ok:
            return self._parse_special_rejection(response, payload) or self._parse_rejection(
                response, payload
            )
        if not (request_id := parse_request_id(payload.get("id"))):
            return Unknown("accepted without an id")
        handle = self.build_handle(model_id=model_id, request_id=request_id, key_label=key_label)
        return Accepted(handle, cost_usd=self._estimated_cost(payload))

    def _parse_rejection(self, response: http.Response, payload: JsonObject) -> SubmitResult:
        detail = clean_detail(self._error_message(payload))
        match response.status:
            case 429:
                return RetryLater(parse_retry_after(response), RATE_LIMITED, detail)
            case 401 | 402 | 403:
                return RetryLater(ACCOUNT_RETRY_SECONDS, "account", detail)
            case 404 | 405:
                return Rejected(FailureReason.PROVIDER_ERROR, "no_such_model", detail)
            case 400 | 413 | 422:
                return Rejected(FailureReason.REJECTED, "invalid_input", detail)
            case status:
                return Unknown(f"status {status}")

    def _parse_status(self, resource: JsonObject) -> Running | Done | Unknown:
        match self._parse_state(resource):
            case ProviderState.QUEUED:
                return Running(is_started=False)
            case ProviderState.RUNNING:
                return Running(is_started=True, progress=self._parse_progress(resource))
            case ProviderState.FINISHED:
                return Done()
            case unknown:
                return unknown

    def status(self, handle: Handle, *, timeout: Timeout | None = None) -> Running | Done | Unknown:
        resource = self._get_json(handle.status_url, handle.key_label, timeout=timeout)
        return resource if isinstance(resource, Unknown) else self._parse_status(resource)

    def result(
        self, handle: Handle, *, kind: MediaKind = "video", timeout: Timeout | None = None
    ) -> Media | Failed | Running | Unknown:
        resource = self._get_json(handle.response_url, handle.key_label, timeout=timeout)
        return resource if isinstance(resource, Unknown) else self._parse_resource(resource, kind)

    def parse_result(
        self, payload: Mapping[str, Any], *, kind: MediaKind
    ) -> Media | Failed | Unknown:
        found = self._parse_resource(dict(payload), kind)
        return Unknown("kept before its end") if isinstance(found, Running) else found

    def _parse_resource(
        self, resource: JsonObject, kind: MediaKind
    ) -> Media | Failed | Running | Unknown:
        stage = self._parse_status(resource)
        if not isinstance(stage, Done):
            return stage
        return replace(
            self._parse_outcome(resource, kind), raw=dump_json(resource, max_length=MAX_RAW_CHARS)
        )

    def _cancel_by_post(self, handle: Handle, *, timeout: Timeout | None) -> CancelResult:
        """Cancel by a POST that returns the resource."""
        resource = self._get_json(
            handle.cancel_url, handle.key_label, method="POST", timeout=timeout
        )
        return self._parse_cancellation(resource)

    def _cancel_unless_finished(self, handle: Handle, *, timeout: Timeout | None) -> CancelResult:
        """Read the resource first, and cancel by a POST if it has not finished."""
        resource = self._get_json(handle.status_url, handle.key_label, timeout=timeout)
        found = self._parse_cancellation(resource)
        if found != CancelResult.REQUESTED:
            return found
        return self._cancel_by_post(handle, timeout=timeout)

    def _parse_cancellation(self, resource: JsonObject | Unknown) -> CancelResult:
        if resource == NOT_FOUND:
            return CancelResult.TOO_LATE
        if isinstance(resource, Unknown):
            return CancelResult.UNKNOWN
        if resource.get("status") in self.cancelled_states:
            return CancelResult.CANCELLED
        is_over = self._parse_state(resource) == ProviderState.FINISHED
        return CancelResult.TOO_LATE if is_over else CancelResult.REQUESTED
