"""Verification of Apple's signatures by Apple's library, against one pinned root certificate.

There is one verifier for each of two environments. The environment that an unverified payload names
is never used, since the library skips the signature for Xcode's. A payload is tried as
Production's, then as Sandbox's.

A payload that Apple signed for another app, or for an environment that is not enabled, is not
genuine here. One that Apple signed for our app and we cannot read is Unreadable.
`_verify_and_parse` tells them apart, after the signature has been verified.
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
from billing.appstore.payloads import (
    MAX_WORD,
    DecodedNotification,
    Renewal,
    Transaction,
    Unreadable,
)
from billing.models import Environment

# https://www.apple.com/certificateauthority/: Apple Root CA - G3, valid until 2039.
APPLE_ROOT = Path(__file__).parent / "AppleRootCA-G3.cer"
APPLE_ROOT_SHA256 = "63343abfb89a6a03ebb57e9b3f5fa7be7c4f5c756f3017b3a8c488c3653e9179"

# Signed by Apple, but not for this verifier: the other one may accept it. (Sandbox notifications
# lack the app's number, which the library checks first.)
_OTHER_TARGET = {VerificationStatus.INVALID_ENVIRONMENT, VerificationStatus.INVALID_APP_IDENTIFIER}

# All of Apple's environments, including those that APPSTORE_ENVIRONMENTS never accepts.
_KNOWN_ENVIRONMENTS = {one.value for one in AppleEnvironment}
_NOTIFICATION_PARTS = ("data", "summary", "externalPurchaseToken", "appData")  # of a notification

Claims = Mapping[str, Any]
T = TypeVar("T")
R = TypeVar("R")


class NotGenuine(Exception):
    """Apple did not sign the payload for us. The text gives the reason."""


class VerificationUnavailable(Exception):
    """Apple could not be asked whether its certificates are revoked. The payload may be genuine."""


class WrongRoot(Exception):
    """Our copy of Apple's root certificate is not Apple's."""


def read_transaction(signed_transaction: str) -> Transaction:
    """Raises NotGenuine, Unreadable."""
    return _read(
        lambda verifier, environment: _transaction(verifier, environment, signed_transaction)
    )


def read_renewal(signed_renewal: str) -> Renewal:
    """Raises NotGenuine, Unreadable."""
    return _read(lambda verifier, environment: _renewal(verifier, environment, signed_renewal))


def read_notification(signed_payload: str, *, online: bool = False) -> DecodedNotification:
    """Verify and parse a notification, with the transaction and the renewal info in it, each of
    which has its own signature.

    `online` asks Apple whether its certificates have been revoked (OCSP). That takes up to a
    minute, so never within a request. Raises NotGenuine, VerificationUnavailable, Unreadable.
    """
    return _read(
        lambda verifier, environment: _notification(verifier, environment, signed_payload),
        online=online,
    )


def root_certificate() -> bytes:
    """Return the only trusted root certificate, as DER. Raises WrongRoot for a file that is not
    Apple's root or, in development, not a certificate.
    """
    path = Path(settings.APPSTORE_ROOT_CERTIFICATE or APPLE_ROOT)
    try:
        certificate = x509.load_der_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise WrongRoot(f"{path}: {error}") from error
    if path == APPLE_ROOT and certificate.fingerprint(SHA256()).hex() != APPLE_ROOT_SHA256:
        raise WrongRoot(f"{path} is not Apple Root CA - G3")
    return path.read_bytes()


def _read(read: Callable[[SignedDataVerifier, Environment], T], *, online: bool = False) -> T:
    refused = "no environment"
    for name in settings.APPSTORE_ENVIRONMENTS:
        environment = Environment(name)
        try:
            return read(_get_verifier(environment, online=online), environment)
        except VerificationException as problem:
            refused = problem.status.name
            if problem.status == VerificationStatus.RETRYABLE_VERIFICATION_FAILURE:
                raise VerificationUnavailable(refused) from problem
            if problem.status not in _OTHER_TARGET:
                break
    raise NotGenuine(refused)


def _get_verifier(environment: Environment, *, online: bool) -> SignedDataVerifier:
    return _verifier(
        environment,
        online,
        root_certificate(),
        settings.APPSTORE_BUNDLE_ID,
        settings.APPSTORE_APP_ID,
    )


# Cached: the object holds the library's cache of online checks, for a quarter of an hour.
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
    """Apple's library validates certificates as of `signedDate`, and reports a payload whose date
    is not a number as a forgery. This class then validates them as of now.
    """

    def _decode_signed_object(self, signed_obj: str) -> Any:
        try:
            return super()._decode_signed_object(signed_obj)
        except VerificationException:
            if _has_valid_date(decode_unverified(signed_obj)):
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


def _has_valid_date(claims: Claims) -> bool:
    """Whether the certificates can be validated as of the claimed date, if there is one."""
    signed_at = claims.get("signedDate", claims.get("receiptCreationDate"))
    if signed_at is None:
        return True
    is_number = isinstance(signed_at, int) and not isinstance(signed_at, bool)
    try:
        return is_number and payloads.parse_optional_time(signed_at, "signedDate") is not None
    except Unreadable:
        return False


def decode_unverified(signed: str) -> Claims:
    """Return a JWS's claims, unverified; empty if it is no JWS."""
    try:
        found = jwt.decode(signed, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _verify_and_parse(
    signed: str,
    verify: Callable[[str], T],
    read: Callable[[T], R],
    find_fault: Callable[[Claims], str],
    *,
    within: str = "",
) -> R:
    """Verify a JWS and parse it.

    `find_fault` names the field that keeps it from being recognised as ours, or returns "" if it is
    somebody else's. `within` is the field that contained it.

    Raises VerificationException, Unreadable.
    """
    try:
        return read(verify(signed))
    except VerificationException as problem:
        # The library checks the signature first: with these statuses it was valid.
        fault = find_fault(decode_unverified(signed)) if problem.status in _OTHER_TARGET else ""
        if not fault:
            raise
        error: Exception = problem
    except CattrsError as problem:
        fault, error = "a field of another type", problem
        if _is_for_another_target(decode_unverified(signed)):
            raise VerificationException(VerificationStatus.INVALID_APP_IDENTIFIER) from problem
    except Unreadable as problem:
        fault, error = str(problem), problem
    raise Unreadable(within + fault, signed=signed, claims=decode_unverified(signed)) from error


def _transaction(
    verifier: SignedDataVerifier, environment: Environment, signed: str, *, within: str = ""
) -> Transaction:
    return _verify_and_parse(
        signed,
        verifier.verify_and_decode_signed_transaction,
        lambda decoded: payloads.parse_transaction(decoded, environment=environment),
        _transaction_fault,
        within=within,
    )


def _renewal(
    verifier: SignedDataVerifier, environment: Environment, signed: str, *, within: str = ""
) -> Renewal:
    return _verify_and_parse(
        signed,
        verifier.verify_and_decode_renewal_info,
        lambda decoded: payloads.parse_renewal(decoded, environment=environment),
        _renewal_fault,
        within=within,
    )


def _notification(
    verifier: SignedDataVerifier, environment: Environment, signed: str
) -> DecodedNotification:
    return _verify_and_parse(
        signed,
        verifier.verify_and_decode_notification,
        lambda decoded: _build_notification(verifier, environment, decoded),
        _notification_fault,
    )


def _build_notification(
    verifier: SignedDataVerifier, environment: Environment, decoded: ResponseBodyV2DecodedPayload
) -> DecodedNotification:
    about = decoded.data or Data()
    inner, future = about.signedTransactionInfo, about.signedRenewalInfo
    app = decoded.appData.signedAppTransactionInfo if decoded.appData else None
    return DecodedNotification(
        notification_uuid=payloads.require_uuid(decoded.notificationUUID, "notificationUUID"),
        environment=environment,
        # Raw value: the library's enum only knows the types of its release.
        type=payloads.truncate_text(
            payloads.require_text(decoded.rawNotificationType, "notificationType"),
            max_length=MAX_WORD,
        ),
        subtype=payloads.truncate_text(decoded.rawSubtype, max_length=MAX_WORD),
        signed_at=payloads.parse_time(decoded.signedDate, "signedDate"),
        transaction=_transaction(verifier, environment, inner, within="signedTransactionInfo: ")
        if inner
        else None,
        renewal=_renewal(verifier, environment, future, within="signedRenewalInfo: ")
        if future
        else None,
        app_transaction_id=_app_transaction_id(verifier, app) if app else "",
        refund_reason=payloads.truncate_text(
            about.rawConsumptionRequestReason, max_length=MAX_WORD
        ),
    )


def _app_transaction_id(verifier: SignedDataVerifier, signed: str) -> str:
    return _verify_and_parse(
        signed,
        verifier.verify_and_decode_app_transaction,
        lambda decoded: payloads.require_id(decoded.appTransactionId, "appTransactionId"),
        _app_transaction_fault,
        within="signedAppTransactionInfo: ",
    )


# --- Signed by Apple, but not recognised as ours --------------------------------------------------


def _transaction_fault(claims: Claims) -> str:
    """Return the field that keeps a genuine transaction from being recognised; "" if it is for
    another app or environment, or no transaction.
    """
    is_transaction = "transactionId" in claims or {"productId", "purchaseDate"} <= claims.keys()
    if not is_transaction or _is_for_another_target(claims):
        return ""
    return _missing(claims, "bundleId") or _environment_fault(claims)


def _renewal_fault(claims: Claims) -> str:
    """Renewal info names no app. It is trusted within a payload that does."""
    return _environment_fault(claims)


def _app_transaction_fault(claims: Claims) -> str:
    if _is_for_another_target(claims):
        return ""
    return _missing(claims, "bundleId") or _environment_fault(claims, name="receiptType")


def _notification_fault(claims: Claims) -> str:
    is_notification = "notificationType" in claims or "notificationUUID" in claims
    parts = {name: part for name, part in claims.items() if isinstance(part, dict)}
    if not is_notification or any(_is_for_another_target(part) for part in parts.values()):
        return ""
    name = next((name for name in _NOTIFICATION_PARTS if name in parts), None)
    if name is None:
        return " or ".join(_NOTIFICATION_PARTS)
    part = parts[name]
    if name == "externalPurchaseToken":
        return _missing(part, "bundleId")
    is_numbered = part.get("environment") != Environment.PRODUCTION or part.get("appAppleId")
    return (
        _missing(part, "bundleId")
        or _environment_fault(part)
        or ("" if is_numbered else "appAppleId")
    )


def _is_for_another_target(claims: Claims) -> bool:
    """Whether the claims name another app, or an environment that is not enabled."""
    bundle_id, app_id = claims.get("bundleId"), claims.get("appAppleId")
    environment = claims.get("environment", claims.get("receiptType"))
    return (
        (isinstance(bundle_id, str) and bundle_id not in ("", settings.APPSTORE_BUNDLE_ID))
        or (isinstance(app_id, int) and app_id != settings.APPSTORE_APP_ID)
        or (
            _is_apple_environment(environment) and environment not in settings.APPSTORE_ENVIRONMENTS
        )
    )


def _is_apple_environment(environment: object) -> bool:
    return isinstance(environment, str) and environment in _KNOWN_ENVIRONMENTS


def _environment_fault(claims: Claims, *, name: str = "environment") -> str:
    """Return `name` unless Apple has this environment. Another one of Apple's is for another
    verifier.
    """
    return "" if _is_apple_environment(claims.get(name)) else name


def _missing(claims: Claims, name: str) -> str:
    return "" if claims.get(name) else name
