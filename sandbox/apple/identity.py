"""Identity tokens, genuine and flawed.

`/control/apple/identity` replaces the sign-in sheet on the phone. `nonce` is the value that the
app passed to the sheet, the hex SHA-256 of its raw nonce. It is copied into the token unchanged.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sandbox.apple.jws import base64url, encode
from sandbox.apple.keys import KeySet
from sandbox.strict_body import BadRequest, StrictBody

ISSUER = "https://appleid.apple.com"
RELAY_DOMAIN = "@privaterelay.appleid.com"
LIFETIME_SECONDS = 86_400
LIKELY_REAL = 2
ALGORITHMS = ("RS256", "none", "HS256")


@dataclass(frozen=True)
class Identity:
    """A person and the app that they sign in to."""

    FIELDS = ("sub", "email", "email_verified", "nonce", "audience")

    sub: str
    audience: str
    nonce: str | None
    email: str | None
    email_verified: bool | str | None

    @classmethod
    def parse(cls, fields: StrictBody, *, bundle_id: str) -> "Identity":
        return cls(
            sub=fields.get_text("sub"),
            audience=fields.find_text("audience") or bundle_id,
            nonce=fields.find_text("nonce"),
            email=fields.find_text("email"),
            email_verified=fields.find_flag_as_sent("email_verified"),
        )

    def claims(self, now: int) -> dict[str, Any]:
        """Return the claims of a valid token issued now."""
        return {
            "iss": ISSUER,
            "aud": self.audience,
            "exp": now + LIFETIME_SECONDS,
            "iat": now,
            "sub": self.sub,
            **({"nonce": self.nonce} if self.nonce else {}),
            "nonce_supported": True,
            "auth_time": now,
            **self._email_claims(),
        }

    def _email_claims(self) -> dict[str, Any]:
        """Apple writes flags as booleans or as texts. `email_verified` decides which."""
        verified = self.email_verified
        if verified is None and self.email is not None:
            verified = True
        claims = {"email": self.email, "email_verified": verified}
        if self.email is not None and is_relay_address(self.email):
            claims["is_private_email"] = "true" if isinstance(verified, str) else True
        return {name: value for name, value in claims.items() if value is not None}


@dataclass(frozen=True)
class TokenFlaws:
    """Flaws of a token. None by default. Times are relative to now."""

    FIELDS = ("issuer", "expires_in", "issued_in", "not_before_in", "kid", "algorithm")

    issuer: str | None
    expires_in: float | None
    issued_in: float | None
    not_before_in: float | None
    kid: str | None
    algorithm: str

    @classmethod
    def parse(cls, fields: StrictBody) -> "TokenFlaws":
        kid, algorithm = fields.find_text("kid"), fields.find_choice("algorithm", ALGORITHMS)
        if kid is not None and algorithm not in (None, "RS256"):
            raise BadRequest(f"kid names whose RS256 signature is forged; {algorithm} has none.")
        return cls(
            issuer=fields.find_text("issuer"),
            expires_in=fields.find_seconds("expires_in", may_be_past=True),
            issued_in=fields.find_seconds("issued_in", may_be_past=True),
            not_before_in=fields.find_seconds("not_before_in", may_be_past=True),
            kid=kid,
            algorithm=algorithm or "RS256",
        )

    def claims(self, now: int) -> dict[str, Any]:
        issued_in = self.issued_in
        if issued_in is None and self.expires_in is not None and self.expires_in <= 0:
            # An expired token was valid once: only its age is wrong.
            issued_in = self.expires_in - LIFETIME_SECONDS
        times = {"exp": self.expires_in, "iat": issued_in, "nbf": self.not_before_in}
        claims: dict[str, Any] = {
            name: int(now + seconds) for name, seconds in times.items() if seconds is not None
        }
        if issued_in is not None:
            claims["auth_time"] = claims["iat"]
        return claims if self.issuer is None else {"iss": self.issuer, **claims}

    def signed(self, claims: Mapping[str, Any], keys: KeySet) -> str:
        genuine = keys.signing
        match self.algorithm:
            case "none":
                return encode({"kid": genuine.kid, "alg": "none"}, claims, lambda _: b"")
            case "HS256":
                # A verifier that trusts the token's algorithm would use the public key as the HMAC
                # secret.
                secret = genuine.public_pem()
                return encode(
                    {"kid": genuine.kid, "alg": "HS256"},
                    claims,
                    lambda message: hmac.digest(secret, message, "sha256"),
                )
        if self.kid is not None:
            return encode({"kid": self.kid, "alg": "RS256"}, claims, keys.unpublished.sign)
        return sign_claims(claims, keys)


def sign_claims(claims: Mapping[str, Any], keys: KeySet) -> str:
    return encode({"kid": keys.signing.kid, "alg": "RS256"}, claims, keys.signing.sign)


def phone_claims(code: str) -> dict[str, Any]:
    """Return the additional claims of the phone's token, which bind it to its code."""
    half = sha256(code.encode()).digest()[:16]
    return {"c_hash": base64url(half), "real_user_status": LIKELY_REAL}


def is_relay_address(email: str) -> bool:
    return email.lower().endswith(RELAY_DOMAIN)
