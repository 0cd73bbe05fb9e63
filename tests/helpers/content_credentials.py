"""Content Credentials (C2PA): a signer of our own, and what is read of a file."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from c2pa import (
    Builder,
    C2paBuilderIntent,
    C2paDigitalSourceType,
    C2paSignerInfo,
    Reader,
    Signer,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@cache
def certificate_and_key(organization: str = "A supplier", *, days: int = 30) -> tuple[str, str]:
    """The chain and the private key, as PEM. The root is one that nobody trusts."""
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate(f"{organization}'s root", root_key, root_key, f"{organization}'s root")
    leaf = _certificate(organization, key, root_key, f"{organization}'s root", days=days)
    chain = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (leaf, root))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return chain.decode(), private.decode()


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    issuer: str,
    *,
    days: int = 3650,
) -> x509.Certificate:
    is_root = subject == issuer
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "encipher_only", "decipher_only"), False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_root, key_cert_sign=is_root, crl_sign=is_root, **usage
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    if not is_root:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    kinds = (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)
    return x509.Name([x509.NameAttribute(kind, text) for kind in kinds])


def with_credentials(content: bytes, mime_type: str) -> bytes:
    """The file as a supplier delivers it that signs what its models make."""
    chain, key = certificate_and_key()
    builder = Builder({"claim_generator_info": [{"name": "A supplier"}], "format": mime_type})
    builder.set_intent(C2paBuilderIntent.CREATE, C2paDigitalSourceType.TRAINED_ALGORITHMIC_MEDIA)
    signer = Signer.from_info(C2paSignerInfo("es256", chain.encode(), key.encode(), None))
    signed = io.BytesIO()
    builder.sign(signer, mime_type, io.BytesIO(content), signed)
    return signed.getvalue()


def read_credentials(content: bytes) -> dict[str, Any] | None:
    """The manifest store, of credentials that fit the file. None without credentials."""
    reader = Reader.try_create(io.BytesIO(content))
    if reader is None:
        return None
    store: dict[str, Any] = json.loads(reader.json())
    assert store["validation_state"] == "Valid", store["validation_status"]
    return store


def active_manifest(content: bytes) -> dict[str, Any]:
    store = read_credentials(content)
    assert store
    manifest: dict[str, Any] = store["manifests"][store["active_manifest"]]
    return manifest
