"""DATABASE_URL: each parameter counts, or is refused by its name."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from rendio.config import database_url


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("postgresql://u:p@h/n?sslmode=nonsense", "sslmode"),
        ("postgresql://u:p@h/n?sslmode=verify-full&sslrootcert=/no/such/file", "sslrootcert"),
        ("postgresql://u:p@h/n?sslmode=require&sslrootcert=system", "sslmode"),
        ("postgresql://u:p@h/n?sslkey=/no/such/file", "sslkey"),
        ("postgresql://u:p@h/n?channel_binding=maybe", "channel_binding"),
        ("postgresql://u:p@h/n?target_session_attrs=any-old", "target_session_attrs"),
        ("postgresql://u:p@h/n?connect_timeout=soon", "connect_timeout"),
        ("postgresql://u:p@h/n?keepalives_idle=1m", "keepalives_idle"),
        ("postgresql://u:p@a/n?port=1,2", "port numbers"),
        ("postgresql://u:p@h:70000/n", "70000"),
        ("postgresql://u:p@h/n?client_encoding=latin1", "client_encoding"),
        ("postgresql://u:p@h/n?replication=database", "replication"),
        ("postgresql://u:p@h/n?service=rendio", "service"),
        # Of other libraries' addresses.
        ("postgresql://u:p@h/n?conn_max_age=60", "conn_max_age"),
        ("postgresql://u:p@h/n?ssl=true&sslMode=require", "sslMode"),
        ("postgresql://u:p@h/n?sslmode", "cannot be read"),
        ("postgresql://u:p@h", "names no database"),
        ("mysql://u:p@h/n", "postgresql://"),
        ("postgresql+psycopg://u:p@h/n", "postgresql://"),
    ],
)
def test_unsupported_database_url_parts_are_refused_by_name(url, named):
    with pytest.raises(ValueError, match=named) as refusal:
        database_url.parse(url)

    assert "u:p" not in str(refusal.value)


@pytest.mark.parametrize("password", ["sec%ret", "sec/ret"])
def test_error_about_an_unencoded_password_does_not_repeat_it(password):
    with pytest.raises(ValueError, match="percent-encoded") as refusal:
        database_url.parse(f"postgresql://u:{password}@h/n")

    assert "ret" not in str(refusal.value)


def test_options_of_the_url_override_our_defaults():
    password = "p%2Fw"
    parameters = database_url.parse(
        f"postgresql://us%40er:{password}@one:1,two:2/name?sslmode=require&connect_timeout=9"
        "&options=-c%20search_path%3Dapp"
    )

    settings = database_url.django_settings(
        parameters,
        defaults={"connect_timeout": 5, "application_name": "rendio"},
        options="-c lock_timeout=5",
    )

    assert settings == {
        "NAME": "name",
        "USER": "us@er",
        "PASSWORD": "p/w",
        "HOST": "one,two",
        "PORT": "1,2",
        "OPTIONS": {
            "sslmode": "require",
            "connect_timeout": 9,
            "application_name": "rendio",
            "options": "-c lock_timeout=5 -c search_path=app",
        },
    }


def test_a_socket_and_an_ipv6_address_are_hosts():
    assert database_url.parse("postgresql:///n?host=/run/postgresql")["host"] == "/run/postgresql"
    assert database_url.parse("postgresql://u@[::1]:5432/n")["host"] == "::1"


def test_database_url_round_trips():
    password = "p%26%20w"
    url = f"postgresql://u%3A:{password}@h:1,i:2/n?sslmode=disable&options=-c%20a.b%3Dc"

    again = database_url.url(database_url.parse(url))

    assert conninfo_to_dict(again) == conninfo_to_dict(url)
