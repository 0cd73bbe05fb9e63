"""Apple's key set: fetched when it is needed, and no more often."""

import threading

import pytest

from accounts.apple import identity_tokens
from accounts.errors import IdentityServiceUnavailable, InvalidIdentity
from tests.helpers.wait import PATIENCE_SECONDS


@pytest.fixture
def fetches(sandbox):
    identity_tokens.keys.clear()
    yield lambda: len(
        [one for one in sandbox.requests("apple") if one["path"].endswith("/auth/keys")]
    )
    identity_tokens.keys.clear()


@pytest.fixture
def clock(monkeypatch):
    """Moves the time that the key set goes by."""
    moved = {"by": 0.0}
    real = identity_tokens.time.monotonic
    monkeypatch.setattr(identity_tokens.time, "monotonic", lambda: real() + moved["by"])

    def move(seconds):
        moved["by"] += seconds

    return move


def read(person, **flaws):
    tokens = person.tokens(**flaws)
    return identity_tokens.read_identity_token(tokens["identity_token"], nonce=tokens["nonce"])


def is_refused(person, **flaws):
    with pytest.raises(InvalidIdentity):
        read(person, **flaws)
    return True


def test_many_tokens_cost_one_fetch(person, fetches):
    for _ in range(10):
        assert read(person).sub == person.sub

    assert fetches() == 1


def test_a_storm_of_unknown_keys_costs_one_fetch_in_thirty_seconds(person, fetches, clock):
    read(person)

    clock(identity_tokens.KEYS_PAUSE_SECONDS + 1)
    assert all(is_refused(person, kid=f"UNKNOWN{number}") for number in range(50))
    assert fetches() == 2

    clock(identity_tokens.KEYS_PAUSE_SECONDS + 1)
    assert all(is_refused(person, kid=f"UNKNOWN{number}") for number in range(50))
    assert fetches() == 3
    assert read(person).sub == person.sub


def test_a_storm_at_the_start_costs_one_fetch(person, fetches):
    tokens = [person.tokens(kid=f"UNKNOWN{number}") for number in range(16)]
    barrier = threading.Barrier(len(tokens))
    refused = []

    def call(one):
        barrier.wait(timeout=PATIENCE_SECONDS)
        try:
            identity_tokens.read_identity_token(one["identity_token"], nonce=one["nonce"])
        except InvalidIdentity:
            refused.append(one)

    threads = [threading.Thread(target=call, args=(one,)) for one in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=PATIENCE_SECONDS)

    assert len(refused) == 16
    assert fetches() == 1


def test_a_token_of_another_algorithm_costs_no_fetch(person, fetches):
    assert is_refused(person, algorithm="none")
    assert is_refused(person, algorithm="HS256")

    assert fetches() == 0


def test_a_new_key_is_found(person, fetches, clock, sandbox):
    read(person)
    sandbox.control("apple/rotate-keys")

    clock(identity_tokens.KEYS_PAUSE_SECONDS + 1)

    assert read(person).sub == person.sub
    assert fetches() == 2


def test_a_key_that_apple_dropped_no_longer_counts(person, fetches, clock, sandbox):
    tokens = person.tokens()
    read(person)
    sandbox.control("apple/rotate-keys", drop=True)

    clock(identity_tokens.KEYS_FRESH_SECONDS + 1)

    with pytest.raises(InvalidIdentity):
        identity_tokens.read_identity_token(tokens["identity_token"], nonce=tokens["nonce"])
    assert read(person).sub == person.sub


def test_known_keys_outlast_an_outage_but_not_for_ever(person, fetches, clock, sandbox):
    read(person)
    sandbox.control("apple/outage", service="auth", status=503)

    clock(identity_tokens.KEYS_FRESH_SECONDS + 1)
    assert read(person).sub == person.sub
    with pytest.raises(IdentityServiceUnavailable):
        read(person, kid="UNKNOWN")

    clock(identity_tokens.KEYS_USABLE_SECONDS)
    with pytest.raises(IdentityServiceUnavailable):
        read(person)
    assert fetches() == 3

    sandbox.control("apple/outage", service="auth", times=0)
    clock(identity_tokens.KEYS_PAUSE_SECONDS + 1)
    assert read(person).sub == person.sub


def test_without_any_keys_an_outage_is_over_when_apple_is_back(person, fetches, sandbox):
    sandbox.control("apple/outage", service="auth", status=500, times=1)

    with pytest.raises(IdentityServiceUnavailable):
        read(person)

    assert read(person).sub == person.sub
