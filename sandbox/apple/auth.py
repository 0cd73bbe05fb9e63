"""Sign in with Apple: the key set, the token endpoint and the revocation of tokens.

The sandbox has no `unauthorized_client` and `invalid_scope` of the token endpoint: requests of a
native app cannot cause them.
"""

import hashlib
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.apple.faults import Outages
from sandbox.apple.identity import ISSUER, Identity, TokenFlaws, phone_claims, sign_claims
from sandbox.apple.jws import decode_unverified, is_nonempty_text
from sandbox.apple.keys import KeySet
from sandbox.environment import ServedApp
from sandbox.strict_body import StrictBody

CODE_LIFETIME_SECONDS = 300
ACCESS_LIFETIME_SECONDS = 3600
MAX_SECRET_SECONDS = 15_777_000
CLOCK_SKEW_SECONDS = 60


class AuthError(Exception):
    """Apple's error code for an invalid request. Returned with 400."""


async def handle_auth_error(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, status_code=400)


@dataclass(frozen=True)
class AuthorizationCode:
    identity: Identity
    expires_at: float


@dataclass
class Authorization:
    """The tokens issued for one code. Revoking any of them revokes all."""

    identity: Identity
    is_revoked: bool = False


@dataclass(frozen=True)
class Revocation:
    """One accepted revocation. `sub` is None if the token was not issued here."""

    sha256: str
    token_type_hint: str | None
    client_id: str
    sub: str | None
    at: datetime

    def as_json(self) -> dict[str, Any]:
        return {
            "sha256": self.sha256,
            "token_type_hint": self.token_type_hint,
            "client_id": self.client_id,
            "sub": self.sub,
            "at": self.at.isoformat(),
        }


