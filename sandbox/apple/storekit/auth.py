"""Authentication of calls to the App Store Server API."""

import time

from starlette.exceptions import HTTPException
from starlette.requests import Request

from sandbox.apple.faults import Outages
from sandbox.apple.jws import decode_unverified, is_nonempty_text
from sandbox.apple.storekit.payloads import PRODUCTION
from sandbox.environment import ServedApp

AUDIENCE = "appstoreconnect-v1"
MAX_TOKEN_SECONDS = 3600
CLOCK_SKEW_SECONDS = 60


class Authenticator:
    def __init__(self, *, outages: Outages, app: ServedApp) -> None:
        self._outages = outages
        self._app = app
        self.reset()

    def reset(self) -> None:
        self.is_released = True
        """Apple's production environment may respond 401 for an app that was never released."""

    def check(self, request: Request, environment: str) -> None:
        """Raise the scripted outage, or 401 for an invalid token."""
        self._outages.raise_if_down("storekit")
        is_known = self.is_released or environment != PRODUCTION
        if not is_known or not self._is_authorized(request.headers.get("authorization", "")):
            raise HTTPException(401, "Unauthenticated")

    def _is_authorized(self, authorization: str) -> bool:
        """Whether the token has the claims that Apple requires.

        The signature is not checked, because the sandbox does not have the signer's key. Apple's
        own library sends no `iat`.
        """
        scheme, _, token = authorization.partition(" ")
        header, claims = decode_unverified(token)
        now = time.time()
        issued_at, expires_at = claims.get("iat", now), claims.get("exp")
        return (
            scheme.lower() == "bearer"
            and header.get("alg") == "ES256"
            and is_nonempty_text(header.get("kid"))
            and is_nonempty_text(claims.get("iss"))
            and claims.get("aud") == AUDIENCE
            and claims.get("bid") == self._app.bundle_id
            and isinstance(issued_at, int | float)
            and issued_at <= now + CLOCK_SKEW_SECONDS
            and isinstance(expires_at, int | float)
            and now < expires_at <= now + MAX_TOKEN_SECONDS + CLOCK_SKEW_SECONDS
        )
