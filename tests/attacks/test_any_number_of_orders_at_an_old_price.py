"""An attacker keeps a price that was a mistake, and orders with it without end."""

from __future__ import annotations

from uuid import uuid4

import pytest

from generation.catalogue import cache
from generation.models import GenerationModel, Job
from tests.helpers.concurrency import at_once
from tests.helpers.job_driver import JobDriver, grant
from tests.helpers.model_ids import SORA
from tests.helpers.phone import Phone, assert_refused

ASKED = {"model_id": str(SORA), "prompt": "A red balloon over the sea"}


@pytest.fixture
def cheap_quote(phone, sandbox):
    """A quote of one credit; the price has been mended since."""
    grant(phone.user_id, 100)
    GenerationModel.objects.filter(id=SORA).update(base_price_usd="0.0100")
    cache.invalidate()
    quote = phone.post("quote-video", ASKED).json()
    assert quote["credits"] == 1
    GenerationModel.objects.filter(id=SORA).update(base_price_usd="0.4000")
    cache.invalidate()
    return quote["quote_id"]


def test_a_quote_is_good_for_a_few_orders_and_no_more(phone, cheap_quote, settings):
    answers = [phone.generate(**ASKED, quote_id=cheap_quote) for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200] * settings.QUOTE_ORDERS + [400] * 2
    fields = assert_refused(answers[-1], 400, "ERR_4008")["fields"]
    assert fields == {"quote_id": ["This quote has been used up."]}
    assert {answer.json()["credits_used"] for answer in answers[:3]} == {1}


def test_orders_at_once_use_a_quote_no_oftener(committed, sandbox, settings):
    phone = Phone().sign_in()
    quote_id = phone.post("quote-video", ASKED).json()["quote_id"]
    settings.QUOTE_ORDERS = 1

    answers = at_once(*[lambda: phone.generate(**ASKED, quote_id=quote_id)] * 4)

    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]
    for job in Job.objects.filter(user_id=phone.user_id):
        phone.post("cancel-video-job", {"job_id": str(job.id)})


def test_what_is_refused_or_replayed_uses_nothing_up(phone, cheap_quote, settings):
    settings.QUOTE_ORDERS = 1
    key = str(uuid4())
    other = {"duration": 8}
    assert phone.generate(**ASKED, quote_id=cheap_quote, settings=other).status_code == 400

    first = phone.generate(**ASKED, quote_id=cheap_quote, key=key)
    again = phone.generate(**ASKED, quote_id=cheap_quote, key=key)

    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()


def test_a_job_that_failed_is_ordered_again_at_the_price_that_was_kept(phone, sandbox, cheap_quote):
    sandbox.provider(queue_seconds=0, run_seconds=0, webhooks=False, outcome="error")
    job_id = phone.generate(**ASKED, quote_id=cheap_quote).json()["job_id"]
    JobDriver().run_until_done(Job.objects.get(id=job_id))

    again = phone.generate(**ASKED, quote_id=cheap_quote)

    assert again.json()["credits_used"] == 1
