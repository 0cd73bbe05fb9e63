"""Forged transactions and notifications, with one flaw each.

Everything else is correct, so a verifier that accepts one does not check that flaw.
"""

import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives import serialization

from sandbox.apple.jws import encode
from sandbox.apple.storekit.certificates import (
    CertifiedKey,
    Chain,
    as_x5c,
    make_intermediate,
    make_leaf,
    make_root,
)

Payload = Mapping[str, Any]
InvalidSigner = Callable[[Payload, Chain], str]

EXPIRED_AT = datetime(2021, 1, 1, tzinfo=UTC)


def _signed(
    payload: Payload, chain: Sequence[CertifiedKey], *, by: CertifiedKey | None = None
) -> str:
    return encode({"alg": "ES256", "x5c": as_x5c(chain)}, payload, (by or chain[0]).sign)


def foreign_root(payload: Payload, genuine: Chain) -> str:
    """A correct chain below an untrusted root."""
    root = make_root()
    intermediate = make_intermediate(root, ocsp_url=genuine.ocsp_url)
    leaf = make_leaf(intermediate, ocsp_url=genuine.ocsp_url)
    return _signed(payload, (leaf, intermediate, root))


def chain_of_two(payload: Payload, genuine: Chain) -> str:
    return _signed(payload, (genuine.leaf, genuine.intermediate))


def chain_of_four(payload: Payload, genuine: Chain) -> str:
    return _signed(payload, (genuine.leaf, genuine.intermediate, genuine.root, genuine.root))


def leaf_without_oid(payload: Payload, genuine: Chain) -> str:
    """A certificate of Apple's for another purpose."""
    leaf = make_leaf(genuine.intermediate, ocsp_url=genuine.ocsp_url, oid=None)
    return _signed(payload, (leaf, genuine.intermediate, genuine.root))


def intermediate_without_oid(payload: Payload, genuine: Chain) -> str:
    intermediate = make_intermediate(genuine.root, ocsp_url=genuine.ocsp_url, oid=None)
    leaf = make_leaf(intermediate, ocsp_url=genuine.ocsp_url)
    return _signed(payload, (leaf, intermediate, genuine.root))


def expired_chain(payload: Payload, genuine: Chain) -> str:
    leaf = make_leaf(genuine.intermediate, ocsp_url=genuine.ocsp_url, valid_until=EXPIRED_AT)
    return _signed(payload, (leaf, genuine.intermediate, genuine.root))


def bad_signature(payload: Payload, genuine: Chain) -> str:
    """The genuine chain, but signed with another key."""
    chain = (genuine.leaf, genuine.intermediate, genuine.root)
    return _signed(payload, chain, by=genuine.intermediate)


def xcode(payload: Payload, genuine: Chain) -> str:
    """Signed as by Xcode's local testing, with its own certificate, for an environment in which
    Apple's library does not check signatures."""
    return _signed(_in_environment(payload, "Xcode"), (make_root(),))


def local_testing(payload: Payload, genuine: Chain) -> str:
    return _signed(_in_environment(payload, "LocalTesting"), (make_root(),))


def algorithm_none(payload: Payload, genuine: Chain) -> str:
    return encode({"alg": "none", "x5c": genuine.x5c}, payload, lambda _: b"")


def algorithm_hs256(payload: Payload, genuine: Chain) -> str:
    """A verifier that trusts the token's algorithm would use the public key as the HMAC secret."""
    secret = genuine.leaf.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    header = {"alg": "HS256", "x5c": genuine.x5c}
    return encode(header, payload, lambda message: hmac.digest(secret, message, "sha256"))


def _in_environment(payload: Payload, environment: str) -> Payload:
    if "data" not in payload:
        return {**payload, "environment": environment}
    return {**payload, "data": {**payload["data"], "environment": environment}}


FLAWS: dict[str, InvalidSigner] = {
    forge.__name__: forge
    for forge in (
        foreign_root,
        chain_of_two,
        chain_of_four,
        leaf_without_oid,
        intermediate_without_oid,
        expired_chain,
        bad_signature,
        xcode,
        local_testing,
        algorithm_none,
        algorithm_hs256,
    )
}
