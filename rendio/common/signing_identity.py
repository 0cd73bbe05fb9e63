"""Certificates with their private key, to sign Content Credentials (C2PA)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SigningIdentity:
    """`certificates` is the chain as PEM, ours first. `algorithm` is C2PA's name."""

    certificates: str
    private_key: str = field(repr=False)  # PKCS #8, as PEM
    algorithm: str


def parse(certificates: str, private_key: str) -> SigningIdentity:
    """Raises ValueError, without any part of the key."""
    # Imported only where credentials are configured.
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        own, *_ = x509.load_pem_x509_certificates(certificates.encode())
    except ValueError:
        raise ValueError("no PEM certificates") from None
    try:
        key = serialization.load_pem_private_key(private_key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("no PEM private key without a password") from None
    if key.public_key() != own.public_key():
        raise ValueError("the private key is not that of the first certificate")
    return SigningIdentity(
        certificates,
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
        _algorithm(key),
    )


def _algorithm(key: object) -> str:
    """Raises ValueError for a kind of key that C2PA does not have."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return "ps256"
    if isinstance(key, ec.EllipticCurvePrivateKey):
        by_curve = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
        if key.curve.name in by_curve:
            return by_curve[key.curve.name]
    raise ValueError("not a key of P-256, P-384, P-521, Ed25519 or RSA with 2048 bits")
