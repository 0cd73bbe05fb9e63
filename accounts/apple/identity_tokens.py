"""Sign in with Apple: verify identity tokens and account events, exchange codes, revoke tokens.

Every identity passes `_verified`: RS256 only, signed with one of Apple's published keys, issued for
one of our apps, and within its time. The key set is cached in each process.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import jwt
import structlog
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.validators import validate_email

from accounts.errors import (
    AppleOutcomeUnknown,
    IdentityServiceUnavailable,
    InvalidIdentity,
)
from rendio.common.outbound import http
from rendio.common.outbound.jwks import KeySet

logger = structlog.get_logger(__name__)

ALGORITHM = "RS256"
TIMEOUT_SECONDS = (3.0, 7.0)  # to connect, to read; a person waits
# Tolerated difference between Apple's clock and ours. None for an expiry.
CLOCK_SKEW_SECONDS = 60
# The key set is fetched again after the first; while Apple is unavailable it is used until the
# second.
KEYS_FRESH_SECONDS = 3600
KEYS_USABLE_SECONDS = 24 * 3600
KEYS_PAUSE_SECONDS = 30
# Older events are refused; the names of younger ones are kept.
EVENT_MAX_AGE_DAYS = 30
CLIENT_SECRET_SECONDS = 600


@dataclass(frozen=True)
class Identity:
    """Claims of an identity token."""

    sub: str
    client_id: str
    email: str | None
    email_verified: bool
    is_private_email: bool
    code_hash: str | None
    # Hash of the signed part: one signature has several encodings.
    fingerprint: str
    expires_at: datetime


@dataclass(frozen=True)
class AppleAccountEvent:
    """A server-to-server event about an Apple account. A repeated event has the same name."""

    name: str
    kind: str
    sub: str
    happened_at: datetime
    email: str | None
    is_private_email: bool | None
    expires_at: datetime


def read_identity_token(token: str, *, nonce: str) -> Identity:
    """The claims of a valid identity token. `nonce` is the raw value; Apple got its SHA-256 in hex.

    Raises InvalidIdentity, and IdentityServiceUnavailable if Apple's keys cannot be fetched.
    """
    claims = _verified(token, require=["iss", "aud", "exp", "iat", "sub", "nonce"])
    expected = hashlib.sha256(nonce.encode()).hexdigest()
    if not hmac.compare_digest(_text(claims, "nonce").encode(), expected.encode()):
        raise _refused("nonce")
    return _identity(token, claims)


def read_account_event(payload: str) -> AppleAccountEvent:
    """The content of a server-to-server event. Raises as read_identity_token does."""
    claims = _verified(payload, require=["iss", "aud", "iat", "events"])
    if claims["iat"] < time.time() - EVENT_MAX_AGE_DAYS * 86_400:
        raise _refused("iat")
    try:
        # Apple sends JSON as a text inside the JSON.
        events = claims["events"]
        event = json.loads(events) if isinstance(events, str) else events
        private = event.get("is_private_email")
        return AppleAccountEvent(
            name=hashlib.sha256(f"notice {claims.get('jti') or payload}".encode()).hexdigest(),
            kind=str(event["type"]),
            sub=_text(event, "sub"),
            happened_at=_instant(event.get("event_time", claims["iat"])),
            email=_email(event.get("email")),
            is_private_email=None if private is None else _flag(private),
            expires_at=_instant(claims["iat"]) + timedelta(days=EVENT_MAX_AGE_DAYS + 1),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise _refused("events") from error


def exchange_code(code: str, *, identity: Identity) -> str:
    """Exchange the authorization code of an identity token for Apple's refresh token.

    A code works once and for five minutes. Raises InvalidIdentity for an invalid code or another
    person's, IdentityServiceUnavailable.
    """
    if identity.code_hash is not None and identity.code_hash != _half_hash(code):
        raise _refused("c_hash")
    answer = _post(
        settings.APPLE_TOKEN_URL,
        {"grant_type": "authorization_code", "code": code},
        client_id=identity.client_id,
    )
    if answer.status == 400 and _object(answer.json()).get("error") == "invalid_grant":
        raise _refused("authorization_code")
    tokens = _object(answer.json()) if answer.ok else {}
    refresh_token, id_token = tokens.get("refresh_token"), tokens.get("id_token")
    if not (isinstance(refresh_token, str) and refresh_token and isinstance(id_token, str)):
        error = _object(answer.json()).get("error")
        logger.error("apple_token_refused", status=answer.status, error=str(error)[:80])
        raise IdentityServiceUnavailable
    if _verified(id_token, require=["iss", "aud", "exp", "iat", "sub"])["sub"] != identity.sub:
        raise _refused("authorization_code of another person")
    return refresh_token


def revoke(refresh_token: str, *, client_id: str) -> None:
    """Revoke a refresh token at Apple. Idempotent, also for tokens that Apple does not know.

    Raises IdentityServiceUnavailable if it was not revoked, AppleOutcomeUnknown if it may have
    been.
    """
    answer = _post(
        settings.APPLE_REVOKE_URL,
        {"token": refresh_token, "token_type_hint": "refresh_token"},
        client_id=client_id,
    )
    if not answer.ok:
        logger.error("apple_revoke_refused", status=answer.status)
        raise IdentityServiceUnavailable


def encrypt(refresh_token: str) -> str:
    """Encrypt for storage with the first of settings.APPLE_TOKEN_KEYS."""
    return _fernet().encrypt(refresh_token.encode()).decode()


def decrypt(kept: str) -> str:
    """Decrypt with any of the keys. Raises cryptography's InvalidToken."""
    return _fernet().decrypt(kept.encode()).decode()


