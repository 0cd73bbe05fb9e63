"""Sign in with Apple's server-to-server notifications about a person's Apple account.

Each event is sent once; a failed response does not repeat it.
"""

import json
import time
import uuid
from typing import Any

import httpx

from sandbox.apple.auth import AppleAuth
from sandbox.apple.identity import ISSUER, LIFETIME_SECONDS, is_relay_address
from sandbox.apple.jws import encode
from sandbox.apple.keys import KeySet
from sandbox.environment import ServedApp
from sandbox.strict_body import BadRequest, StrictBody

TIMEOUT_SECONDS = 15.0
EMAIL_EVENTS = ("email-disabled", "email-enabled")
# Apple's documentation has the last one in both spellings.
CREDENTIAL_EVENTS = ("consent-revoked", "account-delete", "account-deleted")


class AccountEvents:
    def __init__(self, *, auth: AppleAuth, keys: KeySet, app: ServedApp) -> None:
        self._auth = auth
        self._keys = keys
        self._app = app
        self._client = httpx.AsyncClient(
            trust_env=False, follow_redirects=False, timeout=TIMEOUT_SECONDS
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    async def send(self, fields: StrictBody) -> dict[str, Any]:
        """Deliver one event. `delivered_status` is None without a response. `payload` is the signed
        body, so that the caller can send it again."""
        fields.allow_only(("sub", "type", "email", "url", "audience", "bad_signature"))
        sub = fields.get_text("sub")
        event_type = fields.get_choice("type", (*CREDENTIAL_EVENTS, *EMAIL_EVENTS))
        event = {"type": event_type, "sub": sub, "event_time": int(time.time() * 1000)}
        event |= _email_fields(event_type, fields.find_text("email"))
        url = fields.find_text("url") or f"{self._app.public_url}/webhooks/apple-id"
        audience = fields.find_text("audience") or self._app.bundle_id
        is_forged = fields.find_flag("bad_signature") or False

        if event_type in CREDENTIAL_EVENTS and not is_forged:
            self._auth.end_authorizations(sub)
        payload = self._signed(event, audience, is_forged=is_forged)
        return {"delivered_status": await self._deliver(url, payload), "payload": payload}

    def _signed(self, event: dict[str, Any], audience: str, *, is_forged: bool) -> str:
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": audience,
            "exp": now + LIFETIME_SECONDS,
            "iat": now,
            "jti": uuid.uuid4().hex,
            "events": json.dumps(event),
        }
        key = self._keys.unpublished if is_forged else self._keys.signing
        return encode({"kid": self._keys.signing.kid, "alg": "RS256"}, claims, key.sign)

    async def _deliver(self, url: str, payload: str) -> int | None:
        try:
            response = await self._client.post(url, json={"payload": payload})
        except httpx.InvalidURL as error:
            raise BadRequest(f"url is none: {error}.") from None
        except httpx.UnsupportedProtocol:
            raise BadRequest("url must begin with http:// or https://.") from None
        except httpx.HTTPError:
            return None
        return response.status_code


def _email_fields(event_type: str, email: str | None) -> dict[str, str]:
    if event_type not in EMAIL_EVENTS:
        if email is not None:
            raise BadRequest(f"email is for {' and '.join(EMAIL_EVENTS)}.")
        return {}
    if email is None:
        raise BadRequest(f"email is missing: {event_type} is about one.")
    return {"email": email, "is_private_email": "true" if is_relay_address(email) else "false"}
