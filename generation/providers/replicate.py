"""Replicate's HTTP API: predictions and trainings, and webhooks signed as Standard Webhooks says.

Sources: https://replicate.com/docs/reference/http and Replicate's own client (replicate 1.0.7). The
states are those of https://replicate.com/docs/topics/predictions/lifecycle, which lists more than
the client. Replicate validates input at submit. Afterwards only `error` explains why a prediction
failed.

A training is like a prediction at another address. Its result is a version of a private model of
our account, which has to exist before, and a tar with the weights, which needs the API key.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlsplit

from generation.providers.base import (
    ACCOUNT_RETRY_SECONDS,
    NOT_FOUND,
    NOT_SENT_RETRY_SECONDS,
    CancelResult,
    Failed,
    FailureReason,
    Handle,
    Media,
    MediaKind,
    ProviderState,
    Rejected,
    RetryLater,
    SubmitResult,
    Timeout,
    Unknown,
    WebhookEvent,
)
from generation.providers.parsing import (
    clean_detail,
    clean_text,
    dict_or_empty,
    parse_json_object,
    parse_percent,
    parse_request_id,
)
from generation.providers.signatures import verify_standard_webhook
from generation.providers.single_resource import JsonObject, SingleResourceProvider
from rendio.common.outbound import http

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp")
# Replicate runs trained FLUX models on other hardware, whatever is given here.
HARDWARE = "gpu-t4"
# Connect and read. Several requests before a submission share its lease.
PREPARE_TIMEOUT_SECONDS = (3.0, 5.0)
VIDEO_EXTENSIONS = (".mp4", ".mov", ".webm", ".mkv")
# Texts by which Replicate's models report that the input or the output was rejected.
REJECTION_MARKERS = ("(E005)", "flagged as sensitive", "NSFW")


class Replicate(SingleResourceProvider):
    name = "replicate"
    states = {
        "starting": ProviderState.QUEUED,
        "processing": ProviderState.RUNNING,
        "succeeded": ProviderState.FINISHED,
        "failed": ProviderState.FINISHED,
        "canceled": ProviderState.FINISHED,
        "aborted": ProviderState.FINISHED,
    }
    # Cancelled while it ran, or before.
    cancelled_states = ("canceled", "aborted")

    def submit(
        self, *, model_id: str, body: dict[str, Any], webhook_url: str, key_label: str
    ) -> SubmitResult:
        """`model_id` of a training is `OWNER/NAME/versions/VERSION/trainings`, and `destination` in
        its body the name of the model that is trained."""
        order: dict[str, Any] = {"version": model_id, "input": body}
        path = "/v1/predictions"
        if _is_trainer(model_id):
            inputs = dict(body)
            destination = self._create_model(inputs.pop("destination", ""), key_label)
            if not isinstance(destination, str):
                return destination
            order, path = {"destination": destination, "input": inputs}, f"/v1/models/{model_id}"
        if self._config.webhook_secrets:
            order |= {"webhook": webhook_url, "webhook_events_filter": ["completed"]}
        return self._post_job(path, order, model_id=model_id, key_label=key_label)

    def _create_model(self, name: str, key_label: str) -> str | Rejected | RetryLater:
        """Create the private model `name` unless it exists. Returns OWNER/NAME.

        Nothing is trained and nothing is charged, so any failure may be retried.
        """
        owner = self._account_name(key_label)
        if isinstance(owner, RetryLater):
            return owner
        model = {"owner": owner, "name": name, "visibility": "private", "hardware": HARDWARE}
        created = self._post_once(
            f"{self._config.url}/v1/models", key_label, json=model, timeout=PREPARE_TIMEOUT_SECONDS
        )
        if isinstance(created, RetryLater):
            return created
        if isinstance(created, http.Response) and created.ok:
            return f"{owner}/{name}"
        # It may exist from an earlier attempt. The answer for such a model is not documented.
        found = self._get_json(
            self._model_url(owner, name), key_label, timeout=PREPARE_TIMEOUT_SECONDS
        )
        if not isinstance(found, Unknown):
            return f"{owner}/{name}"
        if isinstance(created, http.Response) and created.status in {400, 422}:
            detail = clean_detail(created.body.decode(errors="replace"))
            return Rejected(FailureReason.PROVIDER_ERROR, "no_destination", detail)
        return RetryLater(ACCOUNT_RETRY_SECONDS, "no_destination", found.detail)

    def delete_model(self, provider_model: str, *, key_label: str) -> bool:
        """A model can be deleted once it has no versions, and those are deleted within minutes
        (https://replicate.com/docs/topics/models/delete-a-model)."""
        owner, _, name = provider_model.partition(":")[0].rpartition("/")
        found = owner or self._account_name(key_label)
        if isinstance(found, RetryLater):
            return False
        url = self._model_url(found, name)
        versions = self._get_json(f"{url}/versions", key_label)
        if isinstance(versions, Unknown):
            return versions == NOT_FOUND
        results = versions.get("results")
        for version in results if isinstance(results, list) else []:
            if version_id := parse_request_id(dict_or_empty(version).get("id")):
                self._get_json(f"{url}/versions/{version_id}", key_label, method="DELETE")
        deleted = self._get_json(url, key_label, method="DELETE")
        return not isinstance(deleted, Unknown) or deleted == NOT_FOUND

    def _account_name(self, key_label: str) -> str | RetryLater:
        """The name of the account that the key belongs to."""
        url = f"{self._config.url}/v1/account"
        try:
            response = self._request("GET", url, key_label, timeout=PREPARE_TIMEOUT_SECONDS)
        except (http.NotSent, http.NoAnswer) as error:
            return RetryLater(NOT_SENT_RETRY_SECONDS, "not_sent", str(error))
        name = parse_request_id(dict_or_empty(response.json()).get("username"))
        if response.ok and name:
            return name
        return RetryLater(ACCOUNT_RETRY_SECONDS, "account", f"account: status {response.status}")

    def _model_url(self, owner: str, name: str) -> str:
        return f"{self._config.url}/v1/models/{quote(owner, safe='')}/{quote(name, safe='')}"

    def cancel(self, handle: Handle, *, timeout: Timeout | None = None) -> CancelResult:
        return self._cancel_by_post(handle, timeout=timeout)

    def build_handle(self, *, model_id: str, request_id: str, key_label: str) -> Handle:
        # For a training, Replicate's own answer names the address of a prediction.
        resource = "trainings" if _is_trainer(model_id) else "predictions"
        base = f"{self._config.url}/v1/{resource}/{quote(request_id, safe='')}"
        return Handle(request_id, base, base, f"{base}/cancel", key_label)

    def verify_webhook(self, *, headers: Mapping[str, str], body: bytes) -> WebhookEvent:
        verify_standard_webhook(headers, body, secrets=self._config.webhook_secrets)
        return WebhookEvent(clean_text(parse_json_object(body).get("id"), max_length=100))

    def weights_headers(self, handle: Handle) -> dict[str, str]:
        return self._auth_headers(self._config.keys.secret(handle.key_label))

    def _auth_headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def _parse_progress(self, resource: JsonObject) -> int | None:
        return parse_percent(resource.get("logs"))

    def _parse_outcome(self, resource: JsonObject, kind: MediaKind) -> Media | Failed:
        if resource["status"] == "canceled":
            return Failed(FailureReason.CANCELLED, "canceled", "")
        if resource["status"] == "aborted":
            # The deadline passed before the prediction started. Not charged:
            return Failed(FailureReason.CANCELLED, "aborted", "", Decimal(0))
        if resource["status"] == "failed":
            error = clean_detail(resource.get("error"))
            is_rejection = any(sign in error for sign in REJECTION_MARKERS)
            reason = FailureReason.REJECTED if is_rejection else FailureReason.PROVIDER_ERROR
            return Failed(reason, "content_policy_violation" if is_rejection else "failed", error)
        output = resource.get("output")
        if kind == "weights":
            return _parse_weights(dict_or_empty(output))
        outputs = output if isinstance(output, list) else [output]
        urls = [url for url in outputs if isinstance(url, str) and url]
        # Some models return a still image beside the video.
        others = IMAGE_EXTENSIONS if kind == "video" else VIDEO_EXTENSIONS
        fitting = [url for url in urls if not _has_extension(url, others)]
        if not fitting:
            return Failed(FailureReason.UNUSABLE, "no_media", "no URL in the result")
        return Media(fitting[0], kind, more_urls=tuple(fitting[1:]) if kind == "image" else ())

    def _error_message(self, payload: JsonObject) -> str:
        return str(payload.get("detail", ""))

    def _parse_special_rejection(
        self, response: http.Response, payload: JsonObject
    ) -> SubmitResult | None:
        if response.status == 422 and str(payload.get("title")).startswith("Invalid version"):
            return Rejected(FailureReason.PROVIDER_ERROR, "no_such_model", "")
        return None


def _is_trainer(model_id: str) -> bool:
    return model_id.endswith("/trainings")


def _parse_weights(output: JsonObject) -> Media | Failed:
    url = output.get("weights")
    if not isinstance(url, str) or not url:
        return Failed(FailureReason.UNUSABLE, "no_weights", "no URL of weights in the result")
    version = clean_text(output.get("version"), max_length=200)
    return Media(url, "weights", provider_model=version)


def _has_extension(url: str, endings: tuple[str, ...]) -> bool:
    try:
        return urlsplit(url).path.lower().endswith(endings)
    except ValueError:
        return False
