"""What an iPhone's hardware and Apple do for App Attest, under a root of our own."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from accounts.apple import app_attest

APP_ID = "SANDBOXTEAM.com.rendio.app"
DAY = timedelta(days=1)


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """A certificate and its key, which issue others."""

    def __init__(self, subject="Root", issuer=None, *, is_ca=True):
        self.key = ec.generate_private_key(ec.SECP384R1())
        self.subject = name(subject)
        self.issuer = issuer or self
        usage = dict.fromkeys(
            [
                *["digital_signature", "content_commitment", "key_encipherment", "crl_sign"],
                *["data_encipherment", "key_agreement", "encipher_only", "decipher_only"],
            ],
            False,
        )
        self.certificate = self.issuer.issues(
            self.subject,
            self.key.public_key(),
            (x509.BasicConstraints(ca=is_ca, path_length=None), True),
            (x509.KeyUsage(key_cert_sign=is_ca, **usage), True),
            (x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False),
            lasts=365 * DAY,
        )

    def issues(self, subject, public_key, *extensions, since=-DAY, lasts=2 * DAY):
        begins = datetime.now(UTC) + since
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(begins + lasts)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False
            )
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, SHA256())

    @property
    def pem(self):
        return self.certificate.public_bytes(Encoding.PEM).decode()


ROOT = Authority()
INTERMEDIATE = Authority("Intermediate", ROOT)


class Enclave:
    """A key in a phone's hardware. Everything it says can be said wrongly."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.counter = 0

    @property
    def point(self):
        return self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    @property
    def key_id(self):
        return hashlib.sha256(self.point).digest()

    @property
    def key_name(self):
        return base64.b64encode(self.key_id).decode()

    def parts(
        self,
        client_data,
        *,
        app_id=APP_ID,
        counter=0,
        aaguid=app_attest.XCODE_AAGUID,
        credential_id=None,
        public_key=None,
        nonce=None,
        nonce_prefix=app_attest.NONCE_DER_PREFIX,
        authority=INTERMEDIATE,
        **dates,
    ):
        """Of an attestation that Apple makes of this key; the dates are the leaf's."""
        credential_id = credential_id or self.key_id
        auth_data = (
            authenticator_data(app_id, counter)
            + aaguid
            + len(credential_id).to_bytes(2)
            + credential_id
            + b"the public key once more"
        )
        signed = nonce or nonce_of(auth_data, client_data)
        extension = x509.UnrecognizedExtension(app_attest.NONCE_EXTENSION, nonce_prefix + signed)
        leaf = authority.issues(
            name("Leaf"), public_key or self.key.public_key(), (extension, False), **dates
        )
        chain = [leaf, authority.certificate]
        return {
            "fmt": "apple-appattest",
            "attStmt": {
                "x5c": [one.public_bytes(Encoding.DER) for one in chain],
                "receipt": b"a receipt",
            },
            "authData": auth_data,
        }

    def attestation(self, client_data, **flaws):
        return cbor2.dumps(self.parts(client_data, **flaws))

    def assertion(self, client_data, *, app_id=APP_ID, counter=None, key=None):
        self.counter = self.counter + 1 if counter is None else counter
        auth_data = authenticator_data(app_id, self.counter)
        nonce = nonce_of(auth_data, client_data)
        signature = (key or self.key).sign(nonce, ec.ECDSA(SHA256()))
        return cbor2.dumps({"signature": signature, "authenticatorData": auth_data})


def authenticator_data(app_id, counter):
    return hashlib.sha256(app_id.encode()).digest() + b"\x40" + counter.to_bytes(4)


def nonce_of(auth_data, client_data):
    return hashlib.sha256(auth_data + hashlib.sha256(client_data).digest()).digest()


class AttestedApp:
    """The app on a phone that goes through App Attest."""

    def __init__(self, installation):
        self.phone = installation
        self.enclave = Enclave()

    def challenge(self, device_id=None):
        answer = self.phone.post(
            "attest-challenge", {"device_id": device_id or self.phone.device_id}
        )
        assert answer.status_code == 200, answer.content
        return answer.json()["challenge"]

    def body(self, *, challenge=None, attestation=None, **flaws):
        """Of attest-device."""
        challenge = challenge or self.challenge()
        return {
            "device_id": self.phone.device_id,
            "installation_secret": self.phone.installation_secret,
            "key_id": self.enclave.key_name,
            "challenge": challenge,
            "attestation": text(
                attestation or self.enclave.attestation(challenge.encode(), **flaws)
            ),
        }

    def attests(self, **flaws):
        return self.phone.post("attest-device", self.body(**flaws))

    def proof(self, *, challenge=None, client_data=None, assertion=None, **flaws):
        """`app_attest` of a device check."""
        challenge = challenge or self.challenge()
        signed = client_data or challenge.encode() + base64.b64decode(self.phone.device_token)
        return {
            "key_id": self.enclave.key_name,
            "challenge": challenge,
            "assertion": text(assertion or self.enclave.assertion(signed, **flaws)),
        }

    def checks(self, proof=None, **flaws):
        proof = proof or self.proof(**flaws)
        return self.phone.post("device-check", self.phone.check_body | {"app_attest": proof})


def text(raw):
    return base64.b64encode(raw).decode()
