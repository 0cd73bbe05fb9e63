"""App Attest: verify that a genuine copy of our app on a genuine Apple device holds and uses a key.

The steps are Apple's ("Validating Apps That Connect to Your Server"), without any request.
accounts.services.attestation makes sure that a challenge counts once and that a counter only grows.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import cbor2
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError
from django.conf import settings

# "Apple App Attestation Root CA" from Apple's private PKI page.
APPLE_ROOT = Path(__file__).with_name("apple_app_attestation_root_ca.pem")
# In the leaf: SEQUENCE { [1] { OCTET STRING } }; the string is the nonce.
NONCE_EXTENSION = x509.ObjectIdentifier("1.2.840.113635.100.8.2")
NONCE_DER_PREFIX = bytes.fromhex("3024a1220420")
# The environment: an app from the store or TestFlight, or one built by Xcode.
STORE_AAGUID, XCODE_AAGUID = b"appattest".ljust(16, b"\0"), b"appattestdevelop"

T = TypeVar("T")


class NotGenuine(Exception):
    """Verification failed. The message names the failing step, for the log."""


@dataclass(frozen=True)
class VouchedKey:
    """A key that Apple attests: the app's id, the public key (X9.62, uncompressed) and the receipt
    for Apple's fraud metric, which cannot be fetched later."""

    app_id: str
    public_key: bytes
    receipt: bytes


def verify_attestation(
    attestation: bytes, *, key_id: bytes, client_data: bytes, now: datetime
) -> VouchedKey:
    """The key of this attestation object. Raises NotGenuine."""
    parts = _decoded(attestation)
    _demand(_part(parts, "fmt", str) == "apple-appattest", "fmt")
    statement, auth_data = _part(parts, "attStmt", dict), _part(parts, "authData", bytes)
    leaf = _leaf(_part(statement, "x5c", list), now=now)
    _demand(_signed_nonce(leaf) == _nonce(auth_data, client_data), "nonce")
    public_key = _point(leaf)
    _demand(hashlib.sha256(public_key).digest() == key_id, "key id")
    app_id = _app(auth_data, _our_apps())
    _demand(_counter(auth_data) == 0, "counter")
    _demand(auth_data[37:53] in _aaguids(), "aaguid")
    # A length (2 bytes) and the id; after it comes the public key, which we have already.
    _demand(auth_data[53:87] == len(key_id).to_bytes(2) + key_id, "credential id")
    return VouchedKey(app_id, public_key, receipt=_part(statement, "receipt", bytes))


def verify_assertion(
    assertion: bytes, *, client_data: bytes, app_id: str, public_key: bytes
) -> int:
    """The counter of an assertion that the key signed over this data. Raises NotGenuine."""
    parts = _decoded(assertion)
    auth_data = _part(parts, "authenticatorData", bytes)
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
    try:
        key.verify(
            _part(parts, "signature", bytes), _nonce(auth_data, client_data), ec.ECDSA(SHA256())
        )
    except InvalidSignature as error:
        raise NotGenuine("signature") from error
    _app(auth_data, [app_id])
    return _counter(auth_data)


def _decoded(data: bytes) -> Any:
    """The only CBOR object in `data`. cbor2 limits the depth, and refuses lengths beyond the
    data."""
    stream = io.BytesIO(data)
    try:
        decoded = cbor2.CBORDecoder(
            stream, allow_indefinite=False, allow_duplicate_keys=False
        ).decode()
    except cbor2.CBORDecodeError as error:
        raise NotGenuine("cbor") from error
    _demand(not stream.read(1), "bytes behind the object")
    return decoded


def _part(parts: Any, name: str, kind: type[T]) -> T:
    value = parts.get(name) if isinstance(parts, dict) else None
    if not isinstance(value, kind):
        raise NotGenuine(name)
    return value


def _leaf(chain: list[Any], *, now: datetime) -> x509.Certificate:
    """The first certificate, if the others lead from it to the root."""
    try:
        leaf, *others = [x509.load_der_x509_certificate(one) for one in chain]
        policy = PolicyBuilder().store(_root(settings.APP_ATTEST_ROOT)).time(now)
        policy = policy.extension_policies(
            ca_policy=ExtensionPolicy.webpki_defaults_ca(),
            # Apple's leaves are not for the web: no host name, no purpose, no issuer's key id.
            ee_policy=ExtensionPolicy.permit_all(),
        )
        policy.build_client_verifier().verify(leaf, others)
    except (VerificationError, x509.InvalidVersion, ValueError, TypeError) as error:
        raise NotGenuine("certificates") from error
    return leaf


@lru_cache(maxsize=2)
def _root(pem: str) -> Store:
    """The trusted root: Apple's, unless the settings name another one for tests."""
    return Store([x509.load_pem_x509_certificate(pem.encode() or APPLE_ROOT.read_bytes())])


def _signed_nonce(leaf: x509.Certificate) -> bytes:
    try:
        extension = leaf.extensions.get_extension_for_oid(NONCE_EXTENSION).value
    except (x509.ExtensionNotFound, ValueError) as error:
        raise NotGenuine("nonce") from error
    der = extension.public_bytes()
    _demand(der.startswith(NONCE_DER_PREFIX), "nonce")
    return der.removeprefix(NONCE_DER_PREFIX)


def _point(leaf: x509.Certificate) -> bytes:
    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise NotGenuine("kind of key")
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _nonce(auth_data: bytes, client_data: bytes) -> bytes:
    return hashlib.sha256(auth_data + hashlib.sha256(client_data).digest()).digest()


def _app(auth_data: bytes, app_ids: list[str]) -> str:
    """Which of these apps it is: authenticator data starts with the hash of the app id."""
    for app_id in app_ids:
        if auth_data[:32] == hashlib.sha256(app_id.encode()).digest():
            return app_id
    raise NotGenuine("app")


def _our_apps() -> list[str]:
    return [f"{settings.APPLE_TEAM_ID}.{bundle_id}" for bundle_id in settings.APPLE_CLIENT_IDS]


def _aaguids() -> set[bytes]:
    return {STORE_AAGUID} if settings.PRODUCTION else {STORE_AAGUID, XCODE_AAGUID}


def _counter(auth_data: bytes) -> int:
    """How often the key has signed: 4 bytes after the hash and the flags."""
    return int.from_bytes(auth_data[33:37])


def _demand(is_so: bool, step: str) -> None:
    if not is_so:
        raise NotGenuine(step)
