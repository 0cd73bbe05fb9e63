"""What a phone's hardware is said to have signed: damaged, it vouches for nobody."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import AttestedKey, User
from tests.accounts.conftest import Installation
from tests.helpers import hostile_input
from tests.helpers.budget import budgeted
from tests.helpers.secure_enclave import ROOT, AttestedApp

pytestmark = budgeted


@pytest.fixture
def app(sandbox, settings, db):
    settings.APP_ATTEST_ROOT = ROOT.pem
    return AttestedApp(Installation())


def test_a_damaged_attestation_is_believed_only_where_the_damage_is_none(app, rows):
    challenge = app.challenge()
    whole = base64.b64decode(app.body(challenge=challenge)["attestation"])
    before = rows()

    @given(attestation=hostile_input.damaged(whole) | st.binary(min_size=1, max_size=40))
    @hostile_input.examples(60)
    def is_judged(attestation):
        answer = app.attests(challenge=challenge, attestation=attestation)
        assert answer.status_code in {200, 400, 403}, answer.content
        assert rows() == before or AttestedKey.objects.get().key_id == app.enclave.key_name

    is_judged()


def test_a_damaged_assertion_makes_no_guest(app, rows):
    assert app.attests().status_code == 200
    proof = app.proof()
    whole = base64.b64decode(proof["assertion"])
    before = rows()
    damaged = hostile_input.damaged(whole).filter(lambda assertion: assertion != whole)

    @given(assertion=damaged | st.binary(max_size=40))
    @hostile_input.examples(60)
    def is_refused(assertion):
        forged = proof | {"assertion": base64.b64encode(assertion).decode()}
        assert app.checks(forged).status_code in {400, 403}
        assert rows() == before

    is_refused()
    assert app.checks(proof).status_code == 200
    assert User.objects.filter(devices__device_id=app.phone.device_id).exists()
