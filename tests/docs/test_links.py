"""Links between pages lead somewhere, and the index knows every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.pages import PAGES, ROOT, name_of, prose_of

_LINK = re.compile(r"(?<!!)\[[^\]]+\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def links_of(page: Path) -> list[str]:
    return [match["target"] for match in _LINK.finditer(prose_of(page))]


def anchors_of(page: Path) -> set[str]:
    """The names that GitHub gives to headings."""
    anchors: set[str] = set()
    for heading in _HEADING.findall(prose_of(page)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
        number = 0
        while (anchor := slug if not number else f"{slug}-{number}") in anchors:
            number += 1
        anchors.add(anchor)
    return anchors


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target in links_of(page):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{name_of(page)}: {target}"
        assert found.is_relative_to(ROOT), f"{name_of(page)}: {target} leads out of the repository"
        if anchor and found.suffix == ".md":
            assert anchor in anchors_of(found), f"{name_of(page)}: {target}; there is {sorted(anchors_of(found))}"


def test_the_index_lists_every_page() -> None:
    index = ROOT / "docs" / "index.md"
    listed = {(index.parent / link.partition("#")[0]).resolve() for link in links_of(index)}
    missing = [name_of(page) for page in PAGES if page.parent != ROOT and page != index and page not in listed]
    assert missing == []


def test_the_readme_leads_to_the_index() -> None:
    assert "docs/index.md" in links_of(ROOT / "README.md")
