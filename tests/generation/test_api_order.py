"""quote-video and generate-video: accepted orders, prices and refusals."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone, translation

from credits import services as credit_services
from credits.services import Source
from generation.catalogue import cache, orders
from generation.errors import InvalidPrompt
from generation.models import GenerationModel, Job, Quote, Theme
from tests.helpers.model_ids import SORA, VEO
from tests.helpers.phone import Phone, assert_refused

NEON_RAIN = "00000000-0000-4000-8000-000000000080"  # of Sora 2


def job_of(answer):
    assert answer.status_code == 200, answer.content
    return Job.objects.get(id=answer.json()["job_id"])


def cancel(phone, job):
    """Cancel, so that the credits are back for the next order."""
    answer = phone.post("cancel-video-job", {"job_id": str(job.id)})
    assert answer.json()["refunded"] is True


# --- What comes back --------------------------------------------------------------------------


def test_an_order_is_charged_and_pending(phone):
    answer = phone.generate(settings={"duration": 8})

    job = job_of(answer)
    assert answer.json() == {
        "job_id": str(job.id),
        "status": "pending",
        "credits_used": 8,
        "credits_remaining": 2,
        "cancel_fee_after_start": 0,
        "settings": {"duration": 8, "resolution": "720p", "aspect_ratio": "16:9"},
    }
    assert phone.balance() == 2
    assert phone.get("get-credit-history").json()["entries"][0]["job_id"] == str(job.id)


def test_defaults_complete_what_is_not_said(phone):
    job = job_of(phone.generate(settings={"resolution": None}))

    assert job.settings == {"duration": 4, "resolution": "720p", "aspect_ratio": "16:9"}
    assert job.credits == 4


def test_auto_is_what_the_answer_says_that_it_became(phone):
    Theme.objects.filter(id=NEON_RAIN).update(default_settings={"aspect_ratio": "9:16"})
    cache.invalidate()
    auto = {"resolution": "auto", "aspect_ratio": "auto"}

    for asked, aspect_ratio in (({}, "16:9"), ({"model_id": None, "theme_id": NEON_RAIN}, "9:16")):
        answer = phone.generate(**asked, settings=auto)

        became = {"duration": 4, "resolution": "720p", "aspect_ratio": aspect_ratio}
        assert answer.json()["settings"] == job_of(answer).settings == became
        assert quote(phone, **asked, settings=auto)["settings"] == became


def test_auto_is_a_value_where_the_model_lists_it(phone):
    model = GenerationModel.objects.get(id=SORA)
    model.settings["aspect_ratio"] = {"allowed": ["16:9", "auto"], "default": "16:9"}
    model.save()
    cache.invalidate()

    answer = phone.generate(settings={"aspect_ratio": "auto"})

    assert answer.json()["settings"]["aspect_ratio"] == "auto"


def test_auto_asks_a_model_without_the_setting_for_nothing(phone):
    GenerationModel.objects.filter(id=SORA).update(
        settings={"duration": {"allowed": [4], "default": 4}}
    )
    cache.invalidate()

    answer = phone.generate(settings={"resolution": "auto", "aspect_ratio": "auto"})

    assert answer.json()["settings"] == {"duration": 4}


def test_without_model_and_theme_the_default_model_is_taken(phone):
    assert job_of(phone.generate(model_id=None)).model_id == VEO


def test_a_theme_brings_its_model_and_its_prompt(phone):
    job = job_of(phone.generate(model_id=None, theme_id=NEON_RAIN, prompt=None))

    assert (job.model_id, str(job.theme_id)) == (SORA, NEON_RAIN)
    assert job.prompt == Theme.objects.get(id=NEON_RAIN).default_prompt


def test_with_theme_and_model_the_model_said_is_taken_and_the_prompt_said_too(phone):
    job = job_of(phone.generate(model_id=str(VEO), theme_id=NEON_RAIN, prompt="My own words"))

    assert (job.model_id, job.prompt) == (VEO, "My own words")


def test_a_themes_settings_are_defaults_that_the_request_overrides(phone):
    Theme.objects.filter(id=NEON_RAIN).update(
        default_settings={"duration": 8, "aspect_ratio": "9:16"}
    )
    cache.invalidate()

    job = job_of(phone.generate(model_id=None, theme_id=NEON_RAIN, settings={"duration": 4}))

    assert job.settings == {"duration": 4, "resolution": "720p", "aspect_ratio": "9:16"}


# --- What is refused --------------------------------------------------------------------------


def test_a_prompt_of_3_to_2000_characters_fits(phone):
    for prompt in ("abc", "  abc  ", "a" * 2000, "🎈" * 2000, "雨\u200bの夜"):
        job = job_of(phone.generate(prompt=prompt))

        assert job.prompt == prompt.strip()
        cancel(phone, job)


def test_a_prompt_that_is_shorter_longer_or_no_text_is_refused(phone):
    for prompt in ("ab", "", "   ", "  ab  ", "a" * 2001, None, 12345, ["abc"], {"a": "b"}, True):
        assert_refused(phone.generate(prompt=prompt), 400, "ERR_4003")
    assert phone.balance() == 10


@pytest.mark.parametrize("unseen", ["\u200b", "\u3164", "\u2800", "\ufe0f", "\u0301", "\u00a0"])
def test_a_prompt_that_nobody_can_see_is_refused(phone, unseen):
    for prompt in (unseen * 20, f"a{unseen * 20}b" if unseen != "\u0301" else unseen * 3):
        assert_refused(phone.generate(prompt=prompt), 400, "ERR_4003")
        assert_refused(
            phone.post("quote-video", {"model_id": str(SORA), "prompt": prompt}), 400, "ERR_4003"
        )
    assert phone.balance() == 10


@pytest.mark.parametrize("language", ["en", "tr", "es"])
def test_the_message_about_a_prompt_states_the_limits(language):
    with translation.override(language):
        message = InvalidPrompt().text

    numbers = [
        int(number) for number in re.findall(r"\d+", re.sub(r"(?<=\d)[.,](?=\d)", "", message))
    ]
    assert sorted(numbers) == [orders.PROMPT_MIN_VISIBLE, orders.PROMPT_MAX]


@pytest.mark.parametrize("field", ["model_id", "theme_id"])
def test_an_unknown_model_or_theme_is_404_and_what_is_no_id_400(phone, field):
    assert_refused(phone.generate(**{field: str(uuid4())}), 404, "ERR_4002")

    for nonsense in ("sora", 7, True, ["a"], {"a": 1}, 10**70, 1.5, "0" * 5000):
        details = assert_refused(phone.generate(**{field: nonsense}), 400, "ERR_4008")
        assert list(details["fields"]) == [field]
    assert phone.balance() == 10


def test_a_model_off_sale_is_404_and_its_theme_too(phone):
    GenerationModel.objects.filter(id=SORA).update(is_available=False)
    cache.invalidate()

    assert_refused(phone.generate(), 404, "ERR_4002")
    assert_refused(phone.generate(model_id=None, theme_id=NEON_RAIN), 404, "ERR_4002")
    assert phone.balance() == 10


def test_a_duration_that_is_not_allowed_is_refused_whatever_its_type(phone):
    others = (5, 0, -4, 4.0, 8.0, "4", True, False, [4], {"a": 4}, 10**70, -(10**70), 1e300)
    for duration in others:
        details = assert_refused(phone.generate(settings={"duration": duration}), 400, "ERR_4008")
        assert details["fields"] == {"settings.duration": ["Must be one of 4, 8, 12."]}, duration
    assert phone.balance() == 10

    assert phone.generate(settings={"duration": 4}).status_code == 200


def test_all_wrong_settings_are_named_at_once(phone):
    details = assert_refused(
        phone.generate(settings={"duration": 5, "resolution": "8k", "aspect_ratio": 169}),
        400,
        "ERR_4008",
    )

    assert set(details["fields"]) == {
        "settings.duration", "settings.resolution", "settings.aspect_ratio"
    }  # fmt: skip


@pytest.mark.parametrize(
    "asked",
    [
        {"duratoin": 8},
        {"Duration": 8},
        {"duration ": 8},
        {"fps": 24},
        {"fps": "auto"},
        {"prompt": "A cat"},
        {"": 1},
    ],
)
@pytest.mark.parametrize("theme_id", [None, NEON_RAIN])
def test_a_setting_that_the_model_does_not_have_is_named_with_those_that_it_has(
    phone, asked, theme_id
):
    [name] = asked
    problem = ["This model has no such setting. It has: duration, resolution, aspect_ratio."]

    for answer in (
        phone.generate(theme_id=theme_id, settings={"duration": 8} | asked),
        phone.post(
            "quote-video", {"model_id": str(SORA), "prompt": "A red balloon", "settings": asked}
        ),
    ):
        details = assert_refused(answer, 400, "ERR_4008")
        assert details["fields"] == {f"settings.{name}": problem}
    assert phone.balance() == 10


def test_a_refusal_names_some_of_many_unknown_settings(phone):
    many = {f"{number}{'x' * 1000}": 1 for number in range(100)}

    answer = phone.generate(settings=many)

    assert len(assert_refused(answer, 400, "ERR_4008")["fields"]) == 20
    assert len(answer.content) < 5000


def test_settings_that_are_no_object_are_refused(phone):
    for chosen in ([], "8", 8, True):
        details = assert_refused(phone.generate(settings=chosen), 400, "ERR_4008")
        assert list(details["fields"]) == ["settings"]


def test_a_key_that_is_no_uuid_is_refused(phone):
    order = {"model_id": str(SORA), "prompt": "A red balloon"}

    assert_refused(phone.post("generate-video", order), 400, "ERR_4009")
    for key in ("", "key", "1234", "g" * 32, "0" * 5000, "é"):
        assert_refused(phone.post("generate-video", order, Idempotency_Key=key), 400, "ERR_4009")
    assert phone.balance() == 10

    assert phone.post("generate-video", order, Idempotency_Key=str(uuid4())).status_code == 200


def test_too_few_credits_are_402_with_both_numbers(phone):
    phone.generate(settings={"duration": 8})

    details = assert_refused(phone.generate(), 402, "ERR_4001")

    assert details == {"required": 4, "available": 2}
    assert phone.balance() == 2


def test_a_suspended_account_orders_nothing(phone):
    credit_services.suspend(user_id=phone.user_id)

    assert_refused(phone.generate(), 403, "ERR_4018")

    assert phone.balance() == 10


# --- One key, one job -------------------------------------------------------------------------


def test_a_replay_is_the_same_answer_and_charges_nothing(phone):
    key = str(uuid4())
    first = phone.generate(key=key)

    again = phone.generate(key=key)

    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert "X-Idempotent-Replay" not in first.headers
    assert again.headers["X-Idempotent-Replay"] == "true"
    assert phone.balance() == 6


def test_another_spelling_of_the_same_body_is_a_replay(phone):
    key = str(uuid4())
    phone.post(
        "generate-video", {"prompt": "A balloon", "model_id": str(SORA)}, Idempotency_Key=key
    )

    again = phone.client.post(
        "/v1/generate-video",
        f'{{ "model_id":"{SORA}",\n "prompt" : "A\\u0020balloon" }}',
        content_type="application/json",
        headers={"Authorization": f"Bearer {phone.session['access_token']}",
                 "Idempotency-Key": key.upper()},
    )  # fmt: skip

    assert again.headers["X-Idempotent-Replay"] == "true"


def test_another_body_under_the_key_is_422_even_if_it_is_wrong_itself(phone):
    key = str(uuid4())
    phone.generate(key=key)

    for other in ({"prompt": "A blue balloon"}, {"prompt": "x"}, {"model_id": str(uuid4())}):
        assert_refused(phone.generate(key=key, **other), 422, "ERR_4010")
    assert phone.balance() == 6


def test_another_users_same_key_is_an_order_of_its_own(phone):
    key = str(uuid4())
    first = phone.generate(key=key)

    second = Phone().sign_in().generate(key=key)

    assert second.status_code == 200
    assert second.json()["job_id"] != first.json()["job_id"]


def test_a_replay_of_what_emptied_the_wallet_succeeds(phone):
    key = str(uuid4())
    order = {"model_id": str(VEO), "key": key}
    first = phone.generate(**order)
    assert phone.balance() == 0

    assert phone.generate(**order).content == first.content
    assert_refused(phone.generate(model_id=str(VEO)), 402, "ERR_4001")


def test_a_replay_outlives_the_model_and_the_account_being_open(phone):
    key = str(uuid4())
    first = phone.generate(key=key)
    GenerationModel.objects.filter(id=SORA).update(is_available=False)
    cache.invalidate()
    credit_services.suspend(user_id=phone.user_id)

    assert phone.generate(key=key).content == first.content


def test_a_402_is_forgotten_so_that_its_key_works_once_credits_have_come(phone):
    key = str(uuid4())
    order = {"settings": {"duration": 12}, "key": key}
    assert_refused(phone.generate(**order), 402, "ERR_4001")

    credit_services.grant(
        user_id=phone.user_id, amount=2, source=Source.SUPPORT, reason="test", now=timezone.now()
    )

    assert phone.generate(**order).json()["credits_used"] == 12
    assert phone.balance() == 0


def test_a_refused_order_is_forgotten_and_its_key_takes_another_body(phone):
    key = str(uuid4())
    assert_refused(phone.generate(key=key, prompt="x"), 400, "ERR_4003")

    assert phone.generate(key=key).status_code == 200


# --- Quotes -----------------------------------------------------------------------------------


def quote(phone, **body):
    answer = phone.post("quote-video", {"model_id": str(SORA), "prompt": "A red balloon"} | body)
    assert answer.status_code == 200, answer.content
    return answer.json()


def double_the_price():
    GenerationModel.objects.filter(id=SORA).update(base_price_usd="0.80")
    cache.invalidate()


def test_a_quote_says_the_price_and_whether_it_can_be_paid(phone):
    found = quote(phone, settings={"duration": 8})

    assert (found["credits"], found["credits_remaining"], found["affordable"]) == (8, 10, True)
    assert quote(phone, settings={"duration": 12})["affordable"] is False
    assert found["expires_at"].endswith("Z")
    assert phone.balance() == 10


def test_a_wallet_that_owes_can_afford_nothing_whatever_it_holds(phone):
    gift = {"user_id": phone.user_id, "reason": "test", "now": timezone.now()}
    credit_services.grant(amount=20, source=Source.PURCHASE, transaction_id="owed-1", **gift)
    credit_services.grant(amount=30, source=Source.SUPPORT, **gift)
    for _ in range(2):  # the welcome's 10, and 14 of what was bought
        phone.generate(settings={"duration": 12})
    credit_services.claw_back(transaction_id="owed-1", reason="test", now=timezone.now())

    found = quote(phone)

    assert (found["credits"], found["credits_remaining"], found["affordable"]) == (4, 30, False)
    details = assert_refused(phone.generate(), 402, "ERR_4001")
    assert details == {"required": 4, "available": 30, "debt": 14}
    jobs = phone.get("get-video-jobs").json()["jobs"]
    assert [job["status"] for job in jobs] == ["pending", "pending"]  # what was ordered goes on
    credit_services.grant(amount=14, source=Source.SUPPORT, **gift)
    assert quote(phone)["affordable"] is True
    assert phone.generate().status_code == 200


def test_a_quote_is_honoured_after_the_price_has_changed(phone):
    quoted = quote(phone)
    double_the_price()

    assert quote(phone)["credits"] == 8
    assert phone.generate(quote_id=quoted["quote_id"]).json()["credits_used"] == 4
    assert phone.generate(quote_id=None).status_code == 402


@pytest.mark.parametrize(
    "other",
    [{"settings": {"duration": 8}}, {"settings": {"aspect_ratio": "9:16"}}, {"model_id": str(VEO)}],
)
def test_a_quote_is_for_what_was_quoted(phone, other):
    quoted = quote(phone)

    details = assert_refused(phone.generate(quote_id=quoted["quote_id"], **other), 400, "ERR_4008")

    assert list(details["fields"]) == ["quote_id"]
    assert phone.generate(quote_id=quoted["quote_id"]).status_code == 200


def test_an_expired_quote_is_refused_and_one_before_its_time_is_not(phone):
    quoted = quote(phone)["quote_id"]
    Quote.objects.filter(id=quoted).update(expires_at=timezone.now())

    details = assert_refused(phone.generate(quote_id=quoted), 400, "ERR_4008")

    assert list(details["fields"]) == ["quote_id"]
    Quote.objects.filter(id=quoted).update(expires_at=timezone.now() + timedelta(minutes=1))
    assert phone.generate(quote_id=quoted).status_code == 200


def test_a_strangers_quote_is_not_there_and_what_is_no_id_is_refused(phone):
    theirs = quote(Phone().sign_in())["quote_id"]

    assert_refused(phone.generate(quote_id=theirs), 404, "ERR_4007")
    assert_refused(phone.generate(quote_id=str(uuid4())), 404, "ERR_4007")
    assert_refused(phone.generate(quote_id="cheap"), 400, "ERR_4008")
    assert phone.balance() == 10


def test_a_quote_refuses_what_an_order_refuses(phone):
    assert_refused(phone.post("quote-video", {"prompt": "x"}), 400, "ERR_4003")
    assert_refused(
        phone.post("quote-video", {"model_id": str(uuid4()), "prompt": "abc"}), 404, "ERR_4002"
    )
    assert_refused(
        phone.post("quote-video", {"prompt": "abc", "settings": {"duration": 5}}), 400, "ERR_4008"
    )
