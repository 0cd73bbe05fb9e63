"""Apple's own library, unmodified but for the host, fetches and verifies what was bought."""

import os
import signal
from pathlib import Path

import pytest
from appstoreserverlibrary.models.InAppOwnershipType import InAppOwnershipType
from appstoreserverlibrary.models.Type import Type

from tests.helpers.storekit import BUNDLE_ID, PRODUCTION, SANDBOX, SUBSCRIPTION, AppStore, refusal
from tests.sandbox.conftest import Sandbox, started_sandbox

TOKEN = "6DE8EF5F-AC46-4B9F-9347-F5F6681349A0"


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("environment", [PRODUCTION, SANDBOX])
def test_a_purchase_is_fetched_and_verified(app_store, environment, online):
    purchase = app_store.buy(
        product_id="credits_50",
        environment=environment,
        quantity=3,
        app_account_token=TOKEN,
        storefront="DEU",
        currency="EUR",
        price=9_990,
    )

    answer = app_store.client(environment).get_transaction_info(purchase["transaction_id"])

    for signed in (answer.signedTransactionInfo, purchase["signed_transaction"]):
        read = app_store.transaction(signed, environment=environment, online=online)
        assert read.transactionId == read.originalTransactionId == purchase["transaction_id"]
        assert (read.bundleId, read.productId, read.quantity) == (BUNDLE_ID, "credits_50", 3)
        assert (read.storefront, read.currency, read.price) == ("DEU", "EUR", 9_990)
        assert (read.appAccountToken, read.environment) == (TOKEN, environment)
        assert (read.type, read.inAppOwnershipType) == (
            Type.CONSUMABLE,
            InAppOwnershipType.PURCHASED,
        )
        assert read.purchaseDate == read.originalPurchaseDate <= read.signedDate
        assert read.revocationDate is read.revocationPercentage is read.expiresDate is None


def test_environments_have_separate_purchases(app_store):
    real, tried = app_store.buy(), app_store.buy(environment=SANDBOX)

    for purchase, there, elsewhere in ((real, PRODUCTION, SANDBOX), (tried, SANDBOX, PRODUCTION)):
        client = app_store.client(elsewhere)
        assert refusal(client.get_transaction_info, purchase["transaction_id"]) == (404, 4040010)
        assert app_store.fetch(purchase["transaction_id"], there).environment == there


@pytest.mark.parametrize(
    ("asked", "refused"), [("123", (404, 4040010)), ("12a", (400, 4000006)), ("²", (400, 4000006))]
)
def test_an_unknown_purchase_is_refused_with_apples_error_code(app_store, asked, refused):
    assert refusal(app_store.client().get_transaction_info, asked) == refused


def test_another_apps_purchase_is_unknown_and_does_not_verify(app_store):
    purchase = app_store.buy(bundle_id="com.example.other")

    client = app_store.client()
    assert refusal(client.get_transaction_info, purchase["transaction_id"]) == (404, 4040010)
    assert refusal(app_store.transaction, purchase).name == "INVALID_APP_IDENTIFIER"


def test_a_purchase_has_the_overridden_fields(app_store):
    purchase = app_store.buy(override={"offerType": 3, "quantity": None, "type": "Rental"})

    read = app_store.fetch(purchase["transaction_id"])

    assert (read.rawOfferType, read.quantity, read.rawType, read.type) == (3, None, "Rental", None)


@pytest.mark.parametrize("at", [1_700_000_000_000, "2023-11-14T22:13:20Z"])
def test_a_purchase_has_the_requested_times(app_store, at):
    purchase = app_store.buy(at=at)

    read = app_store.transaction(purchase)

    assert read.purchaseDate == read.signedDate == 1_700_000_000_000
    assert app_store.fetch(purchase["transaction_id"]).purchaseDate == 1_700_000_000_000


def test_the_root_is_kept_in_a_folder_over_a_restart(tmp_path):
    folder = tmp_path / "keys"
    roots, read = [], []
    for _ in range(2):
        process, url, _ = started_sandbox(SANDBOX_KEYS_FOLDER=str(folder))
        app_store = AppStore(Sandbox(url))
        roots.append(app_store.root)
        purchase = app_store.buy()
        read.append(app_store.verifier(online=True, root=roots[0]))
        read[-1].verify_and_decode_signed_transaction(purchase["signed_transaction"])
        process.send_signal(signal.SIGTERM)
        process.communicate()

    assert roots[0] == roots[1] == (folder / "apple-root.cer").read_bytes()
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}


def test_each_start_without_a_folder_makes_a_new_root():
    roots = []
    for _ in range(2):
        process, url, _ = started_sandbox(SANDBOX_KEYS_FOLDER="")
        roots.append(AppStore(Sandbox(url)).root)
        process.send_signal(signal.SIGTERM)
        process.communicate()

    assert roots[0] != roots[1]


@pytest.mark.parametrize(
    "fields",
    [
        {"product_id": None},
        {"type": "consumable"},
        {"quantity": 0},
        {"app_account_token": "not-a-uuid"},
        {"environment": "Xcode"},
        {"expires_in": 5},
        {"at": 1_700_000_000},
        {"at": "2023-11-14"},
        {"at": "2023-11-14T22:13:20"},
        {"original_transaction_id": "7"},
        {"offer_type": 5},
        {"offer_discount_type": "FREE_TRIAL"},
        {"renewal_price": 1},
        {"original_transaction_id": "7", "type": SUBSCRIPTION},
        {"expires_in": 0, "type": SUBSCRIPTION},
        {"expires_date": "2023-11-14T22:13:20Z", "type": SUBSCRIPTION},
        {"override": []},
        {"products": "credits_10"},
    ],
)
def test_a_purchase_that_cannot_be_read_is_refused(sandbox, fields):
    body = {"product_id": "credits_10", "deliver": False} | fields
    answer = sandbox.http.post(
        "/control/apple/purchase", json={k: v for k, v in body.items() if v is not None}
    )

    assert answer.status_code == 400
    assert next(iter(fields)).removesuffix("_in") in answer.json()["error"]


def test_the_app_trusts_the_root_of_its_sandbox():
    served = AppStore(Sandbox(os.environ["SANDBOX_URL"])).root

    assert Path(os.environ["APPSTORE_ROOT_CERTIFICATE"]).read_bytes() == served
