"""The site is whole by itself: read and searched from a disk, without a server or a network."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from tests.e2e.documents.pages import ROOT
from tests.support.browser import Page, browsing
from tests.support.contrast import texts

pytestmark = pytest.mark.slow
_FETCHED = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"?(https?:)?//", re.IGNORECASE)

_SORTS = [
    "index",
    "tutorial/first-model",
    "how-to/node",
    "reference/cli",
    "explanation/benchmarks",
    "explanation/comparison",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 80
    fetching = [page for page in pages if _FETCHED.search(page.read_text().replace('rel="canonical"', ""))]
    assert not fetching


def test_comments_for_tests_are_not_in_it(site: Path) -> None:
    assert not [page for page in site.rglob("*.html") if "<!-- setup" in page.read_text()]


def test_every_page_has_a_title_of_its_own(site: Path) -> None:
    pages = [page.read_text() for page in site.rglob("*.html") if page.name != "404.html"]
    titles = Counter(unescape(re.findall("<title>(.*?)</title>", page)[0]) for page in pages)
    assert {title: count for title, count in titles.items() if count > 1} == {}


def test_every_page_is_found_by_the_search(site: Path) -> None:
    indexed = (site / "search" / "search_index.json").read_text()
    pages = {str(page.relative_to(site)) for page in site.rglob("*.html")} - {"404.html"}
    assert {page for page in pages if f'"location":"{page}"' not in indexed} == set()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.mark.debian("chromium")
@pytest.mark.parametrize("name", _SORTS)
def test_a_telephone_need_not_scroll_sideways(site: Path, page: Page, name: str) -> None:
    page.show((site / f"{name}.html").as_uri(), width=375, height=800)
    assert page.run("document.documentElement.scrollWidth") == 375
    assert page.complaints == []


@pytest.mark.debian("chromium")
@pytest.mark.parametrize("scheme", ["default", "slate"])
@pytest.mark.parametrize("name", _SORTS)
def test_its_text_can_be_read(site: Path, page: Page, name: str, scheme: str) -> None:
    page.show((site / f"{name}.html").as_uri())
    page.run("document.head.insertAdjacentHTML('beforeend', '<style>* { transition: none !important; }</style>')")
    page.run(f"document.body.setAttribute('data-md-color-scheme', '{scheme}')")
    page.run("document.querySelectorAll('.headerlink').forEach((mark) => mark.remove())")
    found = texts(page, within="article")
    assert len(found) > 50
    assert found[0] >= (4.49, "")


@pytest.mark.debian("chromium")
def test_it_is_searched_without_a_server(site: Path, tmp_path: Path) -> None:
    browser = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    address = f"{(site / 'index.html').as_uri()}?q=snapshotter"
    shown = subprocess.run(
        [*browser, "--virtual-time-budget=20000", "--dump-dom", address], capture_output=True, text=True, timeout=120
    ).stdout
    assert re.search(r"\d+ matching documents", shown)
    assert "how-to/snapshotter.html" in shown
