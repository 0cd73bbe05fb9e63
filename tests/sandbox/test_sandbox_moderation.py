"""OpenAI's moderation endpoint, as its reference says it answers."""

import pytest

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/4AAQ"}}


@pytest.fixture
def moderate(sandbox):
    """The results for an input; with `status`, what else is answered."""

    def ask(given, *, status=200, key="sk-test", **fields):
        answer = sandbox.http.post(
            "/openai/v1/moderations",
            json={"input": given, **fields},
            headers={"Authorization": f"Bearer {key}"} if key else {},
        )
        assert answer.status_code == status, answer.text
        return answer.json()["results"] if status == 200 else answer.json()["error"]

    return ask


def flagged(result):
    return [name for name, hit in result["categories"].items() if hit]


def test_nothing_is_flagged_by_default(moderate):
    (result,) = moderate("a knight's battle", model="omni-moderation-2024-09-26")

    assert result["flagged"] is False
    assert flagged(result) == []
    assert len(result["categories"]) == len(result["category_scores"]) == 13


def test_a_text_with_a_configured_word_is_flagged_in_its_category(sandbox, moderate):
    sandbox.control("moderation", flag=["Bomb"], category="illicit/violent")

    bad, good = moderate(["how a bomb is made", "a red balloon"])

    assert (bad["flagged"], flagged(bad)) == (True, ["illicit/violent"])
    assert bad["category_scores"]["illicit/violent"] > 0.9
    assert good["flagged"] is False


def test_parts_give_one_result_and_images_have_their_own_categories(sandbox, moderate):
    parts = [{"type": "text", "text": "a red balloon"}, PICTURE]
    sandbox.control("moderation", flag_images=True, category="sexual")
    (result,) = moderate(parts)
    assert (result["flagged"], flagged(result)) == (True, ["sexual"])
    assert result["category_applied_input_types"]["sexual"] == ["image", "text"]
    assert result["category_applied_input_types"]["hate"] == ["text"]

    sandbox.control("moderation", flag_images=True, category="sexual/minors")

    assert moderate([PICTURE])[0]["flagged"] is False


@pytest.mark.parametrize(
    ("given", "fields", "status"),
    [
        ("a", {"key": ""}, 401),
        ("a", {"model": "gpt-4"}, 404),
        (7, {}, 400),
        ([{"type": "audio"}], {}, 400),
        ([{"type": "image_url", "image_url": {"url": "http://127.0.0.1/a.jpg"}}], {}, 400),
    ],
)
def test_an_invalid_request_is_refused(moderate, given, fields, status):
    assert moderate(given, status=status, **fields)["message"]


def test_an_outage_lasts_until_it_is_ended(sandbox, moderate):
    sandbox.control("moderation", status=429)
    moderate("a", status=429)

    sandbox.control("moderation", garbage=True)
    answer = sandbox.http.post("/openai/v1/moderations", json={"input": "a"})
    assert answer.text == "<html>"

    sandbox.control("moderation")
    assert moderate("a")[0]["flagged"] is False
    assert len(sandbox.requests("openai")) == 3


@pytest.mark.parametrize("wrong", [{"flags": []}, {"flag": "bomb"}, {"category": "rude"}])
def test_an_invalid_control_is_refused(sandbox, wrong):
    assert sandbox.http.post("/control/moderation", json=wrong).status_code == 400