@dataclass(frozen=True)
class _Key:
    id: str
    jwk: jwt.PyJWK


def _parse_key(jwk: dict[str, Any]) -> _Key | None:
    """None for a key of another kind, and for one that cannot be read."""
    kid = jwk.get("kid")
    if jwk.get("kty") != "RSA" or not isinstance(kid, str):
        return None
    try:
        return _Key(kid, jwt.PyJWK(jwk, algorithm=ALGORITHM))
    except (jwt.PyJWTError, ValueError, TypeError):
        logger.warning("apple_key_unreadable", kid=kid[:80])
        return None


keys = KeySet(
    "Apple",
    url=lambda: settings.APPLE_KEYS_URL,
    parse=_parse_key,
    timeout=TIMEOUT_SECONDS,
    fresh_seconds=KEYS_FRESH_SECONDS,
    usable_seconds=KEYS_USABLE_SECONDS,
    pause_seconds=KEYS_PAUSE_SECONDS,
    retry_seconds=KEYS_PAUSE_SECONDS,
    # Without a key nobody can sign in: Apple is asked for each sign-in until it answers.
    empty_retry_seconds=0,
)


def _find_key(kid: str) -> jwt.PyJWK:
    """Raises InvalidIdentity for a key that Apple does not have, IdentityServiceUnavailable where
    that cannot be told."""
    try:
        key = keys.find(lambda key: key.id == kid)
    except http.NoAnswer as error:
        raise IdentityServiceUnavailable from error
    if key is None:
        raise _refused("kid")
    return key.jwk


def _verified(token: str, *, require: list[str]) -> dict[str, Any]:
    """The claims of a token that Apple signed for us and that is valid now."""
    try:
        header = jwt.get_unverified_header(token)
        # Before any key is looked up: the token must not choose the algorithm.
        if header.get("alg") != ALGORITHM:
            raise _refused("alg")
        claims: dict[str, Any] = jwt.decode(
            token,
            _find_key(_text(header, "kid")),
            algorithms=[ALGORITHM],
            audience=settings.APPLE_CLIENT_IDS,
            issuer=settings.APPLE_ISSUER,
            options={"require": require, "verify_iat": False, "verify_nbf": False},
        )
        latest = time.time() + CLOCK_SKEW_SECONDS
        if not all(_number(claims, name) <= latest for name in ("iat", "nbf") if name in claims):
            raise _refused("not yet valid")
        _text(claims, "aud")
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise _refused(type(error).__name__) from error
    return claims


