"""App Attest with real commits: a challenge and a counter count once, whoever comes at once."""

import pytest

from accounts.models import AttestedKey
from tests.helpers.secure_enclave import ROOT, AttestedApp

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def app(installation, settings):
    settings.APP_ATTEST_ROOT = ROOT.pem
    return AttestedApp(installation)


@pytest.fixture
def attested(app):
    assert app.attests().status_code == 200
    return app


def counter_of(app):
    return AttestedKey.objects.get(key_id=app.enclave.key_name).counter


def test_one_challenge_to_six_keys_at_once_attests_one(app, at_once):
    apps = [AttestedApp(app.phone) for _ in range(6)]
    challenge = app.challenge()

    answers = at_once(*(lambda one=one: one.attests(challenge=challenge) for one in apps))

    assert sorted(answer.status_code for answer in answers) == [200] + [403] * 5
    assert AttestedKey.objects.filter(device_id=app.phone.device_id).count() == 1


def test_one_attestation_six_times_at_once_is_one_key(app, at_once):
    body = app.body()

    answers = at_once(*[lambda: app.phone.post("attest-device", body)] * 6)

    assert {answer.status_code for answer in answers} == {200}
    assert AttestedKey.objects.filter(device_id=app.phone.device_id).count() == 1


def test_one_proof_eight_times_at_once_is_one_check(attested, at_once):
    proof = attested.proof()

    answers = at_once(*[lambda: attested.checks(proof)] * 8)

    assert sorted(answer.status_code for answer in answers) == [200] + [403] * 7
    assert counter_of(attested) == 1


def test_one_challenge_under_eight_counters_at_once_is_one_check(attested, at_once):
    challenge = attested.challenge()
    proofs = [attested.proof(challenge=challenge) for _ in range(8)]

    answers = at_once(*(lambda proof=proof: attested.checks(proof) for proof in proofs))

    assert sorted(answer.status_code for answer in answers) == [200] + [403] * 7


def test_of_eight_counters_at_once_the_highest_is_kept(attested, at_once):
    proofs = [attested.proof() for _ in range(8)]

    answers = at_once(*(lambda proof=proof: attested.checks(proof) for proof in proofs))

    assert {answer.status_code for answer in answers} <= {200, 403}
    assert answers[-1].status_code == 200
    assert counter_of(attested) == 8
