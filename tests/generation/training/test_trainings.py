"""Trainings as a phone sees them: prices, order, progress, result, cancellation, lists."""

from __future__ import annotations

import io
import zipfile
from datetime import timedelta
from uuid import uuid4

import pytest
from django.core.files.storage import default_storage

from accounts.push import sending
from credits.ledger_check import find_discrepancies
from generation.lifecycle import settle
from generation.models import (
    FileDeletion,
    GenerationModel,
    Job,
    ProviderRequest,
    TrainedModel,
    TrainingConsent,
    TrainingPicture,
    TrainingSet,
)
from generation.providers.base import FailureReason
from generation.training.picture_checks import MESSAGES
from rendio.common.errors import InternalError
from rendio.events.items import BalanceItem
from rendio.events.reading import Topic, read
from tests.generation.training.orders import (
    CONSENT,
    make_set,
    only_trained_by,
    own_training,
    start,
    started,
    stop_selling,
    trained_by,
)
from tests.helpers import training_pictures
from tests.helpers.job_driver import assert_refunded, grant, submissions
from tests.helpers.phone import assert_refused
from tests.helpers.trained_weights import metadata_of


def stored(name: str) -> bytes:
    with default_storage.open(name) as file:
        content: bytes = file.read()
    return content


def test_options_state_kinds_prices_and_the_consent(customer):
    customer.language = "tr"
    options = customer.get("train/options").json()

    person, style, thing = options["kinds"]
    assert (person["kind"], person["needs_consent"], person["min_pictures"]) == ("person", True, 10)
    assert (style["kind"], style["needs_consent"], style["min_pictures"]) == ("style", False, 4)
    assert thing["kind"] == "object"
    prices = {one["steps"]: one["credits"] for one in person["steps"]}
    assert prices == {600: 30, 1200: 60, 2000: 100}
    assert "görsellerde" in options["consent"]["text"]
    assert options["consent"]["text_version"] == CONSENT["text_version"]


@pytest.mark.parametrize("provider", ["fal", "replicate"])
def test_a_set_becomes_a_model(customer, instant_trainers, life, provider):
    only_trained_by(provider)
    before = customer.balance()
    job = started(customer, set_id=make_set(customer, count=11, problems={3: ["blurred"]}))
    pending = own_training(customer, job.id)
    assert (pending["status"], pending["usable"], pending["progress"]) == ("pending", False, 0)

    life.run_until_done(job)

    done, trained = own_training(customer, job.id), trained_by(job)
    assert (done["status"], done["progress"], done["usable"]) == ("completed", 100, True)
    assert (done["refunded"], done["error"], done["eta_seconds"]) == (False, None, None)
    assert before - customer.balance() == done["credits_used"] == 30
    # The weights are what the trainer made of this word, and lie with us.
    weights = stored(trained.weights_name)
    found = metadata_of(weights)
    assert (found["trigger_word"], found["steps"]) == (trained.trigger_word, "600")
    assert (trained.weights_size_bytes, trained.base_family) == (len(weights), "flux-1-dev")
    assert trained.provider == provider
    assert bool(trained.provider_model) == (provider == "replicate")
    # What the trainer got: the usable images in order, with captions where the route wants them.
    archive_name = f"jobs/{job.id}/{ProviderRequest.objects.get(job=job).id}.zip"
    with zipfile.ZipFile(io.BytesIO(stored(archive_name))) as archive:
        images = [name for name in archive.namelist() if name.endswith(".jpg")]
        captions = [archive.read(name) for name in archive.namelist() if name.endswith(".txt")]
    assert images == [f"{number:02}.jpg" for number in range(1, 11)]
    caption = f"a photo of {trained.trigger_word} person".encode()
    assert captions == ([caption] * 10 if provider == "replicate" else [])
    # It goes by itself.
    assert FileDeletion.objects.filter(name=archive_name, due_at__gt=life.now).exists()
    assert find_discrepancies() == []


def test_from_uploaded_images_to_an_image(customer, instant_trainers, life):
    """All of it over HTTP, as a phone does it."""
    sent = training_pictures.upload(
        customer, [training_pictures.jpeg(training_pictures.scene(n)) for n in range(4)]
    ).json()
    answer = start(customer, set_id=sent["set_id"], kind="style", name="Soft colours").json()
    life.run_until_done(Job.objects.get(id=answer["training_id"]))
    [model] = customer.get("train/models").json()["models"]
    assert (model["usable"], model["model_id"]) == (True, answer["model_id"])

    ordered = customer.post(
        "generate/image",
        {"prompt": "a lighthouse", "trained_model_id": model["model_id"]},
        Idempotency_Key=str(uuid4()),
    )
    assert ordered.status_code == 200, ordered.content
    life.run_until_done(Job.objects.get(id=ordered.json()["job_id"]))

    made = customer.get(f"generate/{ordered.json()['job_id']}").json()
    assert (made["status"], len(made["images"])) == ("completed", 1)
    # The set is not locked any more, and goes when it expires.
    training_set = TrainingSet.objects.get(id=sent["set_id"])
    assert training_set.remove_at is not None
    assert find_discrepancies() == []


