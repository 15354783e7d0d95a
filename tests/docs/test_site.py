"""The site, where ``make docs`` has built it: every page, link and picture, in a browser and from the disk."""

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

import rnnjax
from tests.browser import check_images_and_width, opened, started

SITE = Path(__file__).parents[2] / "docs" / "_build" / "html"
PAGES = sorted(path for path in SITE.rglob("*.html") if "_modules" not in path.parts)

pytestmark = pytest.mark.skipif(not PAGES, reason="the site is not built: make docs")


class Anchors(HTMLParser):
    """Where a page's links lead, and what in it can be linked to."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        if given.get("id"):
            self.names.add(str(given["id"]))


@pytest.fixture(scope="module")
def anchors() -> dict[Path, Anchors]:
    found = {}
    for path in SITE.rglob("*.html"):
        found[path] = Anchors()
        found[path].feed(path.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started() as browser:
        yield browser


def test_every_link_within_the_site_leads_somewhere(anchors: dict[Path, Anchors]) -> None:
    lost = []
    for path, page in anchors.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = target in anchors and (not parts.fragment or unquote(parts.fragment) in anchors[target].names)
            if not known and not (target.is_file() and not parts.fragment):
                lost.append(f"{path.relative_to(SITE)}: {link}")
    assert lost == []


def test_every_public_name_is_in_the_api(anchors: dict[Path, Anchors]) -> None:
    names = set().union(*(page.names for page in anchors.values()))
    assert {f"rnnjax.{name}" for name in rnnjax.__all__ if callable(getattr(rnnjax, name))} <= names


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(SITE)))
def test_a_page_needs_no_network_has_no_fault_and_fits_on_a_phone(browser: Any, page: Path) -> None:
    with opened(browser, page) as tab:
        check_images_and_width(tab)


def test_the_search_finds_a_cell(browser: Any) -> None:
    with opened(browser, SITE / "search.html", "?q=antisymmetric") as tab:
        tab.wait_for_selector("#search-results li a")
        assert any("antisymmetric" in link.inner_text() for link in tab.locator("#search-results li a").all())
