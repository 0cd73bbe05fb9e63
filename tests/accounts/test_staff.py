"""Staff sign in with a name and a password; the first of them comes from the environment."""

import pytest
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from django.utils import timezone

from accounts.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def named(monkeypatch):
    monkeypatch.setenv("STAFF_USERNAME", "support")
    monkeypatch.setenv("STAFF_PASSWORD", "correct horse battery")


def test_ensure_staff_makes_a_superuser(named, capsys):
    call_command("ensure_staff")

    user = authenticate(username="support", password="correct horse battery")
    assert user is not None
    assert user.is_staff
    assert user.is_superuser
    assert not user.is_guest
    assert "correct horse" not in capsys.readouterr().out


def test_ensure_staff_again_changes_the_password_only_when_it_is_another(named, monkeypatch):
    call_command("ensure_staff")
    first = User.objects.get(username="support").password
    call_command("ensure_staff")
    assert User.objects.get(username="support").password == first

    monkeypatch.setenv("STAFF_PASSWORD", "another horse battery")
    call_command("ensure_staff")

    assert authenticate(username="support", password="correct horse battery") is None
    assert authenticate(username="support", password="another horse battery") is not None


def test_ensure_staff_gives_rights_back(named):
    call_command("ensure_staff")
    User.objects.filter(username="support").update(is_staff=False, is_superuser=False)

    call_command("ensure_staff")

    user = User.objects.get(username="support")
    assert user.is_staff
    assert user.is_superuser


@pytest.mark.parametrize("missing", ["STAFF_USERNAME", "STAFF_PASSWORD"])
def test_ensure_staff_names_what_is_missing(named, monkeypatch, missing):
    monkeypatch.delenv(missing)

    with pytest.raises(CommandError, match=missing):
        call_command("ensure_staff")

    assert not User.objects.exists()


@pytest.mark.parametrize("field", ["suspended_at", "closed_at"])
def test_who_is_suspended_or_closed_does_not_sign_in(named, field):
    call_command("ensure_staff")
    User.objects.filter(username="support").update(**{field: timezone.now()})

    assert authenticate(username="support", password="correct horse battery") is None


def test_a_guest_has_no_name_and_no_password(guest):
    user = User.objects.get(id=guest.user_id)

    assert user.username is None
    assert not user.has_usable_password()
    assert str(user) == guest.user_id


def test_the_database_refuses_staff_without_a_name(guest):
    with pytest.raises(IntegrityError, match="accounts_staff_sign_in_by_name"):
        User.objects.filter(id=guest.user_id).update(is_staff=True)