def test_what_cannot_be_trained_is_refused_before_any_charge(customer, new_guest, subtests):
    before = customer.balance()
    stop_selling("object")
    few = make_set(customer, problems={2: ["blurred"], 4: ["duplicate", "too_small"]})
    bad = {
        f"pictures.{one.id}": [str(MESSAGES[problem]) for problem in one.problems]
        for one in TrainingPicture.objects.filter(set_id=few).exclude(problems=[])
    }
    expired = make_set(customer)
    TrainingSet.objects.filter(id=expired).update(expires_at="2026-01-01T00:00Z")
    cases = {
        "no consent": ({"consent": None}, 400, {"consent"}),
        "not accepted": ({"consent": CONSENT | {"accepted": False}}, 400, {"consent"}),
        "another text": (
            {"consent": CONSENT | {"text_version": "1"}},
            400,
            {"consent.text_version"},
        ),
        "too few images": ({"set_id": few}, 400, {"set_id", *bad}),
        "expired": ({"set_id": expired}, 400, {"set_id"}),
        "other steps": ({"steps": 601}, 400, {"steps"}),
        "no name": ({"name": " \u200b"}, 400, {"name"}),
        "long name": ({"name": "x" * 61}, 400, {"name"}),
        "no kind": ({"kind": "animal"}, 400, {"kind"}),
        "not on sale": ({"kind": "object"}, 404, None),
        "unknown set": ({"set_id": str(uuid4())}, 404, None),
        "a stranger's set": ({"set_id": make_set(new_guest())}, 404, None),
    }
    for name, (changes, status, fields) in cases.items():
        with subtests.test(name):
            if changes.get("consent", CONSENT) is None:
                answer = customer.post(
                    "train/start",
                    {"set_id": few, "name": "Ada", "kind": "person", "steps": 600},
                    Idempotency_Key=str(uuid4()),
                )
            else:
                answer = start(customer, **changes)
            assert answer.status_code == status, answer.content
            if fields:
                assert set(answer.json()["error"]["details"]["fields"]) == fields
    details = assert_refused(start(customer, set_id=few), 400, "ERR_4008")
    assert {name: details["fields"][name] for name in bad} == bad
    assert customer.balance() == before
    assert not TrainedModel.objects.exists()
    assert not TrainingConsent.objects.exists()


def test_a_training_is_charged_once_for_a_key(customer, phone):
    key, set_id = str(uuid4()), make_set(customer)

    first, again = (start(customer, key=key, set_id=set_id, name="Ada") for _ in range(2))

    assert first.status_code == 200, first.content
    assert first.content == again.content
    assert again.headers["X-Idempotent-Replay"] == "true"
    assert_refused(start(customer, key=key, set_id=set_id, name="Eva"), 422, "ERR_4010")
    [trained], [consent] = TrainedModel.objects.all(), TrainingConsent.objects.all()
    assert str(trained.job_id) == first.json()["training_id"]
    assert (consent.text_version, consent.language) == (CONSENT["text_version"], "en")
    assert trained.consent == consent
    assert customer.balance() == 80


def test_a_training_that_cannot_be_paid_leaves_nothing(customer):
    answer = start(customer, steps=2000, set_id=make_set(customer))
    assert answer.status_code == 200

    assert_refused(start(customer, steps=2000), 402, "ERR_4001")

    assert TrainedModel.objects.count() == TrainingConsent.objects.count() == 1
    assert find_discrepancies() == []


def test_a_style_needs_no_consent(customer, instant_trainers, life):
    job = started(customer, kind="style")
    life.run_until_done(job)

    assert own_training(customer, job.id)["usable"] is True
    assert trained_by(job).consent is None


def test_calls_about_media_know_no_trainings(customer, instant_trainers, life):
    job = started(customer)
    life.run_until_done(job)
    trainer = GenerationModel.objects.get(id=job.model_id)

    for answer in (
        customer.get("get-video-status", job_id=job.id),
        customer.get(f"generate/{job.id}"),
        customer.get(f"provenance/{job.id}"),
        customer.get(f"video-jobs/{job.id}/events"),
        customer.post("cancel-video-job", {"job_id": str(job.id)}),
        customer.post(f"generate/{job.id}/cancel"),
        customer.post("delete-video-job", {"job_id": str(job.id)}),
        customer.post("retry-video-job", {"job_id": str(job.id)}, Idempotency_Key=str(uuid4())),
    ):
        assert_refused(answer, 404, "ERR_4007")
    for route in ("get-jobs", "get-video-jobs"):
        assert customer.get(route).json()["jobs"] == []
    for order in ({"model_id": str(trainer.id)}, {"model_id": None, "kind": "training"}):
        assert customer.generate(**order).status_code in {400, 404}
    assert str(trainer.id) not in customer.get("get-models").content.decode()
    # Event streams tell the balance alone.
    topics = Topic(customer.user_id), Topic(customer.user_id, job.id)
    told = {type(item) for items in read(topics, now=life.now).values() for item in items}
    assert told == {BalanceItem}
    # Nor does any answer have an address of the weights.
    assert "/media/" not in str(own_training(customer, job.id))


