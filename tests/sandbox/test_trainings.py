"""Trainings at fal, and images that are made with what was trained."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from tests.helpers.trained_weights import metadata_of, served, zip_of

FAST, PORTRAIT = "fal-ai/flux-lora-fast-training", "fal-ai/flux-lora-portrait-trainer"
FLUX_2 = "fal-ai/flux-2-trainer"


def trained(sandbox, content, model=FAST, field="images_data_url", **inputs):
    with served(content) as url:
        job = sandbox.submitted(model=model, body={field: url, "steps": 600, **inputs})
        return sandbox.result(job)


def image_with(sandbox, weights_url, prompt, model="fal-ai/flux-lora"):
    loras = [{"path": weights_url, "scale": 1}]
    body = {"prompt": prompt, "loras": loras, "image_size": "square"}
    return sandbox.result(sandbox.submitted(model=model, body=body))


def corner(sandbox, answer):
    """The colour of the image's corner."""
    content = sandbox.http.get(answer.json()["images"][0]["url"]).content
    return Image.open(io.BytesIO(content)).convert("RGB").getpixel((4, 4))


def test_a_training_makes_weights_and_an_image_shows_that_they_were_used(sandbox):
    answer = trained(sandbox, zip_of(4, captions=4), trigger_word="ohwx")

    assert answer.headers["X-Fal-Billable-Units"] == "600"
    weights, config = (answer.json()[name] for name in ("diffusers_lora_file", "config_file"))
    content = sandbox.http.get(weights["url"]).content
    assert len(content) == weights["file_size"]
    found = metadata_of(content)
    assert (found["trigger_word"], found["base_family"]) == ("ohwx", "flux-1-dev")
    assert sandbox.http.get(config["url"]).json() == {"trigger_word": "ohwx", "steps": 600}

    plain = image_with(sandbox, weights["url"], "a photo of a cat")
    used = image_with(sandbox, weights["url"], "a photo of ohwx")
    colour = tuple(bytes.fromhex(found["colour"]))
    assert _distance(corner(sandbox, used), colour) < 30 < _distance(corner(sandbox, plain), colour)


def _distance(one, other):
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("content", "inputs", "problem"),
    [
        (b"no zip", {}, "not a zip"),
        (zip_of(3), {}, "3 pictures; at least 4"),
        (zip_of(9), {"model": PORTRAIT}, "9 pictures; at least 10"),
        (
            zip_of(4, captions=3),
            {"model": FLUX_2, "field": "image_data_url"},
            "a picture without a caption",
        ),
    ],
)
def test_a_set_that_does_not_fit_fails_after_acceptance(sandbox, content, inputs, problem):
    answer = trained(sandbox, content, **inputs)

    assert answer.status_code == 422
    assert problem in answer.json()["detail"][0]["msg"]


def test_fields_of_a_trainer_are_its_own(sandbox):
    default = {"model": FLUX_2, "field": "image_data_url", "default_caption": "a photo of ohwx"}
    assert trained(sandbox, zip_of(1), **default).status_code == 200

    missing = trained(sandbox, zip_of(10), model=PORTRAIT, field="image_data_url")
    assert missing.json()["detail"][0]["loc"] == ["body", "images_data_url"]


def test_the_progress_of_a_training_is_text_without_a_percentage(sandbox):
    sandbox.fal(run_seconds=600)
    job = sandbox.submitted(model=FAST, body={"images_data_url": "http://x/y.zip", "steps": 600})

    status = sandbox.get(job["status_url"], params={"logs": 1}).json()

    assert [line["message"] for line in status["logs"]] == ["step 0/600"]


def test_an_image_is_refused_for_what_is_no_weights_or_those_of_another_base_model(sandbox):
    weights = trained(sandbox, zip_of(4)).json()["diffusers_lora_file"]["url"]
    other = image_with(sandbox, weights, "A cat", model="fal-ai/flux-2/lora")
    with served(b"<html>") as url:
        broken = image_with(sandbox, url, "A cat")

    assert [answer.status_code for answer in (other, broken)] == [422, 422]
    assert "weights for flux-1-dev, not flux-2" in other.json()["detail"][0]["msg"]
    assert "not a safetensors file" in broken.json()["detail"][0]["msg"]
