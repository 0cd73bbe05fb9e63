"""What the pages name is there: their links, and the files of ours that they send a reader to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rendio.local.data_dir import PROJECT

PAGES = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *(PROJECT / "docs").rglob("*.md")]
FOLDERS = "accounts|adminops|bench|billing|credits|docs|generation|locale|ops|rendio|sandbox|tests"


def headings_of(page: Path) -> set[str]:
    """As anchors, by the way that GitHub and others make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_pages_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^):]+)\)", page.read_text()):
        path, _, section = link.partition("#")
        target = page.parent / path if path else page

        assert target.exists(), link
        assert not section or section in headings_of(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_files_that_a_page_names_are_there(page):
    named = re.findall(rf"`((?:{FOLDERS})/[\w./-]*?)(?:`|: )", page.read_text())

    assert [name for name in named if not (PROJECT / name).exists()] == []


def test_the_readme_leads_to_every_page():
    readme = (PROJECT / "README.md").read_text()
    pages = (PROJECT / "docs").glob("*.md")

    assert [page.name for page in pages if f"(docs/{page.name})" not in readme] == []
