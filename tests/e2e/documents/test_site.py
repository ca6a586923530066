"""The site is whole by itself: read and searched from a disk, without a server or a network."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.documents.pages import ROOT

pytestmark = pytest.mark.slow
_FETCHED = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"?(https?:)?//", re.IGNORECASE)


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


@pytest.mark.debian("chromium")
def test_it_is_searched_without_a_server(site: Path, tmp_path: Path) -> None:
    browser = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    address = f"{(site / 'index.html').as_uri()}?q=snapshotter"
    shown = subprocess.run(
        [*browser, "--virtual-time-budget=20000", "--dump-dom", address], capture_output=True, text=True, timeout=120
    ).stdout
    assert re.search(r"\d+ matching documents", shown)
    assert "how-to/snapshotter.html" in shown
