"""Apple's own client looks up what its server was told, and what it missed."""

import time

import pytest
from appstoreserverlibrary.models.NotificationHistoryRequest import NotificationHistoryRequest
from appstoreserverlibrary.models.NotificationTypeV2 import NotificationTypeV2
from appstoreserverlibrary.models.SendAttemptResult import SendAttemptResult
from appstoreserverlibrary.models.Subtype import Subtype

from tests.helpers.storekit import PRODUCTION, SANDBOX, refusal

DAY = 86_400_000


def now():
    return time.time_ns() // 1_000_000


def span(**asked):
    """Of the last hour, unless it says otherwise."""
    return NotificationHistoryRequest(
        **{"startDate": now() - 3_600_000, "endDate": now() + 3_600_000} | asked
    )


@pytest.fixture
def history(app_store):
    """Every page of the history, with the pages' sizes."""

    def walk(environment=PRODUCTION, **asked):
        request, client = span(**asked), app_store.client(environment)
        found, sizes, token = [], [], None
        while True:
            page = client.get_notification_history(token, request)
            found += page.notificationHistory
            sizes.append(len(page.notificationHistory))
            token = page.paginationToken
            if not page.hasMore:
                assert token is None
                return found, sizes

    return walk


def payloads(found):
    return [one.signedPayload for one in found[0]]


def test_a_long_history_comes_in_pages_of_twenty(app_store, history):
    sent = [app_store.buy()["signed_payload"] for _ in range(41)]
    app_store.buy(environment=SANDBOX)

    found, sizes = history()

    assert [one.signedPayload for one in found] == sent
    assert sizes == [20, 20, 1]
    assert len(history(SANDBOX)[0]) == 1


def test_each_attempt_is_listed_with_its_result(app_store, sandbox, receiver, history):
    sandbox.control("apple/app", notification_url=receiver.url)
    receiver.answers = [500, 301, 206]
    lost = app_store.buy(deliver=False)
    for _ in range(3):
        sandbox.control("apple/notify", again=lost["notification_uuid"])
    sandbox.control("apple/app", notification_url="http://127.0.0.1:1/")
    sandbox.control("apple/notify", again=lost["notification_uuid"])

    ((one,), _) = history()

    assert [attempt.sendAttemptResult for attempt in one.sendAttempts] == [
        SendAttemptResult.NO_RESPONSE,
        SendAttemptResult.UNSUCCESSFUL_HTTP_RESPONSE_CODE,
        SendAttemptResult.UNSUCCESSFUL_HTTP_RESPONSE_CODE,
        SendAttemptResult.SUCCESS,
        SendAttemptResult.SOCKET_ISSUE,
    ]
    assert len(receiver.deliveries) == 3
    assert all(abs(attempt.attemptDate - now()) < 60_000 for attempt in one.sendAttempts)


def test_at_most_six_attempts_are_listed(app_store, sandbox, receiver, history):
    sandbox.control("apple/app", notification_url=receiver.url)
    sent = app_store.buy(deliver=True)
    for _ in range(7):
        sandbox.control("apple/notify", again=sent["notification_uuid"])

    ((one,), _) = history()

    assert len(one.sendAttempts) == 6
    assert len(receiver.deliveries) == 8


def test_undelivered_notifications_can_be_listed_alone(app_store, sandbox, receiver, history):
    sandbox.control("apple/app", notification_url=receiver.url)
    app_store.buy(deliver=True)
    receiver.answers = [503]
    refused, lost = app_store.buy(deliver=True), app_store.buy(deliver=False)
    late = app_store.buy(deliver=False)
    sandbox.control("apple/notify", again=late["notification_uuid"])

    failed = payloads(history(onlyFailures=True))

    assert failed == [refused["signed_payload"], lost["signed_payload"]]
    assert len(history()[0]) == 4