def test_progress_follows_the_usual_time_and_ends_below_100(customer, sandbox, life):
    sandbox.provider(queue_seconds=0, run_seconds=3600, webhooks=False)
    job = started(customer)
    life.submit()
    job.refresh_from_db()
    # 600 steps at half a second each, as the trainer states.
    assert job.expected_at is not None
    assert abs(job.expected_at - life.now - timedelta(seconds=300)) < timedelta(seconds=5)

    seen = []
    for left in (240, 150, 30, -900):
        Job.objects.filter(id=job.id).update(
            created_at=job.created_at - timedelta(seconds=300 - left),
            expected_at=job.expected_at - timedelta(seconds=300 - left),
        )
        answer = own_training(customer, job.id)
        seen.append(answer["progress"])
        assert (answer["eta_seconds"] is None) == (left < 0)
        assert abs((answer["eta_seconds"] or 0) - max(left, 0)) < 30

    assert seen == sorted(seen)
    assert 10 <= seen[0] < 30 < seen[1] < 60 < seen[2] < 95
    assert seen[3] == 94


def test_a_usual_time_is_learned_from_finished_trainings(customer, instant_trainers, life):
    done = started(customer)
    life.run_until_done(done)
    request = ProviderRequest.objects.get(job=done)
    ProviderRequest.objects.filter(id=request.id).update(
        ended_at=request.sent_at + timedelta(seconds=60)
    )

    job = started(customer, steps=1200)
    life.submit()

    job.refresh_from_db()
    sent_at = ProviderRequest.objects.get(job=job).sent_at
    assert job.expected_at == sent_at + timedelta(seconds=120)
    life.run_until_done(job)


@pytest.mark.parametrize("is_sent", [False, True])
def test_a_cancelled_training_is_refunded(customer, sandbox, life, is_sent):
    sandbox.provider(queue_seconds=3600, webhooks=False)
    before = customer.balance()
    job = started(customer)
    if is_sent:
        life.submit()

    answer = customer.post(f"train/{job.id}/cancel").json()

    assert answer == {"training_id": str(job.id), "status": "cancelled", "refunded": True}
    assert_refunded(job, status="cancelled")
    assert customer.balance() == before
    assert len(submissions(sandbox)) == is_sent
    assert own_training(customer, job.id)["usable"] is False
    # Again is the same, as for other jobs.
    assert customer.post(f"train/{job.id}/cancel").json() == answer


def test_a_failed_training_goes_to_the_next_trainer(customer, instant_trainers, life):
    instant_trainers.provider(outcome="error")
    job = started(customer)

    life.run_until_done(job)

    assert own_training(customer, job.id)["status"] == "completed"
    assert trained_by(job).provider == "replicate"
    # Its captions are in a zip of its own.
    assert FileDeletion.objects.filter(name__startswith=f"jobs/{job.id}/").count() == 2


def test_a_push_tells_of_the_model(customer, instant_trainers, life):
    token = customer.register_for_pushes()
    life.run_until_done(started(customer))

    sending.send_due(now=life.advance(60).now)

    [sent] = instant_trainers.pushes(token)
    assert sent["payload"]["kind"] == "model_completed"
    assert sent["payload"]["aps"]["alert"]["title"] == "Your model is ready"


def test_models_are_listed_page_by_page(customer, new_guest):
    grant(customer.user_id, 100)
    set_id = make_set(customer)
    jobs = [started(customer, set_id=set_id, name=name) for name in ("Ada", "Eva", "Ida")]
    settle.fail(jobs[1], FailureReason.PROVIDER_ERROR, now=jobs[1].created_at)

    page = customer.get("train/models", limit=2).json()
    rest = customer.get("train/models", limit=2, cursor=page["next_cursor"]).json()

    listed = page["models"] + rest["models"]
    assert [one["name"] for one in listed] == ["Ida", "Eva", "Ada"]
    assert [one["status"] for one in listed] == ["pending", "failed", "pending"]
    assert rest["next_cursor"] is None
    assert new_guest().get("train/models").json()["models"] == []


def test_images_that_are_gone_end_a_training_with_a_refund(customer, sandbox, life):
    before = customer.balance()
    job = started(customer)
    for picture in TrainingPicture.objects.filter(set__trained_models__job=job):
        default_storage.delete(picture.name)

    life.run_until_done(job)

    assert_refunded(job, code=InternalError.code)
    assert customer.balance() == before
    assert submissions(sandbox) == []
