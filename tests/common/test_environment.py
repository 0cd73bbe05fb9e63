"""What the readers of the environment take, and what they refuse by the variable's name."""

from __future__ import annotations

import os

import pytest
from django.http.request import validate_host

from rendio.config import environment
from sandbox.server import Listener
from tests.helpers import fork_server


@pytest.fixture
def given(monkeypatch):
    """Sets the variable NAME."""

    def give(value):
        monkeypatch.setitem(environment.env.ENVIRON, "NAME", value)

    return give


@pytest.fixture
def refusals(monkeypatch):
    """What was refused in this test."""
    found: list[str] = []
    monkeypatch.setattr(environment, "problems", found)
    return found


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
def test_valid_host_names_are_accepted(given, value, host):
    given(value)

    assert validate_host(host, environment.host_names("NAME", default=[]))


@pytest.mark.parametrize(
    "value",
    ["https://api.example.com", "api.example.com:8000", "[::1]:8000", "api.example.com/x", "a b"],
)
def test_invalid_host_names_are_refused(given, refusals, value):
    given(value)

    environment.host_names("NAME", default=[])

    assert [problem[:18] for problem in refusals] == ["NAME must be host "]


@pytest.mark.parametrize(
    ("value", "address"),
    [("::", "::"), ("[::1]", "::1"), ("127.0.0.1", "127.0.0.1"), ("localhost", "localhost")],
)
def test_a_process_listens_at_ipv4_and_ipv6(given, value, address):
    given(value)

    assert environment.listen_address("NAME", default="") == address


def test_listen_address_with_a_port_is_refused(given, refusals):
    given("[::1]:9100")

    environment.listen_address("NAME", default="")

    assert refusals[0].startswith("NAME must be an address or a name, without a port")


@pytest.mark.parametrize(
    ("value", "read"),
    [("true", True), ("Yes", True), (" on ", True), ("1", True), ("FALSE", False), ("off", False)],
)
def test_boolean_settings_accept_common_spellings(given, refusals, value, read):
    given(value)

    assert environment.boolean("NAME", default=not read) is read
    assert refusals == []


def test_misspelt_boolean_setting_is_refused(given, refusals):
    given("ture")

    environment.boolean("NAME", default=True)

    assert refusals == ["NAME must be true or false, not 'ture'."]


@pytest.mark.parametrize("value", ["localhost:4318", "ftp://h", "http://", "http://h:port", "//h"])
def test_service_url_must_be_http(given, refusals, value):
    given(value)

    environment.http_url("NAME", "")

    assert refusals == ["NAME must be an http or https address."]


@pytest.mark.parametrize("value", ["app.example.com", "https://app.example.com/path", "https://"])
def test_origin_must_be_a_scheme_and_a_host(given, refusals, value):
    given(value)

    environment.origins("NAME")

    assert len(refusals) == 1


@pytest.mark.parametrize("value", ["nonsense", "smtp://user:{secret}@host:port", "x://secret@host"])
def test_error_about_an_invalid_mail_url_hides_the_password(given, refusals, value):
    given(value)

    environment.email_settings("NAME")

    assert refusals[0].startswith("NAME must be like smtp+tls://")
    assert "secret" not in refusals[0]


@pytest.mark.parametrize("value", ["tcp://[::1]:3310", "tcp://[2001:db8::1]:3310/"])
def test_tcp_address_may_be_ipv6(given, value):
    given(value)

    host, port = environment.tcp_address("NAME")
    assert (host in {"::1", "2001:db8::1"}, port) == (True, 3310)


def test_videos_of_a_sandbox_at_an_ipv6_address_may_be_fetched():
    code = (
        "from django.conf import settings; from rendio.common.outbound import http;"
        "http._check_target('http://[::1]:9000/film.mp4', local=True,"
        " allowed_hosts=settings.PROVIDERS['fal'].media_hosts)"
    )

    fetched = fork_server.manage(
        *["shell", "--no-imports", "-c", code],
        environment={"PATH": os.environ["PATH"], "SANDBOX_URL": "http://[::1]:9000/"},
    )

    assert fetched.returncode == 0, fetched.stderr


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_the_sandbox_listens_at_an_ipv6_address(host):
    with Listener.open(host=host, port=0) as listener:
        assert listener.url == f"http://[::1]:{listener.getsockname()[1]}"
