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

# Well signed, and not for this verifier: the other one may take it. (Sandbox notifications lack
# the app's number, and are found out by that first.)
_OTHER_TARGET = {VerificationStatus.INVALID_ENVIRONMENT, VerificationStatus.INVALID_APP_IDENTIFIER}

# Unlike the environments of APPSTORE_ENVIRONMENTS, some of these are never accepted.
_KNOWN_ENVIRONMENTS = {one.value for one in AppleEnvironment}
_NOTIFICATION_PARTS = ("data", "summary", "externalPurchaseToken", "appData")  # of a notification

Claims = Mapping[str, Any]
T = TypeVar("T")
R = TypeVar("R")


class NotGenuine(Exception):
    """Apple did not sign this for us. The text says what is wrong with it."""


class VerificationUnavailable(Exception):
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


def read_notification(signed_payload: str, *, online: bool = False) -> DecodedNotification:
    """The notification with the transaction and the renewal in it, each signed by itself.

    `online` asks Apple whether its certificates have been revoked (OCSP): up to a minute, so never
    within a request. Raises NotGenuine, VerificationUnavailable, Unreadable.
    """
    return _read(
        lambda verifier, environment: _notification(verifier, environment, signed_payload),
        online=online,
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
    """Whether the certificates can be judged as of the date that is stated, if there is one."""
    signed_at = claims.get("signedDate", claims.get("receiptCreationDate"))
    if signed_at is None:
        return True
    is_number = isinstance(signed_at, int) and not isinstance(signed_at, bool)
    try:
        return is_number and payloads.parse_optional_time(signed_at, "signedDate") is not None
    except Unreadable:
        return False


def decode_unverified(signed: str) -> Claims:
    """What a JWS states, unverified; empty where it is none."""
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
    """Verify a JWS and read it.

    `find_fault` names the field for which it is not recognised as ours, or gives "" where it is
    somebody else's; `within` is where it was found.

    Raises VerificationException, Unreadable.
    """
    try:
        return read(verify(signed))
    except VerificationException as problem:
        # The signature is judged first: what has either of these statuses has passed it.
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
        # As Apple wrote it: the library's own enum knows only the types of its release.
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


# --- What was signed, and not recognised as ours ------------------------------------------------


def _transaction_fault(claims: Claims) -> str:
    """The field that keeps a genuine transaction from being recognised; "" where it is for another
    app or environment, or is no transaction."""
    is_transaction = "transactionId" in claims or {"productId", "purchaseDate"} <= claims.keys()
    if not is_transaction or _is_for_another_target(claims):
        return ""
    return _missing(claims, "bundleId") or _environment_fault(claims)


def _renewal_fault(claims: Claims) -> str:
    """The same of a renewal, which names no app. It is trusted within what does."""
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
    """Whether this names another app, or an environment that is not chosen."""
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
    """One that Apple does not have today; another of Apple's is for another verifier."""
    return "" if _is_apple_environment(claims.get(name)) else name


def _missing(claims: Claims, name: str) -> str:
    return "" if claims.get(name) else name
