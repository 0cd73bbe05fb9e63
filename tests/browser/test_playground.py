"""A visitor of the playground, at a real browser, with the sandbox behind it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import requests
from playwright.sync_api import Browser, Locator, Page, expect

from credits.services import CodeTerms, create_code
from rendio.common import clock
from rendio.local.stack import Stack
from tests.browser.conftest import examine, take_picture
from tests.events.conftest import events_url
from tests.helpers.budget import large
from tests.helpers.job_driver import Running, ended
from tests.helpers.wait import wait_for

__all__ = ["events_url"]  # a fixture

STACK_ENVIRONMENT = {
    "PLAYGROUND": "true",
    "OPENROUTER_MODELS": "sandbox/model",
    "RATE_LIMIT_REDEEM_PER_MINUTE": 0,
}
PATIENCE_MS = 120_000
DESK, PHONE = (1280, 900), (390, 844)
# Words by which a visitor knows where things are.
TEXTS = {
    "en": {"start": "Start as a guest", "ready": "Ready", "failed": "Failed", "buy": "Buy credits"},
    "tr": {
        "start": "Misafir olarak başla",
        "ready": "Hazır",
        "failed": "Başarısız",
        "buy": "Kredi satın al",
    },
    "es": {
        "start": "Empezar como invitado",
        "ready": "Listo",
        "failed": "Fallido",
        "buy": "Comprar créditos",
    },
}


class Visitor:
    """Somebody with a browser of this size, theme and language."""

    def __init__(
        self, browser: Browser, stack: Stack, *, size: tuple[int, int], theme: Any, language: str
    ) -> None:
        self.words = TEXTS[language]
        self.theme = theme
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=theme, locale=language, reduced_motion="reduce",
            permissions=["clipboard-read", "clipboard-write"],
        )  # fmt: skip
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        self.elsewhere: list[str] = []
        self.errors: list[str] = []
        self.ours = (stack.url, stack.events_url, "data:", "blob:")
        self.page.on("request", lambda request: self._note_request(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self._note_words(message))
        self.page.goto(stack.url)
        expect(self.page.locator("#model .model-name")).to_be_visible()

    def _note_request(self, url: str) -> None:
        if not url.startswith(self.ours):
            self.elsewhere.append(url)

    def _note_words(self, message: Any) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    def start(self) -> None:
        self.page.locator("#screen").get_by_role("button", name=self.words["start"]).click()
        self.has_balance(10)
        self.is_priced(4)

    def has_balance(self, credits: int) -> None:
        expect(self.page.locator("#balance-words")).to_contain_text(f"{credits}")

    def is_priced(self, credits: int) -> None:
        """By a quote, whose price stands alone: an estimate begins with "from"."""
        expect(self.page.locator("#price b")).to_have_text(re.compile(rf"^{credits} \S+$"))

    def choose(self, media: str, model: str) -> None:
        self.page.locator(f"[name=media][value={media}]").check()
        self.page.locator("#model").click()
        self.page.locator("#picker").get_by_role("button", name=model, exact=False).first.click()

    def generate(self) -> None:
        self.page.locator("#generate").click()

    @property
    def caption(self) -> Locator:
        return self.page.locator("#caption")

    def ends(self, how: str) -> None:
        expect(self.caption.locator(".state")).to_have_text(self.words[how])

    def sets_fault(self, name: str) -> None:
        with self.page.expect_response("**/playground/faults"):
            self.page.locator(f'[name=fault][value="{name}"]').check()

    def look(self, stage: str) -> None:
        """Nothing serious for a screen reader, nothing wider than the window, nothing from
        elsewhere, no error."""
        examine(self.page, stage)
        width = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert (width, self.elsewhere, self.errors) == (0, [], []), stage

    def take_picture(self) -> None:
        """While the video plays, its controls are hidden."""
        self.page.mouse.move(0, 0)
        self.page.evaluate("scrollTo(0, 0), document.querySelector('#screen video').play()")
        wait_for(
            lambda: self.page.evaluate("document.querySelector('#screen video').currentTime > 2")
        )
        take_picture(self.page, f"playground-{self.theme}")


@pytest.fixture
def visit(
    chromium: Browser, running: Running, events_url: str, sandbox: Any, committed: None
) -> Iterator[Any]:
    visitors = []

    def come(size: tuple[int, int] = DESK, theme: str = "light", language: str = "en") -> Visitor:
        visitors.append(Visitor(chromium, running.stack, size=size, theme=theme, language=language))
        return visitors[-1]

    yield come
    for visitor in visitors:
        visitor.context.close()


@pytest.fixture
def code(committed: None) -> str:
    terms = CodeTerms(credits=20)
    return create_code(code=f"PLAY{uuid4().hex[:8]}", terms=terms, now=clock.now()).code


@large
@pytest.mark.parametrize(
    ("size", "theme", "language"),
    [(DESK, "light", "en"), (DESK, "dark", "en"), (PHONE, "dark", "tr"), (PHONE, "light", "es")],
)
def test_a_visit_from_the_first_look_to_the_last_credit(visit, code, size, theme, language):
    visitor = visit(size, theme, language)
    page = visitor.page
    visitor.look("first")
    visitor.start()
    page.locator("[name=setting-duration][value='8']").check()
    visitor.is_priced(8)
    page.locator("[name=setting-duration][value='4']").check()
    visitor.is_priced(4)
    visitor.look("signed-in")

    visitor.generate()
    visitor.ends("ready")
    visitor.has_balance(6)
    expect(page.locator("#screen video")).to_have_js_property("readyState", 4)
    expect(page.locator("#screen .ai-label")).to_be_visible()
    expect(page.locator("#entries tr").first).to_contain_text("\u22124")
    visitor.look("video")

    page.locator("#theme-chips button").first.click()
    expect(page.locator("#prompt")).to_have_value(re.compile("pancakes"))
    visitor.choose("image", "FLUX.1 schnell")
    page.locator("[name=setting-num_outputs][value='2']").check()
    visitor.is_priced(2)
    visitor.generate()
    expect(page.locator("#screen .images img")).to_have_count(2)
    visitor.ends("ready")
    visitor.has_balance(4)
    visitor.look("images")

    page.locator("#code").fill(code.lower())
    page.locator("#code").press("Enter")
    visitor.has_balance(24)
    page.locator("#packs button").nth(1).click()
    visitor.has_balance(74)
    page.locator("#credits").scroll_into_view_if_needed()
    visitor.look("credits")

    visitor.sets_fault("video-fails")
    visitor.choose("video", "Sora 2")
    visitor.is_priced(4)
    visitor.generate()
    visitor.ends("failed")
    visitor.has_balance(74)
    visitor.look("failed")
    visitor.sets_fault("")
    visitor.caption.locator("[data-key=retry]").click()
    visitor.ends("ready")
    visitor.has_balance(70)
    expect(page.locator("#reel-jobs li")).to_have_count(4)
    if (size, language) == (DESK, "en"):
        visitor.take_picture()

    page.locator("#model").click()
    visitor.look("models")
    page.keyboard.press("Escape")
    visitor.caption.locator("[data-key=origin]").click()
    expect(page.locator("#origin-facts")).to_contain_text("trainedAlgorithmicMedia")
    visitor.look("origin")


@large
def test_by_the_keyboard_alone(visit):
    visitor = visit()
    page = visitor.page

    def tab_to(selector: str) -> None:
        """At most once around the page."""
        for _ in range(120):
            page.keyboard.press("Tab")
            if page.evaluate("wanted => document.activeElement.matches(wanted)", selector):
                return
        raise AssertionError(selector)

    tab_to(".skip")
    page.keyboard.press("Enter")
    expect(page.locator("#prompt")).to_be_focused()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("A lighthouse in a storm")
    tab_to("#generate")
    page.keyboard.press("Enter")  # signs in
    visitor.has_balance(10)
    tab_to("#model")
    page.keyboard.press("Enter")
    # The dialog has the focus, at the model that is chosen, and gives it back.
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#model .model-name")).to_contain_text("Veo 3.1")
    expect(page.locator("#model")).to_be_focused()
    visitor.is_priced(10)
    tab_to("[name=setting-aspect_ratio]")
    page.keyboard.press("ArrowRight")
    expect(page.locator("[name=setting-aspect_ratio][value='9:16']")).to_be_checked()
    tab_to("#generate")
    visitor.is_priced(10)
    page.keyboard.press("Enter")
    visitor.ends("ready")
    visitor.has_balance(0)
    # Where the focus is, the result is.
    expect(page.locator("#stage-title")).to_be_focused()
    tab_to("#caption [data-key=remove]")
    page.keyboard.press("Enter")
    expect(page.locator("#reel")).to_be_hidden()
    tab_to("#packs button")
    page.keyboard.press("Enter")
    visitor.has_balance(10)
    assert visitor.errors == []


@large
def test_pictures_masks_and_keyframes(visit, code):
    visitor = visit()
    page = visitor.page
    visitor.start()
    page.locator("#code").fill(code)
    page.locator("#code").press("Enter")
    visitor.has_balance(30)

    visitor.choose("image", "Kontext")
    expect(page.locator("#price")).to_contain_text("Add the picture")
    page.locator("[data-key='image_url-file']").set_input_files(
        {"name": "no-picture.png", "mimeType": "image/png", "buffer": b"not a picture"}
    )
    expect(page.locator("#notice-image_url")).to_contain_text("ERR_4017")
    page.locator("[data-key='image_url-sample']").click()
    visitor.is_priced(2)
    visitor.look("edit")
    visitor.generate()
    visitor.has_balance(28)
    visitor.ends("ready")
    visitor.choose("image", "FLUX Fill")
    page.locator("[data-key='mask_upload_id-sample']").click()
    visitor.is_priced(3)
    visitor.generate()
    visitor.has_balance(25)
    visitor.ends("ready")
    visitor.choose("video", "Veo 3.1 between two pictures")
    page.locator("[data-key='last_upload_id-sample']").click()
    visitor.is_priced(10)
    visitor.generate()
    visitor.has_balance(15)

    expect(page.locator("#screen video")).to_be_visible()
    visitor.look("keyframes")


@large
def test_a_job_is_followed_without_events_and_cancelled_while_it_runs(visit):
    visitor = visit()
    page = visitor.page
    visitor.start()
    page.route("**/events", lambda route: route.abort())

    visitor.generate()
    visitor.ends("ready")
    page.unroute("**/events")
    visitor.sets_fault("slow")
    visitor.is_priced(4)
    visitor.generate()
    visitor.has_balance(2)
    visitor.caption.locator("[data-key=cancel]").click()

    expect(visitor.caption).to_contain_text("Cancelled")
    visitor.has_balance(6)


@large
def test_a_job_is_followed_over_the_end_of_the_events_process(visit, running, sandbox):
    visitor = visit()
    page = visitor.page
    visitor.start()
    sandbox.provider(run_seconds=6, times=1, outcome="ok")
    visitor.generate()
    streams = page.locator("#call-list li", has_text="/events")
    expect(streams.locator(".call-status").first).to_contain_text("200")

    running.stack.kill("events")
    running.stack.start("events")
    visitor.ends("ready")

    # Each stream after the break says what was the last event before it.
    resumed = streams.filter(has_text="Last-Event-ID")
    assert resumed.count() >= 1
    assert (streams.count(), visitor.errors) == (resumed.count() + 1, [])


@large
def test_without_the_api_the_page_says_so_and_offers_another_try(visit):
    visitor = visit(PHONE)
    page = visitor.page
    page.route("**/v1/**", lambda route: route.abort())
    page.reload()
    expect(page.locator("#order-notice")).to_contain_text("The server does not answer")
    visitor.look("away")
    page.unroute("**/v1/**")

    page.locator("#order-notice").get_by_role("button").click()

    expect(page.locator("#model .model-name")).to_be_visible()


@large
def test_who_lacks_credits_is_told_how_many_and_shown_where_to_buy(visit):
    visitor = visit(PHONE)
    page = visitor.page
    visitor.start()

    visitor.choose("video", "Sora 2 Pro")
    expect(page.locator("#generate")).to_have_text(visitor.words["buy"])
    expect(page.locator("#price")).to_contain_text("you lack 8")
    visitor.look("poor")
    visitor.generate()
    expect(page.locator("#packs button").first).to_be_focused()
    # The credits are spent elsewhere, after the price was shown.
    visitor.choose("video", "Veo 3.1")
    visitor.is_priced(10)
    order_elsewhere(page)
    visitor.generate()
    refusal = page.locator("#order-notice")
    expect(refusal).to_contain_text("402 ERR_4001")
    refusal.get_by_role("button").click()

    expect(page.locator("#packs button").first).to_be_focused()
    visitor.is_priced(10)
    expect(refusal).to_contain_text("402 ERR_4001")


def order_elsewhere(page: Page) -> None:
    """Another client of the same guest orders an image."""
    token = page.evaluate("JSON.parse(sessionStorage['playground.session']).access_token")
    origin = page.evaluate("location.origin")
    order = {"prompt": "A red balloon", "kind": "text-to-image"}
    ordered = requests.post(
        f"{origin}/v1/generate/image",
        json=order,
        headers={"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid4())},
        timeout=60,
    )
    ended(ordered.json()["job_id"])


@large
def test_a_wrong_code_and_a_closed_store_are_told_in_the_visitors_language(visit):
    visitor = visit(PHONE, "light", "tr")
    page = visitor.page
    visitor.start()

    page.locator("#code").fill("NOSUCHCODE")
    page.locator("#code").press("Enter")
    expect(page.locator("#credits-notice")).to_contain_text("404 ERR_4007")
    visitor.sets_fault("store-down")
    page.locator("#packs button").first.click()
    expect(page.locator("#credits-notice")).to_contain_text("503 ERR_5005")
    expect(page.locator("#credits-notice")).to_contain_text("a ulaşılamıyor")
    visitor.look("store-down")
    visitor.sets_fault("")
    page.locator("[name=language][value=es]").check()
    expect(page.locator("#order-title")).to_have_text("Nuevo pedido")
    assert page.evaluate("document.documentElement.lang") == "es"


def run(command: str) -> Any:
    """The answer to a copied call."""
    said = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=True, timeout=60)  # noqa: S603
    return json.loads(said.stdout)


@large
def test_a_call_copied_as_curl_does_the_same_and_a_reload_keeps_the_visitor(visit):
    visitor = visit()
    page = visitor.page
    visitor.start()
    user = page.evaluate("JSON.parse(sessionStorage['playground.session']).user_id")
    page.locator("#account").click()
    profile = page.locator("#call-list li", has_text="get-user-profile").first
    page.keyboard.press("Escape")
    profile.locator("summary").click()
    profile.locator("[data-key=curl]").click()

    command = page.evaluate("navigator.clipboard.readText()")

    assert run(command)["id"] == user
    page.locator("#prompt").fill("It's a boat")
    visitor.is_priced(4)
    visitor.generate()
    visitor.ends("ready")
    order = page.locator("#call-list li", has_text="generate-video").first
    order.locator("summary").click()
    order.locator("[data-key=curl]").click()
    command = page.evaluate("navigator.clipboard.readText()")
    assert run(command)["credits_remaining"] == 6
    page.reload()
    visitor.has_balance(6)
    visitor.ends("ready")
    expect(visitor.caption).to_contain_text("It's a boat")
