"""What looks like a secret or a person, or is named so, is not written to the log."""

from __future__ import annotations

import json
import logging

import pytest
import structlog

from tests.helpers.capture_log import capture_log

SECRETS = {
    "a token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "a header": "Bearer c2VjcmV0LXRva2Vu",
    "fal's header": "Key 0123456789ab:cdef0123",
    "a key that says so": "sk-proj-0123456789abcdef",
    "a webhook's secret": "whsec_dGhlIHNhbmRib3gncyBvd24=",
    "a password in an address": "postgresql://rendio:hunter2@db.internal/rendio",
    "a password without a name in an address": "redis://:hunter2@redis:6379/0",
    "a key in PEM": "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\n-----END PRIVATE KEY-----",
    "an address": "ada.lovelace@example.com",
    "a device": "Key (device_id)=(5f0c1a52-5f2e-4a07-9f0e-0e0c5a1f7b11) already exists.",
}


class Talkative(Exception):
    """Says of itself what it was given."""


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_secrets_are_redacted_by_shape(secret):
    with capture_log() as log:
        logging.getLogger("rendio.test").warning("it broke with %s", secret)
        logger = structlog.get_logger("rendio.test")
        logger.warning("it_broke", why=Talkative(secret), deep={"list": [secret, (secret,)]})
        try:
            raise Talkative(secret)
        except Talkative:
            logger.exception("it_broke")

    lines = log.getvalue()
    assert len(lines.splitlines()) == 3
    assert "[redacted]" in lines
    for part in secret.splitlines():
        assert part not in lines.replace("\\n", "\n")
    assert "hunter2" not in lines


@pytest.mark.parametrize(
    "name",
    [
        *["device_token", "refresh_token", "password", "Authorization", "api_key", "prompt"],
        *["email", "device_id", "installation_secret"],
    ],
)
def test_secrets_are_redacted_by_name(name):
    with capture_log() as log:
        structlog.get_logger("rendio.test").warning("it", **{name: "plain"}, more={name: ["plain"]})

    assert "plain" not in log.getvalue()


def test_other_values_are_logged_unchanged():
    fields = {"job_id": "01a1fdcc-9c9f-7a27-8eb7-0c37ea13e3d2", "credits": 4, "late": False}
    with capture_log() as log:
        structlog.get_logger("rendio.test").info("video_generation_completed", **fields, why=None)

    written = json.loads(log.getvalue())
    assert {name: written[name] for name in fields} == fields
    assert written["why"] is None
