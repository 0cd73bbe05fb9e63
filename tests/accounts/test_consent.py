"""Consent: said, taken back, on record; and where it is required nothing is generated without."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Consent
from generation.catalogue import cache
from generation.models import GenerationModel, Job, ProviderRoute
from tests.helpers.model_ids import SORA

pytestmark = pytest.mark.django_db


def say(phone, kind="ai_providers", version="1", **rest):
    return phone.post("record-consent", {"kind": kind, "version": version} | rest)


def consents(phone):
    return {consent["kind"]: consent for consent in phone.get("consents").json()["consents"]}


@pytest.fixture
def required(settings, phone):
    """Generations need consent; nobody has given it."""
    settings.REQUIRE_AI_CONSENT = True
    return phone


def test_who_has_said_nothing_has_no_consents(phone):
    assert phone.get("consents").json() == {"consents": []}


def test_what_was_agreed_to_is_shown_with_version_and_time(phone):
    answer = say(phone, "terms", "2026-01")

    assert answer.status_code == 200
    assert answer.json()["success"] is True
    terms = consents(phone)["terms"]
    assert (terms["version"], terms["granted"], terms["providers"]) == ("2026-01", True, [])
    assert terms["recorded_at"].endswith("Z")
    assert answer.json()["consents"] == phone.get("consents").json()["consents"]


def test_the_latest_counts_and_the_earlier_stay_in_the_history(phone):
    say(phone, "privacy", "1")
    say(phone, "privacy", "2")
    say(phone, "privacy", "2", granted=False)

    privacy = consents(phone)["privacy"]

    assert (privacy["version"], privacy["granted"]) == ("2", False)
    assert [(one["version"], one["granted"]) for one in privacy["history"]] == [
        ("2", False),
        ("2", True),
        ("1", True),
    ]


def test_saying_the_same_again_leaves_the_first_record(phone):
    first = say(phone, "terms").json()

    again = say(phone, "terms")

    assert again.status_code == 200
    assert again.json() == first
    assert Consent.objects.count() == 1


def test_kinds_do_not_touch_each_other(phone):
    say(phone, "terms")
    say(phone, "privacy", granted=False)

    assert {kind: one["granted"] for kind, one in consents(phone).items()} == {
        "terms": True,
        "privacy": False,
    }


def test_providers_are_agreed_to_and_taken_back_one_by_one(phone):
    say(phone, providers=["fal"])
    say(phone, providers=["other"])
    assert consents(phone)["ai_providers"]["providers"] == ["fal", "other"]

    say(phone, providers=["other"], granted=False)

    assert consents(phone)["ai_providers"]["providers"] == ["fal"]
    assert consents(phone)["ai_providers"]["granted"] is True


def test_taken_back_without_names_is_taken_back_for_all_and_names_them(phone):
    say(phone, providers=["fal", "other"])

    say(phone, granted=False)
    say(phone, granted=False)

    now = consents(phone)["ai_providers"]
    assert (now["granted"], now["providers"]) == (False, [])
    assert [one["providers"] for one in now["history"]] == [["fal", "other"]] * 2


def test_another_users_consents_are_not_shown(phone, guest):
    say(phone, "terms")

    assert consents(phone).keys() == {"terms"}
    assert guest.get("consents").json() == {"consents": []}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"kind": "cookies"}, "kind"),
        ({"version": ""}, "version"),
        ({"version": "\u2800"}, "version"),
        ({"version": "x" * 33}, "version"),
        ({"granted": "yes"}, "granted"),
        ({"granted": None}, "granted"),
        ({"providers": "fal"}, "providers"),
        ({"providers": [1]}, "providers.0"),
        ({"providers": ["x" * 21]}, "providers.0"),
        ({"providers": []}, "providers"),
        ({"kind": "terms"}, "providers"),
    ],
)
def test_nonsense_is_refused_by_field_and_not_recorded(phone, refusal, wrong, field):
    body = {"kind": "ai_providers", "version": "1", "providers": ["fal"]}

    answer = phone.post("record-consent", body | wrong)

    assert refusal(answer) == (400, "ERR_4008")
    assert any(
        name.startswith(field.split(".")[0]) for name in answer.json()["error"]["details"]["fields"]
    )
    assert not Consent.objects.exists()
    assert phone.post("record-consent", body).status_code == 200


def test_consent_needs_a_session(client, refusal):
    body = {"kind": "terms", "version": "1"}

    assert refusal(client.get("/v1/consents")) == (401, "ERR_4005")
    assert refusal(client.post("/v1/record-consent", body)) == (401, "ERR_4005")


def test_without_consent_a_generation_is_refused_with_the_providers_and_charges_nothing(required):
    answer = required.generate()

    assert answer.status_code == 403
    error = answer.json()["error"]
    assert (error["code"], error["type"]) == ("ERR_4021", "CONSENT_REQUIRED")
    assert error["details"] == {"providers": ["fal"]}
    assert required.balance() == 10
    assert not Job.objects.exists()


def test_with_consent_the_same_request_and_key_get_their_job(required):
    key = "7e57ab1e-0000-4000-8000-000000000001"
    assert required.generate(key=key).status_code == 403

    say(required, providers=["fal"])

    assert required.generate(key=key).status_code == 200


def test_consent_that_was_taken_back_refuses_again(required):
    say(required, providers=["fal"])
    assert required.generate(settings={"duration": 4}).status_code == 200

    say(required, granted=False)

    assert required.generate(settings={"duration": 4}).status_code == 403


def test_a_provider_that_joins_the_catalogue_needs_consent_of_its_own(required):
    say(required, providers=["fal"])
    model = GenerationModel.objects.get(id=SORA)
    ProviderRoute.objects.create(
        model=model,
        provider="other",
        provider_model_id="sora",
        position=9,
        cost_usd=1,
        cost_unit="piece",
        parameters={},
    )
    cache.invalidate()

    refused = required.generate()
    say(required, version="2", providers=["fal", "other"])

    assert refused.json()["error"]["details"] == {"providers": ["fal", "other"]}
    assert required.generate().status_code == 200


def test_consent_to_terms_is_no_consent_to_providers(required):
    say(required, "terms")
    say(required, "privacy")

    assert required.generate().status_code == 403


def test_another_users_consent_does_not_count(required, guest):
    guest.post("record-consent", {"kind": "ai_providers", "version": "1", "providers": ["fal"]})

    assert required.generate().status_code == 403


def test_a_replay_is_answered_although_consent_was_taken_back(required):
    key = "7e57ab1e-0000-4000-8000-000000000002"
    say(required, providers=["fal"])
    first = required.generate(key=key)

    say(required, granted=False)
    again = required.generate(key=key)

    assert again.json() == first.json()
    assert again["X-Idempotent-Replay"] == "true"


def test_consent_costs_a_generation_one_query_and_none_while_it_is_not_required(phone, settings):
    say(phone, providers=["fal"])
    phone.generate(settings={"duration": 4})  # the catalogue is in memory now

    def queries(required):
        settings.REQUIRE_AI_CONSENT = required
        with CaptureQueriesContext(connection) as counted:
            assert phone.generate(settings={"duration": 4}, key=None).status_code in {200, 402}
        return [query["sql"] for query in counted]

    without, with_it = queries(False), queries(True)

    assert not any("accounts_consent" in sql for sql in without)
    assert len([sql for sql in with_it if "accounts_consent" in sql]) == 1
