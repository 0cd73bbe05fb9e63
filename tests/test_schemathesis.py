"""Requests made up from /openapi.json, sound and unsound, to every operation, with all of
Schemathesis' checks: nothing breaks us, and each answer is as described.

The same requests each time, and few of them: a net under the other tests, not a search.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connection
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from accounts.models import User
from rendio.openapi.schema import document
from tests.helpers import budget
from tests.helpers.budget import budgeted
from tests.helpers.phone import Phone

EXAMPLES = 12
RAW = json.loads(document().body)
CONFIG = {
    # What is sent is what `access` has.
    "generation": {"with-security-parameters": False},
    # What no schema says makes a sound body wrong: whose token it is, what bytes decode to.
    "checks": {
        "positive_data_acceptance": {
            # 304 answers a conditional request, such as `If-None-Match: *`.
            "expected-statuses": ["2xx", "304", "400", "401", "402", "403", "404", "409", "422"]
        }
    },
}
OPERATIONS = [(path, method) for path, methods in RAW["paths"].items() for method in methods]
CSRF = "c" * 32
# One for all tests: Schemathesis reads the constants of the modules of each new application.
APPLICATION = WSGIHandler()


@pytest.fixture(scope="session")
def described() -> Any:
    """The operations as Schemathesis reads them; it is imported where these tests run."""
    import schemathesis

    config = schemathesis.Config.from_dict(CONFIG)
    found = schemathesis.openapi.from_dict(RAW, config=config)
    found.app = APPLICATION
    return found


@pytest.fixture
def access(phone: Phone) -> Iterator[dict[str, Any]]:
    """What opens every operation: a phone's token, or a session of the staff's."""
    with connection.cursor() as cursor:
        # Making requests up may take a slow machine longer than an idle transaction is left alone.
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    phone.client.force_login(User.objects.create_superuser(username="root", password=None))
    session = phone.client.cookies["sessionid"].value
    # As Django's own test client does with each call: the test's transaction is on the connection.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield {
        "headers": {**phone._headers(), "X-CSRFToken": CSRF},
        "cookies": {"sessionid": session, "csrftoken": CSRF},
    }
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@budgeted
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_an_operation_answers_as_described_whatever_it_is_asked(access, described, path, method):
    from schemathesis import GenerationMode
    from schemathesis.specs.openapi.checks import response_schema_conformance

    APPLICATION.load_middleware()  # of this test's settings
    operation = described[path][method]
    sound, unsound = (
        operation.as_strategy(generation_mode=mode)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    )

    @settings(
        max_examples=budget.examples(EXAMPLES),
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=st.one_of(sound, unsound))
    def ask(case: Any) -> None:
        # The text of a stream would be taken for the schema of each of its events.
        excluded = [response_schema_conformance] if path.endswith("/events") else []
        answer = case.call_and_validate(excluded_checks=excluded, **access)
        assert answer.status_code < 500

    ask()