def test_a_history_is_filtered_by_type_or_by_customer(app_store, history):
    purchase = app_store.buy()
    subscribed = app_store.subscribe(customer="me")
    disabled = app_store.notify(
        "DID_CHANGE_RENEWAL_STATUS",
        "AUTO_RENEW_DISABLED",
        transaction_id=subscribed["transaction_id"],
    )

    kind = {"notificationType": NotificationTypeV2.DID_CHANGE_RENEWAL_STATUS}
    assert payloads(history(**kind)) == [disabled["signed_payload"]]
    assert payloads(history(**kind, notificationSubtype=Subtype.AUTO_RENEW_ENABLED)) == []
    assert payloads(history(transactionId=purchase["transaction_id"])) == [
        purchase["signed_payload"]
    ]
    both = kind | {"transactionId": purchase["transaction_id"]}
    ask = app_store.client().get_notification_history
    assert refusal(ask, None, span(**both)) == (400, 4000019)


def test_a_history_covers_its_time_range_oldest_first(app_store, history):
    week = now() - 7 * DAY
    new = app_store.buy()
    old = app_store.buy(at=week)

    assert payloads(history(startDate=week)) == [old["signed_payload"], new["signed_payload"]]
    assert payloads(history(startDate=week, endDate=week + 1)) == [old["signed_payload"]]
    assert payloads(history()) == [new["signed_payload"]]


def test_apples_sandbox_keeps_notifications_for_thirty_days(app_store, history):
    month = now() - 31 * DAY
    for environment in (PRODUCTION, SANDBOX):
        app_store.buy(environment=environment, at=month)

    found = {each: len(history(each, startDate=month)[0]) for each in (PRODUCTION, SANDBOX)}

    assert found == {PRODUCTION: 1, SANDBOX: 0}


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"startDate": None}, 4000015),
        ({"endDate": None}, 4000016),
        ({"startDate": 1_700_000_000}, 4000015),
        ({"startDate": now() - 181 * DAY}, 4000012),
        ({"endDate": now() - 7 * DAY}, 4000013),
        ({"notificationSubtype": Subtype.UPGRADE}, 4000018),
        ({"transactionId": "twelve"}, 4000006),
    ],
)
def test_an_invalid_query_is_refused_with_apples_error_code(app_store, asked, code):
    ask = app_store.client().get_notification_history

    assert refusal(ask, None, span(**asked)) == (400, code)


def test_a_page_token_is_valid_only_for_its_query(app_store):
    for _ in range(21):
        app_store.buy()
    client, request = app_store.client(), span()
    token = client.get_notification_history(None, request).paginationToken

    assert len(client.get_notification_history(token, request).notificationHistory) == 1
    for wrong in (token[:-4], "x", span(onlyFailures=True)):
        asked = (wrong, request) if isinstance(wrong, str) else (token, wrong)
        assert refusal(client.get_notification_history, *asked) == (400, 4000014)


# --- The test notification --------------------------------------------------------------------


@pytest.mark.parametrize("environment", [PRODUCTION, SANDBOX])
def test_a_test_notification_arrives_and_has_a_status(app_store, sandbox, receiver, environment):
    sandbox.control("apple/app", notification_url=receiver.url)
    client = app_store.client(environment)

    token = client.request_test_notification().testNotificationToken
    status = sandbox.wait_for(
        lambda: (found := client.get_test_notification_status(token)).sendAttempts and found
    )

    assert receiver.first() == {"signedPayload": status.signedPayload}
    read = app_store.verifier(environment).verify_and_decode_notification(status.signedPayload)
    assert read.notificationType is NotificationTypeV2.TEST
    assert read.data.signedTransactionInfo is None
    assert [one.sendAttemptResult for one in status.sendAttempts] == [SendAttemptResult.SUCCESS]


def test_nothing_is_sent_to_an_app_without_an_address(app_store, sandbox):
    sandbox.control("apple/app", notification_url=None)

    assert refusal(app_store.client().request_test_notification) == (404, 4040007)
    assert app_store.buy(deliver=True)["delivered_status"] is None


@pytest.mark.parametrize("token", ["unknown", "unknown_1"])
def test_an_unknown_test_is_not_found(app_store, token):
    assert refusal(app_store.client().get_test_notification_status, token) == (404, 4040008)
