"""What Apple's own verifier refuses, with and without asking the OCSP responder."""

import base64

import jwt
import pytest
from appstoreserverlibrary.models.Environment import Environment
from appstoreserverlibrary.signed_data_verifier import VerificationStatus as Status

from tests.helpers.storekit import APP_ID, BUNDLE_ID, refusal

FLAWS = {
    "foreign_root": Status.VERIFICATION_FAILURE,
    "chain_of_two": Status.INVALID_CHAIN_LENGTH,
    "chain_of_four": Status.INVALID_CHAIN_LENGTH,
    "leaf_without_oid": Status.VERIFICATION_FAILURE,
    "intermediate_without_oid": Status.VERIFICATION_FAILURE,
    "expired_chain": Status.VERIFICATION_FAILURE,
    "bad_signature": Status.VERIFICATION_FAILURE,
    "xcode": Status.INVALID_CHAIN_LENGTH,
    "local_testing": Status.INVALID_CHAIN_LENGTH,
    "algorithm_none": Status.VERIFICATION_FAILURE,
    "algorithm_hs256": Status.VERIFICATION_FAILURE,
}

with_and_without_ocsp = pytest.mark.parametrize("online", [False, True])


def certificates_of(signed):
    return [base64.b64decode(one) for one in jwt.get_unverified_header(signed)["x5c"]]


@with_and_without_ocsp
@pytest.mark.parametrize("flaw", FLAWS)
def test_only_the_genuine_transaction_is_accepted(app_store, flaw, online):
    purchase = app_store.buy()
    verify = app_store.verifier(online=online).verify_and_decode_signed_transaction

    assert refusal(verify, app_store.forge(flaw, purchase)) is FLAWS[flaw]
    assert verify(purchase["signed_transaction"]).transactionId == purchase["transaction_id"]


@with_and_without_ocsp
@pytest.mark.parametrize("flaw", FLAWS)
def test_a_forged_notification_is_refused_also_where_only_its_transaction_is_forged(
    app_store, flaw, online
):
    purchase = app_store.buy()
    verifier = app_store.verifier(online=online)

    forged = app_store.forge(flaw, purchase, inner=False)
    genuine = verifier.verify_and_decode_notification(app_store.forge(flaw, purchase, inner=True))

    assert refusal(verifier.verify_and_decode_notification, forged) is FLAWS[flaw]
    assert genuine.notificationUUID == purchase["notification_uuid"]
    inner = genuine.data.signedTransactionInfo
    assert refusal(verifier.verify_and_decode_signed_transaction, inner) is FLAWS[flaw]


def test_the_environments_that_nobody_signs_for_would_let_a_forgery_pass(app_store):
    """Why an app may never take the verifier's environment from what it is about to verify."""
    purchase = app_store.buy()

    for flaw, environment in (
        ("xcode", Environment.XCODE),
        ("local_testing", Environment.LOCAL_TESTING),
    ):
        careless = app_store.verifier(environment).verify_and_decode_signed_transaction
        assert careless(app_store.forge(flaw, purchase)).productId == "credits_10"


def test_a_notification_has_the_overridden_fields(app_store):
    purchase = app_store.buy()["transaction_id"]
    app_data = {"environment": "Production", "bundleId": BUNDLE_ID, "appAppleId": APP_ID}
    brand_new = {"notificationType": "BRAND_NEW"}
    rescinded = {"notificationType": "RESCIND_CONSENT", "data": None, "appData": app_data}

    read, other = (
        app_store.notification(
            app_store.notify("REFUND_DECLINED", transaction_id=purchase, override=override)
        )
        for override in (brand_new, rescinded)
    )

    assert (read.rawNotificationType, read.notificationType) == ("BRAND_NEW", None)
    assert (other.data, other.appData.bundleId) == (None, BUNDLE_ID)


def test_a_notification_without_a_transaction_has_none_to_forge(app_store, sandbox):
    told = app_store.notify("TEST")

    refused = sandbox.http.post(
        "/control/apple/forge",
        json={"flaw": "xcode", "notification_uuid": told["notification_uuid"], "inner": True},
    )

    assert refused.status_code == 400


@pytest.mark.parametrize(
    ("status", "refused"),
    [
        ("revoked", Status.VERIFICATION_FAILURE),
        ("down", Status.RETRYABLE_VERIFICATION_FAILURE),
    ],
)
def test_only_online_checks_call_the_ocsp_responder(app_store, sandbox, status, refused):
    purchase = app_store.buy()["signed_transaction"]

    sandbox.control("apple/ocsp", status=status)
    online = refusal(app_store.verifier(online=True).verify_and_decode_signed_transaction, purchase)
    sandbox.control("apple/ocsp", status="good")

    assert online is refused
    assert app_store.transaction(purchase, online=True) == app_store.transaction(purchase)


def test_the_ocsp_responder_refuses_invalid_and_unknown_requests(app_store, sandbox):
    stranger = app_store.forge("foreign_root", app_store.buy())
    nonsense = sandbox.http.post("/apple/storekit/ocsp", content=b"nonsense")

    assert nonsense.status_code == 200
    assert nonsense.headers["content-type"] == "application/ocsp-response"
    root = certificates_of(stranger)[-1]
    trusting = app_store.verifier(online=True, root=root).verify_and_decode_signed_transaction
    assert refusal(trusting, stranger) is Status.VERIFICATION_FAILURE
    offline = app_store.verifier(root=root).verify_and_decode_signed_transaction
    assert offline(stranger).productId == "credits_10"
