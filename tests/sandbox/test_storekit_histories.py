"""Apple's own client walks through what a customer has bought."""

import pytest
from appstoreserverlibrary.api_client import GetTransactionHistoryVersion
from appstoreserverlibrary.models.InAppOwnershipType import InAppOwnershipType
from appstoreserverlibrary.models.TransactionHistoryRequest import (
    Order,
    ProductType,
    TransactionHistoryRequest,
)

from tests.helpers.storekit import APP_ID, BUNDLE_ID, PRODUCTION, SANDBOX, SUBSCRIPTION, refusal

ME = "the-account-of-one"


@pytest.fixture
def history(app_store):
    """Every page of a history, as ids, with the pages' sizes."""

    def walk(transaction_id, environment=PRODUCTION, **asked):
        client, request = app_store.client(environment), TransactionHistoryRequest(**asked)
        ids, sizes, revision, more = [], [], None, True
        while more:
            page = client.get_transaction_history(
                transaction_id, revision, request, GetTransactionHistoryVersion.V2
            )
            read = [
                app_store.transaction(signed, environment=environment).transactionId
                for signed in page.signedTransactions
            ]
            ids, sizes = ids + read, [*sizes, len(read)]
            revision, more = page.revision, page.hasMore
            assert (page.bundleId, page.environment) == (BUNDLE_ID, environment)
            assert page.appAppleId == (APP_ID if environment == PRODUCTION else None)
        return ids, sizes

    return walk


def test_a_long_history_comes_in_pages_of_twenty_in_either_order(app_store, history):
    purchase = [app_store.buy(customer=ME)["transaction_id"] for _ in range(41)]
    app_store.buy(customer="somebody else")
    app_store.buy(customer=ME, environment=SANDBOX)
    app_store.buy(customer=ME, bundle_id="com.example.other")

    assert history(purchase[7]) == (purchase, [20, 20, 1])
    assert history(purchase[7], sort=Order.DESCENDING) == (purchase[::-1], [20, 20, 1])


def test_a_customer_is_found_by_the_app_transaction_id(app_store, history):
    purchase = app_store.buy()["transaction_id"]

    assert history(app_store.fetch(purchase).appTransactionId) == ([purchase], [1])


def test_account_tokens_are_compared_without_case(app_store, history):
    token = "6de8ef5f-ac46-4b9f-9347-f5f6681349a0"
    one, other = (app_store.buy(app_account_token=each) for each in (token, token.upper()))

    both = [one["transaction_id"], other["transaction_id"]]
    assert history(both[0]) == (both, [2])


def test_a_history_is_sorted_by_the_last_change(app_store, history):
    first, second = (app_store.buy(customer=ME)["transaction_id"] for _ in range(2))

    app_store.notify("REFUND", transaction_id=first)

    assert history(first)[0] == [second, first]


def test_a_history_can_be_filtered(app_store, history):
    early, late = 1_780_000_000_000, 1_790_000_000_000
    credits_10 = app_store.buy(customer=ME, at=early)["transaction_id"]
    credits_50 = app_store.buy(customer=ME, product_id="credits_50", at=late)["transaction_id"]
    family = {"in_app_ownership_type": "FAMILY_SHARED", "subscription_group_identifier": "7"}
    premium = app_store.subscribe(customer=ME, at=late, **family)["transaction_id"]
    app_store.notify("REFUND", transaction_id=credits_50)

    for asked, found in [
        ({"productIds": ["credits_10", "credits_50"]}, [credits_10, credits_50]),
        ({"productTypes": [ProductType.AUTO_RENEWABLE]}, [premium]),
        ({"startDate": late}, [premium, credits_50]),
        ({"endDate": late}, [credits_10]),
        ({"startDate": early, "endDate": early + 1}, [credits_10]),
        ({"revoked": True}, [credits_50]),
        ({"revoked": False}, [credits_10, premium]),
        ({"inAppOwnershipType": InAppOwnershipType.FAMILY_SHARED}, [premium]),
        ({"subscriptionGroupIdentifiers": ["7", "8"]}, [premium]),
        ({"productIds": ["never-sold"]}, []),
    ]:
        assert history(credits_10, **asked)[0] == found, asked


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"revision": "x"}, 4000005),
        ({"startDate": "yesterday"}, 4000015),
        ({"endDate": "1"}, 4000016),
        ({"startDate": "1780000000000", "endDate": "1780000000000"}, 4000013),
        ({"sort": "RANDOM"}, 4000021),
        ({"productType": "CREDITS"}, 4000022),
        ({"inAppOwnershipType": "MINE"}, 4000026),
        ({"revoked": "perhaps"}, 4000030),
    ],
)
def test_an_invalid_query_is_refused_with_apples_error_code(app_store, query, code):
    purchase = app_store.buy()["transaction_id"]
    client = app_store.client()
    ask = client._make_request

    path = f"/inApps/v2/history/{purchase}"
    assert refusal(ask, path, "GET", query, None, None) == (400, code)


def test_refunds_are_listed_in_order(app_store):
    purchase = [app_store.buy(customer=ME)["transaction_id"] for _ in range(23)]
    refunded = purchase[:0:-1]
    for transaction_id in refunded:
        app_store.notify("REFUND", transaction_id=transaction_id)
    app_store.notify("REFUND_REVERSED", transaction_id=refunded[0])

    client = app_store.client()
    first = client.get_refund_history(purchase[0], None)
    second = client.get_refund_history(purchase[0], first.revision)

    assert (first.hasMore, second.hasMore) == (True, False)
    read = [
        app_store.transaction(signed).transactionId
        for signed in first.signedTransactions + second.signedTransactions
    ]
    assert read == refunded[1:]
    nothing = client.get_refund_history(app_store.buy()["transaction_id"], None)
    assert (nothing.signedTransactions, nothing.hasMore) == ([], False)


def test_an_unknown_customer_is_404(app_store):
    client, tried = app_store.client(), app_store.buy(environment=SANDBOX)["transaction_id"]

    for unknown in ("12345", tried):
        for ask in (
            client.get_all_subscription_statuses,
            lambda one: client.get_refund_history(one, None),
            lambda one: client.get_transaction_history(
                one, None, TransactionHistoryRequest(), GetTransactionHistoryVersion.V2
            ),
        ):
            assert refusal(ask, unknown) == (404, 4040010)


def test_consumables_have_no_subscription_status(app_store):
    purchase = app_store.buy(customer=ME)["transaction_id"]

    assert app_store.client().get_all_subscription_statuses(purchase).data == []
    assert app_store.subscribe(customer=ME, type=SUBSCRIPTION)
    assert len(app_store.client().get_all_subscription_statuses(purchase).data) == 1
