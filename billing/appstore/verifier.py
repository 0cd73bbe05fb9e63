"""Apple's signatures, judged by Apple's own library against one pinned root.

One verifier stands for one environment, and there are two: the library skips the signature
altogether for Xcode's, so an environment that somebody else wrote is never looked at. Whatever
comes is tried as Production's, then as Sandbox's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

from appstoreserverlibrary.models.Data import Data
from appstoreserverlibrary.models.Environment import Environment as AppleEnvironment
from appstoreserverlibrary.signed_data_verifier import (
    SignedDataVerifier,
    VerificationException,
    VerificationStatus,
)
from cattrs.errors import CattrsError
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from django.conf import settings

from billing.appstore import payloads
from billing.appstore.payloads import LONGEST_WORD, Notice, Renewal, Transaction
from billing.models import Environment

# https://www.apple.com/certificateauthority/: Apple Root CA - G3, valid until 2039.
APPLE_ROOT = Path(__file__).parent / "AppleRootCA-G3.cer"
APPLE_ROOT_SHA256 = "63343abfb89a6a03ebb57e9b3f5fa7be7c4f5c756f3017b3a8c488c3653e9179"

# Well signed, and not for this verifier: the other one may take it. (Sandbox notifications lack
# the app's number, and are found out by that first.)
_NOT_THIS_ONE = {VerificationStatus.INVALID_ENVIRONMENT, VerificationStatus.INVALID_APP_IDENTIFIER}

Found = TypeVar("Found")


class NotGenuine(Exception):
    """Apple did not sign this for us. The text says what is wrong with it."""


class NotVerified(Exception):
    """Apple could not be asked whether its certificates still hold; it may be genuine."""


class WrongRoot(Exception):
    """Our own copy of Apple's root is not Apple's root."""


def read_transaction(signed_transaction: str) -> Transaction:
    """Raises NotGenuine, Unreadable."""
    return _read(
        lambda verifier, environment: _transaction(verifier, environment, signed_transaction)
    )


def read_renewal(signed_renewal: str) -> Renewal:
    """Raises NotGenuine, Unreadable."""
    return _read(lambda verifier, environment: _renewal(verifier, environment, signed_renewal))


def read_notification(signed_payload: str, *, online: bool = False) -> Notice:
    """The notification with the transaction and the renewal in it, each signed by itself.

    `online` asks Apple whether its certificates have been revoked (OCSP): up to a minute, so never
    within a request. Raises NotGenuine, NotVerified, Unreadable.
    """
    return _read(
        lambda verifier, environment: _notice(verifier, environment, signed_payload), online=online
    )


def root_certificate() -> bytes:
    """The only root that we trust, as DER. Raises WrongRoot for a file that is not Apple's, or in
    development no certificate."""
    path = Path(settings.APPSTORE_ROOT_CERTIFICATE or APPLE_ROOT)
    try:
        certificate = x509.load_der_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise WrongRoot(f"{path}: {error}") from error
    if path == APPLE_ROOT and certificate.fingerprint(SHA256()).hex() != APPLE_ROOT_SHA256:
        raise WrongRoot(f"{path} is not Apple Root CA - G3")
    return path.read_bytes()


def _read(
    read: Callable[[SignedDataVerifier, Environment], Found], *, online: bool = False
) -> Found:
    refused = "no environment"
    for name in settings.APPSTORE_ENVIRONMENTS:
        environment = Environment(name)
        try:
            return read(_configured(environment, online=online), environment)
        except VerificationException as problem:
            refused = problem.status.name
            if problem.status == VerificationStatus.RETRYABLE_VERIFICATION_FAILURE:
                raise NotVerified(refused) from problem
            if problem.status not in _NOT_THIS_ONE:
                break
        except CattrsError as error:
            raise payloads.Unreadable("a field of another type") from error
    raise NotGenuine(refused)


def _configured(environment: Environment, *, online: bool) -> SignedDataVerifier:
    return _verifier(
        environment,
        online,
        root_certificate(),
        settings.APPSTORE_BUNDLE_ID,
        settings.APPSTORE_APP_ID,
    )


# Kept, because Apple's library remembers in it for a quarter of an hour what it asked online.
@cache
def _verifier(
    environment: Environment, online: bool, root: bytes, bundle_id: str, app_id: int
) -> SignedDataVerifier:
    return SignedDataVerifier(
        root_certificates=[root],
        enable_online_checks=online,
        environment=AppleEnvironment(environment.value),
        bundle_id=bundle_id,
        app_apple_id=app_id,
    )


def _transaction(
    verifier: SignedDataVerifier, environment: Environment, signed: str
) -> Transaction:
    decoded = verifier.verify_and_decode_signed_transaction(signed)
    return payloads.transaction_of(decoded, environment=environment)


def _renewal(verifier: SignedDataVerifier, environment: Environment, signed: str) -> Renewal:
    decoded = verifier.verify_and_decode_renewal_info(signed)
    return payloads.renewal_of(decoded, environment=environment)


def _notice(verifier: SignedDataVerifier, environment: Environment, signed: str) -> Notice:
    decoded = verifier.verify_and_decode_notification(signed)
    about = decoded.data or Data()
    inner, future = about.signedTransactionInfo, about.signedRenewalInfo
    app = decoded.appData.signedAppTransactionInfo if decoded.appData else None
    return Notice(
        notification_uuid=payloads.uuid_of(decoded.notificationUUID, "notificationUUID"),
        environment=environment,
        # As Apple wrote it: the library's own enum knows only the types of its release.
        type=payloads.required(decoded.rawNotificationType, "notificationType")[:LONGEST_WORD],
        subtype=(decoded.rawSubtype or "")[:LONGEST_WORD],
        signed_at=payloads.moment(decoded.signedDate, "signedDate"),
        transaction=_transaction(verifier, environment, inner) if inner else None,
        renewal=_renewal(verifier, environment, future) if future else None,
        app_transaction_id=_app_transaction_id(verifier, app) if app else "",
        refund_reason=(about.rawConsumptionRequestReason or "")[:LONGEST_WORD],
    )


def _app_transaction_id(verifier: SignedDataVerifier, signed: str) -> str:
    decoded = verifier.verify_and_decode_app_transaction(signed)
    return payloads.required(decoded.appTransactionId, "appTransactionId")
