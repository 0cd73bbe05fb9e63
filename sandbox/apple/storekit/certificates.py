"""The certificate chain that signs, structured like Apple's: root, intermediate and leaf.

With a keys folder, the root and the intermediate's key survive a restart, so that earlier
signatures still verify. The other certificates are created at each start, because they name the
OCSP responder, whose URL is the sandbox's own.
"""

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

# OIDs by which Apple's library recognizes the App Store's certificates.
INTERMEDIATE_OID = "1.2.840.113635.100.6.2.1"
LEAF_OID = "1.2.840.113635.100.6.11.1"
DER_NULL = b"\x05\x00"

# A long period, because a test may sign at any date, and the library checks the chain at that date.
VALID_FROM = datetime(2020, 1, 1, tzinfo=UTC)
VALID_UNTIL = datetime(2045, 1, 1, tzinfo=UTC)

ROOT_FILE = "apple-root.cer"
ROOT_KEY_FILE = "apple-root-key.pem"
INTERMEDIATE_KEY_FILE = "apple-intermediate-key.pem"


@dataclass(frozen=True)
class CertifiedKey:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def sign(self, message: bytes) -> bytes:
        """Sign with ES256: r and s concatenated, not DER."""
        r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@dataclass(frozen=True)
class Authority:
    """The keys that survive a restart."""

    root: CertifiedKey
    intermediate_key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls) -> "Authority":
        return cls(root=make_root(), intermediate_key=_new_key())

    @classmethod
    def load_or_create(cls, folder: Path) -> "Authority":
        """Load from the folder, or create and save at the first start."""
        root_file = folder / ROOT_FILE
        if root_file.exists():
            certificate = x509.load_der_x509_certificate(root_file.read_bytes())
            return cls(
                root=CertifiedKey(certificate, _read_key(folder / ROOT_KEY_FILE)),
                intermediate_key=_read_key(folder / INTERMEDIATE_KEY_FILE),
            )
        authority = cls.create()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_atomically(folder / ROOT_KEY_FILE, _as_pem(authority.root.key))
        _write_atomically(folder / INTERMEDIATE_KEY_FILE, _as_pem(authority.intermediate_key))
        # Written last: if it exists, the keys exist too.
        _write_atomically(root_file, authority.root.der)
        return authority


@dataclass(frozen=True)
class Chain:
    leaf: CertifiedKey
    intermediate: CertifiedKey
    root: CertifiedKey
    ocsp_url: str

    @classmethod
    def issue(cls, authority: Authority, *, ocsp_url: str) -> "Chain":
        intermediate = make_intermediate(
            authority.root, key=authority.intermediate_key, ocsp_url=ocsp_url
        )
        leaf = make_leaf(intermediate, ocsp_url=ocsp_url)
        return cls(leaf, intermediate, authority.root, ocsp_url)

    @property
    def x5c(self) -> list[str]:
        return as_x5c((self.leaf, self.intermediate, self.root))


def as_x5c(chain: Sequence[CertifiedKey]) -> list[str]:
    return [base64.b64encode(certified.der).decode() for certified in chain]


def make_root() -> CertifiedKey:
    return _issue("Sandbox Root CA", key=_new_key(), issuer=None, path_length=None)


def make_intermediate(
    root: CertifiedKey,
    *,
    ocsp_url: str,
    key: ec.EllipticCurvePrivateKey | None = None,
    oid: str | None = INTERMEDIATE_OID,
) -> CertifiedKey:
    return _issue(
        "Sandbox Intermediate CA",
        key=key or _new_key(),
        issuer=root,
        path_length=0,
        ocsp_url=ocsp_url,
        oid=oid,
    )


def make_leaf(
    intermediate: CertifiedKey,
    *,
    ocsp_url: str,
    oid: str | None = LEAF_OID,
    valid_until: datetime = VALID_UNTIL,
) -> CertifiedKey:
    return _issue(
        "Sandbox Signing",
        key=_new_key(),
        issuer=intermediate,
        is_authority=False,
        ocsp_url=ocsp_url,
        oid=oid,
        valid_until=valid_until,
    )


def _issue(
    name: str,
    *,
    key: ec.EllipticCurvePrivateKey,
    issuer: CertifiedKey | None,
    is_authority: bool = True,
    path_length: int | None = None,
    ocsp_url: str | None = None,
    oid: str | None = None,
    valid_until: datetime = VALID_UNTIL,
) -> CertifiedKey:
    """Issue a certificate. Self-signed without an issuer."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer_key = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(VALID_FROM)
        .not_valid_after(valid_until)
        .add_extension(x509.BasicConstraints(is_authority, path_length), critical=True)
        .add_extension(_key_usage(is_authority=is_authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        # Required by OpenSSL's strict mode, which Apple's library uses.
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    if ocsp_url:
        responder = x509.AccessDescription(
            AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(ocsp_url)
        )
        builder = builder.add_extension(
            x509.AuthorityInformationAccess([responder]), critical=False
        )
    if oid:
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), DER_NULL)
        builder = builder.add_extension(extension, critical=False)
    return CertifiedKey(builder.sign(issuer_key, hashes.SHA256()), key)


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _as_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _read_key(file: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{file} holds no key of an elliptic curve.")
    return key


def _write_atomically(file: Path, content: bytes) -> None:
    """Write the file atomically, readable by the owner only."""
    unfinished = file.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file_object:
        file_object.write(content)
    unfinished.replace(file)