def _identity(token: str, claims: dict[str, Any]) -> Identity:
    try:
        email = _email(claims.get("email"))
        c_hash = claims.get("c_hash")
        return Identity(
            sub=_text(claims, "sub"),
            client_id=claims["aud"],
            email=email,
            email_verified=email is not None and _flag(claims.get("email_verified")),
            is_private_email=email is not None and _flag(claims.get("is_private_email")),
            code_hash=c_hash if isinstance(c_hash, str) else None,
            fingerprint=hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest(),
            expires_at=_instant(claims["exp"]),
        )
    except (ValueError, TypeError, OverflowError) as error:
        raise _refused(type(error).__name__) from error


def _refused(problem: str) -> InvalidIdentity:
    """The log gets the problem, the client does not."""
    logger.warning("apple_identity_refused", problem=problem)
    return InvalidIdentity()


def _post(url: str, form: Mapping[str, str], *, client_id: str) -> http.Response:
    """One call to Apple as our app. Raises IdentityServiceUnavailable, AppleOutcomeUnknown."""
    secret = _client_secret(client_id, int(time.time()) // CLIENT_SECRET_SECONDS)
    try:
        answer = http.request(
            "POST",
            url,
            data={"client_id": client_id, "client_secret": secret, **form},
            timeout=TIMEOUT_SECONDS,
        )
    except http.NotSent as error:
        logger.warning("apple_unreachable", error=str(error))
        raise IdentityServiceUnavailable from error
    except http.NoAnswer as error:
        logger.warning("apple_no_answer", error=str(error))
        raise AppleOutcomeUnknown from error
    return answer


@lru_cache(maxsize=16)
def _client_secret(client_id: str, period: int) -> str:
    """Our signed client secret, one for each period in this process."""
    if not settings.SIGN_IN_PRIVATE_KEY:
        raise ImproperlyConfigured("SIGN_IN_PRIVATE_KEY is not set.")
    now = int(time.time())
    return jwt.encode(
        {
            "iss": settings.APPLE_TEAM_ID,
            "iat": now,
            "exp": now + 2 * CLIENT_SECRET_SECONDS,
            "aud": settings.APPLE_ISSUER,
            "sub": client_id,
        },
        settings.SIGN_IN_PRIVATE_KEY,
        algorithm="ES256",
        headers={"kid": settings.SIGN_IN_KEY_ID},
    )


def _fernet() -> MultiFernet:
    return MultiFernet(
        [
            Fernet(urlsafe_b64encode(hashlib.sha256(b"apple token " + key.encode()).digest()))
            for key in settings.APPLE_TOKEN_KEYS
        ]
    )


def _half_hash(code: str) -> str:
    """`c_hash` of OpenID Connect."""
    return urlsafe_b64encode(hashlib.sha256(code.encode()).digest()[:16]).rstrip(b"=").decode()


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 255 or "\x00" in value:
        raise ValueError(name)
    return value


def _number(claims: Mapping[str, Any], name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(name)
    return float(value)


def _flag(value: Any) -> bool:
    """Apple writes booleans as JSON booleans or as texts."""
    return value is True or value == "true"


def _email(value: Any) -> str | None:
    try:
        validate_email(value)
    except (ValidationError, TypeError):
        return None
    return str(value) if len(value) <= 254 else None


def _instant(seconds: Any) -> datetime:
    """Epoch seconds, or milliseconds as in events, as a datetime."""
    value = float(seconds)
    return datetime.fromtimestamp(value / 1000 if value > 1e11 else value, tz=UTC)
