"""Several users who are one person, by their Apple account."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from django.utils import timezone

from accounts import queries, services
from accounts.models import PersonKey
from accounts.services import related_users
from billing.models import Purchase
from tests.billing.conftest import TEN, AppStore, update_credits
from tests.helpers.phone import Phone

pytestmark = pytest.mark.django_db


def person_of(*user_ids):
    """The users that each of these is one person with; the same for all."""
    found = {frozenset(queries.related_user_ids(UUID(str(user_id)))) for user_id in user_ids}
    assert len(found) == 1
    return {str(user_id) for user_id in found.pop()}


def test_a_stranger_is_another_person(guest, new_signed_in, person, new_person):
    other = new_signed_in()
    person.signs_in(guest)
    new_person().signs_in(other)
    assert PersonKey.objects.count() == 2

    assert person_of(guest.user_id) == {guest.user_id}
    assert person_of(other.user_id) == {other.user_id}


def test_an_account_that_is_deleted_and_made_anew_is_the_same_person(guest, new_signed_in, person):
    person.signs_in(guest)
    PersonKey.objects.all().delete()  # as of an account from before there were such keys
    assert guest.post("delete-account", {}).status_code == 200
    again = new_signed_in()
    person.signs_in(again)

    assert person_of(guest.user_id, again.user_id) == {guest.user_id, again.user_id}


def test_guests_who_buy_with_one_apple_account_are_one_person(phone, sandbox):
    store, others = AppStore(sandbox), [Phone().sign_in() for _ in range(2)]
    for buyer, customer in [(phone, "one"), (others[0], "one"), (others[1], "two")]:
        bought = store.buy(TEN, phone=buyer, customer=customer)
        assert update_credits(buyer, bought).status_code == 200

    assert Purchase.objects.exclude(app_transaction_id="").count() == 3
    assert person_of(phone.user_id, others[0].user_id) == {
        str(phone.user_id),
        str(others[0].user_id),
    }
    assert person_of(others[1].user_id) == {str(others[1].user_id)}


def test_what_is_known_of_a_guest_is_known_of_the_account_after_the_merge(
    guest, new_signed_in, person
):
    person.signs_in(guest)
    second, third = new_signed_in(), new_signed_in()
    bought = {"of": services.PersonKeyKind.APP_TRANSACTION, "value": "1", "now": timezone.now()}
    for phone in (second, third):
        services.link_person(user_id=UUID(phone.user_id), **bought)
    second_id = second.user_id

    person.signs_in(second)

    assert person_of(guest.user_id, third.user_id) == {guest.user_id, third.user_id}
    assert person_of(second_id) == {second_id}  # nothing is left to it


def test_keys_go_when_nothing_counts_any_more(guest, person):
    person.signs_in(guest)
    [key] = PersonKey.objects.all()

    services.purge_person_keys(now=key.seen_at + related_users.RETENTION - timedelta(seconds=1))
    assert PersonKey.objects.exists()
    services.purge_person_keys(now=key.seen_at + related_users.RETENTION)

    assert not PersonKey.objects.exists()
