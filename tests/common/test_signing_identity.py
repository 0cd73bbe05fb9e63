"""A certificate for Content Credentials is checked at the start; its key is never shown."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from rendio.config import environment
from tests.helpers.content_credentials import certificate_and_key

NAMES = ("C2PA_CERTIFICATES", "C2PA_PRIVATE_KEY")
KEYS = {
    "es256": ec.generate_private_key(ec.SECP256R1()),
    "es384": ec.generate_private_key(ec.SECP384R1()),
    "es512": ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "ps256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "other curve": ec.generate_private_key(ec.SECP256K1()),
}


@pytest.fixture
def read(monkeypatch):
    """What is read of these two variables, and what is refused."""

    def read(chain: str, key: str):
        problems: list[str] = []
        monkeypatch.setattr(environment, "problems", problems)
        for name, value in zip(NAMES, (chain, key), strict=True):
            monkeypatch.setitem(environment.env.ENVIRON, name, value)
        return environment.signing_identity(*NAMES), problems

    return read


def certificate_of(key) -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Rendio")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM).decode()


def pem(key, *, password: bytes | None = None, pkcs8: bool = True) -> str:
    formats = serialization.PrivateFormat
    kind = formats.PKCS8 if pkcs8 else formats.TraditionalOpenSSL
    encryption = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, kind, encryption).decode()


@pytest.mark.parametrize("algorithm", ["es256", "es384", "es512", "ed25519", "ps256"])
def test_the_algorithm_follows_from_the_key(read, algorithm):
    key = KEYS[algorithm]

    identity, problems = read(certificate_of(key), pem(key))

    assert (problems, identity.algorithm) == ([], algorithm)


def test_base64_and_an_older_format_of_the_key_are_read(read):
    chain, _ = certificate_and_key()
    key = KEYS["es256"]
    as_base64 = base64.b64encode(certificate_of(key).encode() + chain.encode()).decode()

    identity, problems = read(as_base64, pem(key, pkcs8=False))

    assert problems == []
    assert identity.certificates.count("BEGIN CERTIFICATE") == 3
    assert identity.private_key == pem(key)
    assert "PRIVATE" not in repr(identity)


def test_neither_is_no_identity(read):
    assert read("", "") == (None, [])


KEY = KEYS["es256"]


@pytest.mark.parametrize(
    ("chain", "key", "problem"),
    [
        ("", pem(KEY), "C2PA_CERTIFICATES is missing"),
        (certificate_of(KEY), "", "C2PA_PRIVATE_KEY is missing"),
        ("-----BEGIN CERTIFICATE-----", pem(KEY), "no PEM certificates"),
        (certificate_of(KEY), "-----BEGIN PRIVATE KEY-----", "no PEM private key"),
        (certificate_of(KEY), pem(KEY, password=b"secret"), "without a password"),
        (certificate_of(KEY), pem(KEYS["es384"]), "not that of the first certificate"),
        (certificate_of(KEYS["other curve"]), pem(KEYS["other curve"]), "not a key of P-256"),
    ],
)
def test_what_cannot_sign_is_refused(read, chain, key, problem):
    identity, [told] = read(chain, key)

    assert identity is None
    assert problem in told
    assert "PRIVATE KEY-" not in told