class AppleAuth:
    def __init__(self, *, outages: Outages, keys: KeySet, app: ServedApp) -> None:
        self._outages = outages
        self._keys = keys
        self._app = app
        self.reset()

    def reset(self) -> None:
        self._codes: dict[str, AuthorizationCode] = {}
        self._refresh_tokens: dict[str, Authorization] = {}
        self._access_tokens: dict[str, Authorization] = {}
        self._revocations: list[Revocation] = []

    def routes(self) -> list[Route]:
        return [
            Route("/apple/auth/keys", self.keys, methods=["GET"]),
            Route("/apple/auth/token", self.token, methods=["POST"]),
            Route("/apple/auth/revoke", self.revoke, methods=["POST"]),
        ]

    def sign_in(self, fields: StrictBody) -> dict[str, str]:
        """Create the identity token and code that the phone receives after the person has agreed.
        The code is valid even if the token has flaws."""
        fields.allow_only((*Identity.FIELDS, *TokenFlaws.FIELDS, "code_expires_in"))
        identity = Identity.parse(fields, bundle_id=self._app.bundle_id)
        flaws = TokenFlaws.parse(fields)
        lifetime = fields.find_seconds("code_expires_in")
        if lifetime is None:
            lifetime = CODE_LIFETIME_SECONDS

        now = time.time()
        code = f"c{secrets.token_urlsafe(32)}"
        self._codes[code] = AuthorizationCode(identity, expires_at=now + lifetime)
        claims = identity.claims(int(now)) | phone_claims(code) | flaws.claims(int(now))
        return {
            "identity_token": flaws.signed(claims, self._keys),
            "authorization_code": code,
        }

    def end_authorizations(self, sub: str) -> None:
        """Revoke all of a person's authorizations."""
        for authorization in self._refresh_tokens.values():
            if authorization.identity.sub == sub:
                authorization.is_revoked = True

    def revocations_as_json(self) -> list[dict[str, Any]]:
        return [revocation.as_json() for revocation in self._revocations]

    async def keys(self, _: Request) -> JSONResponse:
        self._outages.raise_if_down("auth")
        return JSONResponse(self._keys.as_json())

    async def token(self, request: Request) -> JSONResponse:
        self._outages.raise_if_down("auth")
        form = await _parse_form(request)
        client_id = _authenticate_client(form)
        match _required(form, "grant_type"):
            case "authorization_code":
                return self._exchange(_required(form, "code"), client_id)
            case "refresh_token":
                return self._refresh(_required(form, "refresh_token"), client_id)
        raise AuthError("unsupported_grant_type")

    async def revoke(self, request: Request) -> Response:
        """Revoke a token. Returns 200 for any token; only an invalid client is an error."""
        self._outages.raise_if_down("auth")
        form = await _parse_form(request)
        client_id = _authenticate_client(form)
        token = _required(form, "token")
        authorization = self._refresh_tokens.get(token) or self._access_tokens.get(token)
        if authorization is not None and authorization.identity.audience != client_id:
            authorization = None
        if authorization is not None:
            authorization.is_revoked = True
        self._revocations.append(
            Revocation(
                sha256=hashlib.sha256(token.encode()).hexdigest(),
                token_type_hint=form.get("token_type_hint"),
                client_id=client_id,
                sub=authorization.identity.sub if authorization else None,
                at=datetime.now(UTC),
            )
        )
        return Response()

    def _exchange(self, code: str, client_id: str) -> JSONResponse:
        stored_code = self._codes.get(code)
        if (
            stored_code is None
            or stored_code.identity.audience != client_id
            or stored_code.expires_at <= time.time()
        ):
            raise AuthError("invalid_grant")
        del self._codes[code]
        authorization = Authorization(stored_code.identity)
        refresh_token = f"r{secrets.token_urlsafe(32)}"
        self._refresh_tokens[refresh_token] = authorization
        return self._tokens(authorization, refresh_token=refresh_token)

    def _refresh(self, refresh_token: str, client_id: str) -> JSONResponse:
        authorization = self._refresh_tokens.get(refresh_token)
        if (
            authorization is None
            or authorization.identity.audience != client_id
            or authorization.is_revoked
        ):
            raise AuthError("invalid_grant")
        return self._tokens(authorization)

    def _tokens(self, authorization: Authorization, **extra_fields: str) -> JSONResponse:
        access_token = f"a{secrets.token_urlsafe(32)}"
        self._access_tokens[access_token] = authorization
        return JSONResponse(
            {
                "access_token": access_token,
                "token_type": "Bearer",
                "expires_in": ACCESS_LIFETIME_SECONDS,
                **extra_fields,
                "id_token": sign_claims(
                    authorization.identity.claims(int(time.time())), self._keys
                ),
            }
        )


async def _parse_form(request: Request) -> dict[str, str]:
    """Parse the form. Empty fields are treated as omitted, as OAuth requires."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise AuthError("invalid_request")
    try:
        pairs = parse_qsl((await request.body()).decode())
    except ValueError:
        raise AuthError("invalid_request") from None
    form = dict(pairs)
    if len(form) < len(pairs):
        raise AuthError("invalid_request")  # a field is repeated
    return form


def _required(form: dict[str, str], name: str) -> str:
    value = form.get(name)
    if value is None:
        raise AuthError("invalid_request")
    return value


def _authenticate_client(form: dict[str, str]) -> str:
    client_id = _required(form, "client_id")
    if not _is_valid_client_secret(form.get("client_secret", ""), client_id):
        raise AuthError("invalid_client")
    return client_id


def _is_valid_client_secret(token: str, client_id: str) -> bool:
    """Whether the client secret has the claims that Apple requires.

    The signature is not checked, because the sandbox does not have the signer's key.
    """
    header, claims = decode_unverified(token)
    now = time.time()
    issued_at, expires_at = claims.get("iat"), claims.get("exp")
    return (
        header.get("alg") == "ES256"
        and is_nonempty_text(header.get("kid"))
        and is_nonempty_text(claims.get("iss"))
        and claims.get("aud") == ISSUER
        and claims.get("sub") == client_id
        and isinstance(issued_at, int | float)
        and issued_at <= now + CLOCK_SKEW_SECONDS
        and isinstance(expires_at, int | float)
        and now < expires_at <= now + MAX_SECRET_SECONDS + CLOCK_SKEW_SECONDS
    )
