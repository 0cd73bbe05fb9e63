"""REDIS_URL: one address, one meaning, whoever connects."""

from __future__ import annotations

import pytest

from rendio.config import redis_url


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("unix:///run/redis.sock", "Sockets"),
        ("redis+socket:///run/redis.sock", "Sockets"),
        ("sentinel://h:26379", "sentinels"),
        ("redis.internal:6379", "redis://"),
        ("redis://:p@/0", "cannot be read"),
        ("redis://:p@h/zero", "number of a database"),
        ("redis://:p@h:6379/0?db=3", "has db"),
        ("redis://:p@h/0?socket_timeout=9", "has socket_timeout"),
        ("rediss://:p@h/0?ssl_ca_path=/etc", "has ssl_ca_path"),
        ("redis://:p@h/0?ssl_cert_reqs=required", "no rediss://"),
        ("rediss://:p@h/0?ssl_cert_reqs=CERT_PERHAPS", "ssl_cert_reqs=CERT_PERHAPS"),
        ("rediss://:p@h/0?ssl_check_hostname=0", "ssl_check_hostname=0"),
        ("rediss://:p@h/0?ssl_ca_certs=/no/such/file", "ssl_ca_certs=/no/such/file"),
        # Passwords that are not encoded.
        ("redis://:sec/ret@h/0", "percent-encoded"),
        ("redis://:sec#ret@h/0", "percent-encoded"),
        ("redis://:sec?ret@h/0", "percent-encoded"),
    ],
)
def test_unsupported_redis_url_parts_are_refused_by_name(url, named):
    with pytest.raises(ValueError, match=named) as refusal:
        redis_url.parse(url)

    assert ":p@" not in str(refusal.value)
    assert "ret@" not in str(refusal.value)


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {"ssl_cert_reqs": "required", "ssl_check_hostname": True}),
        (
            "?ssl_cert_reqs=CERT_NONE&ssl_check_hostname=false",
            {"ssl_cert_reqs": "none", "ssl_check_hostname": False},
        ),
        (
            f"?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs={__file__}",
            {"ssl_cert_reqs": "required", "ssl_check_hostname": True, "ssl_ca_certs": __file__},
        ),
    ],
)
def test_tls_is_verified_unless_the_url_disables_it(query, options):
    assert redis_url.parse(f"rediss://h{query}").broker_use_ssl == options


def test_redis_url_is_normalized_for_all_clients():
    # A comma is the next server's address for Django's cache, a semicolon for Celery.
    written, encoded = "p,w;d%40", "p%2Cw%3Bd%40"

    address = redis_url.parse(f"redis://user:{written}@[::1]/2")

    assert address.url == address.broker_url == f"redis://user:{encoded}@[::1]:6379/2"
    assert address.broker_use_ssl is None
