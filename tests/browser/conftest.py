"""Staff and visitors at a real browser: the machine's Chromium, against the web process as it runs
in production."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import global_settings
from django.contrib.auth.models import Group
from django.urls import reverse
from playwright.sync_api import Browser, Page, sync_playwright

from accounts.models import User
from rendio.local.data_dir import PROJECT
from tests.adminops.conftest import PASSWORD
from tests.generation.conftest import running
from tests.helpers.job_driver import Running, WebPhone

__all__ = ["running"]  # a fixture

# What keeps somebody from using a page; the rest is a matter of taste.
SERIOUS = {"serious", "critical"}
# Where `make screenshots` wants them.
PICTURES = os.environ.get("SCREENSHOTS")


@pytest.fixture(autouse=True)
def _real_passwords(settings: Any) -> None:
    """The web process knows no other hashes."""
    settings.PASSWORD_HASHERS = global_settings.PASSWORD_HASHERS


@pytest.fixture(scope="module")
def chromium(request: pytest.FixtureRequest) -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("There is no Chromium here.")
    # Playwright's loop runs in this thread, and is none that our queries could block.
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


def examine(page: Page, name: str, *, rules: list[str] | None = None) -> None:
    """Nothing serious for a screen reader."""
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": rules}
    found = [
        (violation["id"], node["html"][:200], node["failureSummary"][:300])
        for violation in Axe().run(page, options=options).response["violations"]
        if violation["impact"] in SERIOUS
        for node in violation["nodes"]
    ]
    assert not found, (name, found)


def take_picture(page: Page, name: str) -> None:
    """Where SCREENSHOTS says."""
    if PICTURES:
        folder = Path(PROJECT, PICTURES)
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{name}.png", full_page=False)


class Desk:
    """A member of staff, signed in."""

    def __init__(self, browser: Browser, url: str, role: str) -> None:
        self.url = url
        name = f"{role}-{uuid4().hex[:4]}"
        self.user = User.objects.create_user(name, password=PASSWORD, is_staff=True)
        self.user.groups.add(Group.objects.get(name=role))
        self.page: Page = browser.new_page(viewport={"width": 1440, "height": 900})
        self.page.set_default_timeout(120_000)
        self.page.emulate_media(color_scheme="light", reduced_motion="reduce")
        # What a page wanted from elsewhere, and what it did not get.
        self.elsewhere: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", self._note_request)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._note_words)
        self.open("index")
        self.page.fill("input[name=username]", name)
        self.page.fill("input[name=password]", PASSWORD)
        self.page.press("input[name=password]", "Enter")
        self.page.wait_for_url(url + reverse("admin:index"))

    def _note_request(self, request: Any) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.elsewhere.append(request.url)

    def _note_words(self, message: Any) -> None:
        # A refused page is one, and so is the icon that a browser asks for by itself.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    def open(self, name: str, *args: Any) -> int:
        """A page of the admin by its name; the status of the answer."""
        answer = self.page.goto(self.url + reverse(f"admin:{name}", args=args))
        assert answer
        return answer.status

    def act(self, act: str, *args: Any, **fields: str) -> str:
        """Go where the button of a row's page leads, fill in the form and send it; what is said."""
        assert self.open(act, *args) == 200
        for name, value in fields.items():
            self.page.fill(f"[name={name}]", value)
        self.press("")
        return self.page.locator("main, #main, body").first.inner_text()

    def press(self, words: str) -> None:
        """The button of the page's form with these words on it, and wait for the page after it."""
        with self.page.expect_navigation():
            self.page.locator("form button[type=submit]:visible").filter(
                has_text=words
            ).last.click()

    def look(self, name: str) -> None:
        """Light and dark: nothing serious for a screen reader, nothing from elsewhere, no error."""
        self._examine(f"{name}-light")
        self.page.emulate_media(color_scheme="dark")
        self.page.reload()
        # In the dark nothing changes but the colours.
        self._examine(f"{name}-dark", rules=["color-contrast"])
        self.page.emulate_media(color_scheme="light")
        assert (self.elsewhere, self.errors) == ([], []), name

    def cut_off(self) -> list[str]:
        """What of the page's tables cannot be read on a phone."""
        desk = self.page.viewport_size
        self.page.set_viewport_size({"width": 390, "height": 844})
        found: list[str] = self.page.eval_on_selector_all(
            "td",
            "all => all.filter(td => td.scrollHeight > td.clientHeight).map(td => td.innerText)",
        )
        assert desk
        self.page.set_viewport_size(desk)
        return found

    def _examine(self, name: str, *, rules: list[str] | None = None) -> None:
        examine(self.page, name, rules=rules)
        take_picture(self.page, name)


@pytest.fixture
def desk(chromium: Browser, running: Running, committed: None) -> Iterator[Any]:
    """Sits somebody of this role down."""
    desks = []

    def sit_down(role: str) -> Desk:
        desks.append(Desk(chromium, running.url, role))
        return desks[-1]

    yield sit_down
    for one in desks:
        one.page.close()


@pytest.fixture
def customer(running: Running, sandbox: Any, committed: None) -> WebPhone:
    phone = running.phone(credits=50)
    assert isinstance(phone.user_id, UUID)
    return phone
