"""The playground's page and its controls, as HTTP. tests/browser walks it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.test import Client

import rendio.playground
from rendio.playground.sandbox import FAULTS
from tests.helpers.phone import assert_refused

pytestmark = pytest.mark.django_db

STATIC = Path(rendio.playground.__file__).parent / "static" / "playground"
LANGUAGES = ("en", "tr", "es")


@pytest.fixture
def on(settings):
    settings.PLAYGROUND = True
    return settings


def visit() -> tuple[Client, str]:
    """A browser that has opened the page, and the page."""
    browser = Client(enforce_csrf_checks=True)
    answer = browser.get("/")
    assert answer.status_code == 200
    return browser, answer.content.decode()


def press(browser: Client, page: str, control: str, **fields: str):
    token = re.search(r'data-csrf="(\w+)"', page)
    assert token
    return browser.post(f"/playground/{control}", fields, headers={"X-CSRFToken": token[1]})


def test_it_is_not_there_by_default():
    for method, path in [
        ("get", ""),
        ("post", "playground/faults"),
        ("post", "playground/purchases"),
    ]:
        assert_refused(getattr(Client(), method)(f"/{path}"), 404, "ERR_4007")


def test_its_page_loads_nothing_from_elsewhere_and_no_script_within_it(on):
    on.PUBLIC_URL, on.PLAYGROUND_EVENTS_URL = "https://api.example.com", ""
    answer = Client().get("/")

    policy = dict(
        directive.split(" ", 1) for directive in answer["Content-Security-Policy"].split("; ")
    )
    assert policy["default-src"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    for kind in ("script-src", "style-src", "font-src", "connect-src"):
        assert policy[kind] == "'self'"
    # Media have the host of PUBLIC_URL, whatever address the browser knows us by.
    assert policy["media-src"] == "'self' https://api.example.com"
    page = answer.content.decode()
    assert not re.search(r"<script(?![^>]*src=)|<style| style=| on\w+=", page)
    loaded = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert {
        path for path in loaded if not path.startswith(("/static/playground/", "/docs"))
    } == set()
    assert {path for path in loaded if Client().get(path).status_code != 200} == set()


def test_every_module_that_a_script_imports_is_there():
    imported = [
        (script.parent / name).resolve()
        for script in STATIC.rglob("*.js")
        for name in re.findall(r'from "(.+?)"', script.read_text())
    ]

    assert len(imported) > 30
    assert {path for path in imported if not path.is_file()} == set()


def test_every_text_is_there_in_three_languages_with_the_same_values():
    texts = {code: texts_of(code) for code in LANGUAGES}

    assert texts["en"].keys() == texts["tr"].keys() == texts["es"].keys()
    for key, values in texts["en"].items():
        assert values == texts["tr"][key] == texts["es"][key], key
    wanted = set(re.findall(r'data-text="([\w-]+)"', visit_template()))
    for script in (STATIC / "js").glob("*.js"):
        wanted |= set(re.findall(r'\bt\("([\w-]+)"', script.read_text()))
    wanted -= {key for key in wanted if key.endswith("-")}
    assert {key for key in wanted if key not in texts["en"]} == set()


def texts_of(language: str) -> dict[str, set[str]]:
    """The names of values in each text. Plural forms are one text."""
    lines = re.findall(
        r'^  "?([\w-]+?)(?:_one|_other)?"?: "(.*)",$',
        (STATIC / f"texts/{language}.js").read_text(),
        re.M,
    )
    return {key: set(re.findall(r"\{(\w+)\}", text)) for key, text in lines}


def visit_template() -> str:
    template = Path(rendio.playground.__file__).parent / "templates/playground/page.html"
    text = template.read_text()
    faults = [text.replace("{{ fault }}", fault) for fault in FAULTS]
    return "".join(faults)


def test_a_fault_is_set_in_the_sandbox_and_ended_by_the_next(on, sandbox, phone):
    browser, page = visit()

    set_ = press(browser, page, "faults", fault="video-fails")
    assert set_.status_code == 200, set_.content
    assert {"provider": "fal", "outcome": "error"}.items() <= set_.json()["exchanges"][0][
        "sent"
    ].items()
    assert sandbox.control("provider", provider="fal")["outcome"] == "error"
    press(browser, page, "faults", fault="")

    assert sandbox.control("provider", provider="fal")["outcome"] == "ok"
    assert_refused(press(browser, page, "faults", fault="meteor"), 400, "ERR_4008")


def test_a_purchase_in_the_sandbox_is_one_that_its_user_can_report(on, sandbox, phone, new_guest):
    browser, page = visit()

    bought = press(
        browser, page, "purchases", product_id="com.rendio.credits.50", kind="consumable",
        user_id=str(phone.user_id),
    )  # fmt: skip

    [exchange] = bought.json()["exchanges"]
    transaction = {"transaction_id": exchange["answer"]["transaction_id"]}
    assert_refused(new_guest().post("update-credits", transaction), 409, "ERR_4014")
    assert phone.post("update-credits", transaction).json()["credits_added"] == 50


def test_no_other_page_can_press_its_buttons(on, sandbox):
    browser, _page = visit()

    assert_refused(browser.post("/playground/faults", {"fault": "slow"}), 403, "ERR_4006")
    assert_refused(browser.post("/playground/purchases", {}), 403, "ERR_4006")


def test_without_a_sandbox_there_are_no_controls_of_it(on):
    on.SANDBOX_URL = ""

    browser, page = visit()

    assert "data-sandbox" not in page
    assert 'name="fault"' not in page
    assert_refused(press(browser, page, "faults", fault="slow"), 404, "ERR_4007")


def test_a_sandbox_that_is_away_is_a_503(on):
    on.SANDBOX_URL = "http://127.0.0.1:1"
    browser, page = visit()

    assert_refused(press(browser, page, "faults", fault="slow"), 503, "ERR_6003")
