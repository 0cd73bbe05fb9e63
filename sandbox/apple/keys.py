"""Apple's signing keys and the published key set."""

import secrets
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from sandbox.apple.jws import base64url
from sandbox.strict_body import StrictBody


def _new_private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True)
class SigningKey:
    kid: str = field(default_factory=lambda: secrets.token_hex(5).upper())
    _private: rsa.RSAPrivateKey = field(default_factory=_new_private_key)

    def sign(self, message: bytes) -> bytes:
        """Sign with RS256."""
        return self._private.sign(message, padding.PKCS1v15(), hashes.SHA256())

    def as_jwk(self) -> dict[str, str]:
        numbers = self._private.public_key().public_numbers()
        n, e = (
            base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))
            for number in (numbers.n, numbers.e)
        )
        return {"kty": "RSA", "kid": self.kid, "use": "sig", "alg": "RS256", "n": n, "e": e}

    def public_pem(self) -> bytes:
        return self._private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )


class KeySet:
    """The key set. Survives a reset, rotations included, because apps cache it as Apple allows."""

    def __init__(self) -> None:
        self._retired: list[SigningKey] = []
        self.signing = SigningKey()
        # Published, but unused: Apple's set always has several keys, so a verifier that takes the
        # first or only key fails.
        self._spare = SigningKey()
        self.unpublished = SigningKey()
        """Not published: what it signs is forged."""

    def rotate(self, fields: StrictBody) -> dict[str, Any]:
        """Sign with a new key from now on. Tokens signed with the previous key still verify unless
        `drop` is set."""
        fields.allow_only(("drop",))
        retired = [] if fields.find_flag("drop") else [*self._retired, self.signing]
        self._retired, self.signing = retired, SigningKey()
        return {"signing": self.signing.kid, "keys": [key.kid for key in self._published()]}

    def as_json(self) -> dict[str, Any]:
        return {"keys": [key.as_jwk() for key in self._published()]}

    def _published(self) -> list[SigningKey]:
        return [self._spare, *self._retired, self.signing]
