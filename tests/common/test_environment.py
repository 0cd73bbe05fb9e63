"""What the readers of the environment take, and what they refuse by the variable's name."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http.request import validate_host

from rendio import environment


@pytest.fixture
def given(monkeypatch):
    """Sets the variable NAME."""

    def give(value):
        monkeypatch.setitem(environment.env.ENVIRON, "NAME", value)

    return give


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("api.example.com", "api.example.com"),
        ("other.example.com, API.example.com", "api.example.com"),
        (".example.com", "api.example.com"),
        ("*", "anything"),
        ("192.0.2.1", "192.0.2.1"),
        ("::1", "[::1]"),
        ("[2001:DB8::1]", "[2001:db8::1]"),
        ("web_1", "web_1"),
    ],
)
def test_host_names_are_as_a_host_header_has_them(given, value, host):
    given(value)

    assert validate_host(host, environment.host_names("NAME", default=[]))


@pytest.mark.parametrize(
    "value",
    ["https://api.example.com", "api.example.com:8000", "[::1]:8000", "api.example.com/x", "a b"],
)
def test_what_no_host_header_has_is_refused(given, value):
    given(value)

    with pytest.raises(ImproperlyConfigured, match=r"^NAME must be host names"):
        environment.host_names("NAME", default=[])


@pytest.mark.parametrize(
    ("value", "address"),
    [("::", "::"), ("[::1]", "::1"), ("127.0.0.1", "127.0.0.1"), ("localhost", "localhost")],
)
def test_a_process_listens_at_ipv4_and_ipv6(given, value, address):
    given(value)

    assert environment.listen_address("NAME", default="") == address


def test_an_address_to_listen_at_has_no_port(given):
    given("[::1]:9100")

    with pytest.raises(ImproperlyConfigured, match=r"^NAME must be an address or a name"):
        environment.listen_address("NAME", default="")


@pytest.mark.parametrize("value", ["tcp://[::1]:3310", "tcp://[2001:db8::1]:3310/"])
def test_a_tcp_address_may_be_of_ipv6(given, value):
    given(value)

    host, port = environment.tcp_address("NAME")
    assert (host in {"::1", "2001:db8::1"}, port) == (True, 3310)
