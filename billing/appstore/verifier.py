"""Apple's signatures, judged by Apple's own library against one pinned root.

One verifier stands for one environment, and there are two: the library skips the signature
altogether for Xcode's, so an environment that somebody else wrote is never looked at. Whatever
comes is tried as Production's, then as Sandbox's.

What Apple signed for another app, or for an environment that is not chosen, is not genuine here.
What it signed for ours and we cannot read is Unreadable: the two are told apart in `_judged`, after
the signature has been verified.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import jwt
from appstoreserverlibrary.models.Data import Data
from appstoreserverlibrary.models.Environment import Environment as AppleEnvironment
from appstoreserverlibrary.models.ResponseBodyV2DecodedPayload import ResponseBodyV2DecodedPayload
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
from billing.appstore.payloads import LONGEST_WORD, Notice, Renewal, Transaction, Unreadable
from billing.models import Environment

# https://www.apple.com/certificateauthority/: Apple Root CA - G3, valid until 2039.
APPLE_ROOT = Path(__file__).parent / "AppleRootCA-G3.cer"
APPLE_ROOT_SHA256 = "63343abfb89a6a03ebb57e9b3f5fa7be7c4f5c756f3017b3a8c488c3653e9179"

# Well signed, and not for this verifier: the other one may take it. (Sandbox notifications lack
# the app's number, and are found out by that first.)
_NOT_THIS_ONE = {VerificationStatus.INVALID_ENVIRONMENT, VerificationStatus.INVALID_APP_IDENTIFIER}

# Unlike the environments of APPSTORE_ENVIRONMENTS, some of these are never accepted.
_KNOWN_ENVIRONMENTS = {one.value for one in AppleEnvironment}
_PARTS = ("data", "summary", "externalPurchaseToken", "appData")  # of a notification

Stated = Mapping[str, Any]
Found = TypeVar("Found")
Result = TypeVar("Result")


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
    return _Verifier(
        root_certificates=[root],
        enable_online_checks=online,
        environment=AppleEnvironment(environment.value),
        bundle_id=bundle_id,
        app_apple_id=app_id,
    )


class _Verifier(SignedDataVerifier):
    """Apple's, which judges certificates as of `signedDate` and takes a payload whose date is not a
    number for a forgery. Certificates are then judged as of now."""

    def _decode_signed_object(self, signed_obj: str) -> Any:
        try:
            return super()._decode_signed_object(signed_obj)
        except VerificationException:
            if _is_dated(stated(signed_obj)):
                raise
        try:
            header = jwt.get_unverified_header(signed_obj)
            if header["alg"] != "ES256":
                raise VerificationException(VerificationStatus.VERIFICATION_FAILURE)
            key = self._chain_verifier.verify_chain(
                header["x5c"], self._enable_online_checks, int(time.time())
            )
            return jwt.decode(signed_obj, key, algorithms=["ES256"])
        except VerificationException:
            raise
        except Exception as error:  # as Apple's library does it
            raise VerificationException(VerificationStatus.VERIFICATION_FAILURE) from error


def _is_dated(stated: Stated) -> bool:
    """Whether the certificates can be judged as of the date that is stated, if there is one."""
    signed_at = stated.get("signedDate", stated.get("receiptCreationDate"))
    if signed_at is None:
        return True
    is_number = isinstance(signed_at, int) and not isinstance(signed_at, bool)
    try:
        return is_number and payloads.find_moment(signed_at, "signedDate") is not None
    except Unreadable:
        return False


def stated(signed: str) -> Stated:
    """What a JWS states, unverified; empty where it is none."""
    try:
        found = jwt.decode(signed, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _judged(
    signed: str,
    verify: Callable[[str], Found],
    read: Callable[[Found], Result],
    find_fault: Callable[[Stated], str],
    *,
    within: str = "",
) -> Result:
    """Verify a JWS and read it.

    `find_fault` names the field for which it is not recognised as ours, or gives "" where it is
    somebody else's; `within` is where it was found.

    Raises VerificationException, Unreadable.
    """
    try:
        return read(verify(signed))
    except VerificationException as problem:
        # The signature is judged first: what has either of these statuses has passed it.
        fault = find_fault(stated(signed)) if problem.status in _NOT_THIS_ONE else ""
        if not fault:
            raise
        error: Exception = problem
    except CattrsError as problem:
        fault, error = "a field of another type", problem
        if _is_anothers(stated(signed)):
            raise VerificationException(VerificationStatus.INVALID_APP_IDENTIFIER) from problem
    except Unreadable as problem:
        fault, error = str(problem), problem
    raise Unreadable(within + fault, signed=signed, stated=stated(signed)) from error


def _transaction(
    verifier: SignedDataVerifier, environment: Environment, signed: str, *, within: str = ""
) -> Transaction:
    return _judged(
        signed,
        verifier.verify_and_decode_signed_transaction,
        lambda decoded: payloads.transaction_of(decoded, environment=environment),
        _fault_of_transaction,
        within=within,
    )


def _renewal(
    verifier: SignedDataVerifier, environment: Environment, signed: str, *, within: str = ""
) -> Renewal:
    return _judged(
        signed,
        verifier.verify_and_decode_renewal_info,
        lambda decoded: payloads.renewal_of(decoded, environment=environment),
        _fault_of_renewal,
        within=within,
    )


def _notice(verifier: SignedDataVerifier, environment: Environment, signed: str) -> Notice:
    return _judged(
        signed,
        verifier.verify_and_decode_notification,
        lambda decoded: _notice_of(verifier, environment, decoded),
        _fault_of_notification,
    )


def _notice_of(
    verifier: SignedDataVerifier, environment: Environment, decoded: ResponseBodyV2DecodedPayload
) -> Notice:
    about = decoded.data or Data()
    inner, future = about.signedTransactionInfo, about.signedRenewalInfo
    app = decoded.appData.signedAppTransactionInfo if decoded.appData else None
    return Notice(
        notification_uuid=payloads.uuid_of(decoded.notificationUUID, "notificationUUID"),
        environment=environment,
        # As Apple wrote it: the library's own enum knows only the types of its release.
        type=payloads.words(
            payloads.required(decoded.rawNotificationType, "notificationType"), longest=LONGEST_WORD
        ),
        subtype=payloads.words(decoded.rawSubtype, longest=LONGEST_WORD),
        signed_at=payloads.moment(decoded.signedDate, "signedDate"),
        transaction=_transaction(verifier, environment, inner, within="signedTransactionInfo: ")
        if inner
        else None,
        renewal=_renewal(verifier, environment, future, within="signedRenewalInfo: ")
        if future
        else None,
        app_transaction_id=_app_transaction_id(verifier, app) if app else "",
        refund_reason=payloads.words(about.rawConsumptionRequestReason, longest=LONGEST_WORD),
    )


def _app_transaction_id(verifier: SignedDataVerifier, signed: str) -> str:
    return _judged(
        signed,
        verifier.verify_and_decode_app_transaction,
        lambda decoded: payloads.identifier(decoded.appTransactionId, "appTransactionId"),
        _fault_of_app_transaction,
        within="signedAppTransactionInfo: ",
    )


# --- What was signed, and not recognised as ours ------------------------------------------------


def _fault_of_transaction(stated: Stated) -> str:
    """The field that keeps a genuine transaction from being recognised; "" where it is for another
    app or environment, or is no transaction."""
    is_transaction = "transactionId" in stated or {"productId", "purchaseDate"} <= stated.keys()
    if not is_transaction or _is_anothers(stated):
        return ""
    return _missing(stated, "bundleId") or _fault_of_environment(stated)


def _fault_of_renewal(stated: Stated) -> str:
    """The same of a renewal, which names no app. It is trusted within what does."""
    return _fault_of_environment(stated)


def _fault_of_app_transaction(stated: Stated) -> str:
    if _is_anothers(stated):
        return ""
    return _missing(stated, "bundleId") or _fault_of_environment(stated, name="receiptType")


def _fault_of_notification(stated: Stated) -> str:
    is_notification = "notificationType" in stated or "notificationUUID" in stated
    parts = {name: part for name, part in stated.items() if isinstance(part, dict)}
    if not is_notification or any(_is_anothers(part) for part in parts.values()):
        return ""
    name = next((name for name in _PARTS if name in parts), None)
    if name is None:
        return " or ".join(_PARTS)
    part = parts[name]
    if name == "externalPurchaseToken":
        return _missing(part, "bundleId")
    is_numbered = part.get("environment") != Environment.PRODUCTION or part.get("appAppleId")
    return (
        _missing(part, "bundleId")
        or _fault_of_environment(part)
        or ("" if is_numbered else "appAppleId")
    )


def _is_anothers(stated: Stated) -> bool:
    """Whether this names another app, or an environment that is not chosen."""
    bundle_id, app_id = stated.get("bundleId"), stated.get("appAppleId")
    environment = stated.get("environment", stated.get("receiptType"))
    return (
        (isinstance(bundle_id, str) and bundle_id not in ("", settings.APPSTORE_BUNDLE_ID))
        or (isinstance(app_id, int) and app_id != settings.APPSTORE_APP_ID)
        or (_is_known(environment) and environment not in settings.APPSTORE_ENVIRONMENTS)
    )


def _is_known(environment: object) -> bool:
    return isinstance(environment, str) and environment in _KNOWN_ENVIRONMENTS


def _fault_of_environment(stated: Stated, *, name: str = "environment") -> str:
    """One that Apple does not have today; another of Apple's is for another verifier."""
    return "" if _is_known(stated.get(name)) else name


def _missing(stated: Stated, name: str) -> str:
    return "" if stated.get(name) else name
