"""A phone as the API sees it: an HTTP client with JSON, without any other code of Rendio."""

import base64
import secrets
from mimetypes import guess_extension
from pathlib import Path
from typing import Any
from uuid import uuid4

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

TIMEOUT_SECONDS = (5, 60)
MAX_FILE_BYTES = 200_000_000


class ApiError(Exception):
    """The API refused; the message is the API's."""


# A kept connection may close while we reach for it. Reading again is harmless; writing is not.
# If nothing listens now, nothing will in a moment.
GET_RETRIES = Retry(total=2, connect=0, status=0, allowed_methods={"GET"}, backoff_factor=0.2)


class Phone:
    def __init__(self, public_url: str) -> None:
        self._base = public_url.rstrip("/")
        self._http = _without_proxy()
        self._http.mount("http://", HTTPAdapter(max_retries=GET_RETRIES))

    def sign_in(self) -> dict[str, Any]:
        """Sign in as a new guest on a new device."""
        token = base64.b64encode(f"sandbox-{uuid4()}".encode()).decode()
        body = {
            "device_id": str(uuid4()),
            "device_token": token,
            "installation_secret": secrets.token_urlsafe(32),
        }
        answer = self.post("device-check", body)
        self._http.headers["Authorization"] = f"Bearer {answer['session']['access_token']}"
        return answer

    def get(self, operation: str, **query: str) -> dict[str, Any]:
        return self._call("GET", operation, params=query)

    def post(
        self, operation: str, body: dict[str, Any], *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self._call("POST", operation, json=body, headers=headers)

    def upload(self, operation: str, images: list[bytes], **fields: str) -> dict[str, Any]:
        """Send JPEGs as `files` of a form, with its other fields."""
        files = [
            ("files", (f"IMG_{number:02}.jpg", image, "image/jpeg"))
            for number, image in enumerate(images, start=1)
        ]
        return self._call("POST", operation, files=files, data=fields)

    def buy(self, sandbox_url: str, product_id: str, *, user_id: str) -> dict[str, Any]:
        """Buy a product in the sandbox's App Store, and report the purchase."""
        wanted = {"product_id": product_id, "app_account_token": user_id}
        bought = _control(sandbox_url, "apple/purchase", wanted)
        return self.post("update-credits", {"signed_transaction": bought["signed_transaction"]})

    def download(self, url: str, to: Path) -> Path:
        """The file, with the suffix of its content type."""
        to.parent.mkdir(parents=True, exist_ok=True)
        try:
            # The link is signed; it needs no token, and a player would send none.
            with _without_proxy().get(url, stream=True, timeout=TIMEOUT_SECONDS) as answer:
                if not answer.ok:
                    raise ApiError(f"The file's link answers {answer.status_code}.")
                to = to.with_suffix(guess_extension(answer.headers["Content-Type"]) or "")
                received = 0
                with to.open("wb") as file:
                    for chunk in answer.iter_content(65536):
                        received += len(chunk)
                        if received > MAX_FILE_BYTES:
                            raise ApiError("The file does not end.")
                        file.write(chunk)
        except requests.RequestException as error:
            raise ApiError(f"The file cannot be downloaded: {error}") from error
        return to

    def _call(self, method: str, operation: str, **options: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(
                method, f"{self._base}/v1/{operation}", timeout=TIMEOUT_SECONDS, **options
            )
        except requests.RequestException as error:
            problem = type(error).__name__
            raise ApiError(f"{operation}: no answer from {self._base} ({problem}).") from error
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not answer.ok or not isinstance(body, dict):
            raise ApiError(f"{operation}: {_reason(answer.status_code, body)}")
        return body


def control_sandbox(sandbox_url: str, **plan: Any) -> None:
    """Set how the provider's next jobs go. Raises ApiError."""
    _control(sandbox_url, "provider", plan)


def _control(sandbox_url: str, path: str, body: dict[str, Any]) -> Any:
    """The answer of one of the sandbox's controls. Raises ApiError."""
    url = f"{sandbox_url.rstrip('/')}/control/{path}"
    try:
        answer = _without_proxy().post(url, json=body, timeout=TIMEOUT_SECONDS)
    except requests.RequestException as error:
        raise ApiError(f"No answer from the sandbox at {sandbox_url} ({error}).") from error
    if not answer.ok:
        raise ApiError(f"The sandbox answers {answer.status_code}: {answer.text[:200]}")
    return answer.json()


def read_pushes(sandbox_url: str, token: str) -> list[tuple[str, str]]:
    """The pushes that Apple was asked to show on this phone, as (title, body), in order. Raises
    ApiError."""
    url = f"{sandbox_url.rstrip('/')}/control/pushes"
    try:
        sent = _without_proxy().get(url, timeout=TIMEOUT_SECONDS).json()["pushes"]
    except (requests.RequestException, ValueError) as error:
        raise ApiError(f"No answer from the sandbox at {sandbox_url} ({error}).") from error
    alerts = [push["payload"]["aps"]["alert"] for push in sent if push["token"] == token]
    return [(alert["title"], alert["body"]) for alert in alerts]


def _without_proxy() -> requests.Session:
    http = requests.Session()
    http.trust_env = False  # no proxy knows the way to our loopback
    return http


def _reason(status: int, body: Any) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return f"status {status}, without an error that we can read."
    details = f" {error['details']}" if error.get("details") else ""
    return f"{error.get('message')} ({status} {error.get('code')}){details}"
