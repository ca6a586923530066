"""The status page in a real browser: it shows what is there, light and dark, and runs nothing that a name contains."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path

import pytest

from modelcar.oci import Digest
from modelcar.serving.http import listening
from registry_shim.operations.sights import Sights
from registry_shim.operations.ui.page import StatusPage
from registry_shim.space.pushed import PushedImage
from tests.support.browser import Page, browsing
from tests.support.contrast import texts
from tests.support.sights import EVIL_SCRIPT, HOSTILE, sights

pytestmark = pytest.mark.debian("chromium")

GIB = 1 << 30
SCREENSHOT = Path(__file__).parents[2] / "docs" / "images" / "shim-ui.png"


@contextmanager
def shown(seen: Sights) -> Iterator[str]:
    """The page of a node, at this URL; its figures move with every look."""
    began = time.time()

    def totals() -> dict[str, float]:
        n = time.time() - began
        return {"upstream": 21e9 + n * 9e7, "mirror": 4e9 + n * 2e7, "peer": 95e9 + n * 7e8, "sent": 240e9 + n * 1.4e9}

    page = StatusPage(totals, lambda: None, seen, fresh_seconds=0.0)
    stop = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []
    ready = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        async def main() -> None:
            loops.append(asyncio.get_running_loop())
            async with listening(page.handle, listener):
                ready.set()
                await stop.wait()

        thread = threading.Thread(target=asyncio.run, args=[main()])
        thread.start()
        ready.wait(10)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/ui"
        finally:
            loops[0].call_soon_threadsafe(stop.set)
            thread.join()


def browse(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--hide-scrollbars",
        "--enable-logging=stderr",
        "--virtual-time-budget=6000",
        f"--user-data-dir={folder / 'profile'}",
        *arguments,
    ]
    environment = {**os.environ, "HOME": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=environment)


def test_everything_is_shown(tmp_path: Path) -> None:
    with shown(sights()) as url:
        done = browse(tmp_path, "--dump-dom", url)
    page = done.stdout
    for text in (
        "ghcr.io/evil/backdoor",
        "pickle.calls: os.system",
        "10.0.0.9:5443 (zone-b): suspect",
        "36 % of 30.0 GiB",
    ):
        assert text in page
    assert 'id="state" class="pill good" role="status">ready<' in page
    assert re.search(r'id="coming">[0-9.]+ [MG]iB/s<', page), "rates need two looks"
    assert page.count("<canvas") == 2
    assert console(done) == []


def test_what_was_pushed_is_shown(tmp_path: Path) -> None:
    image = PushedImage(digest=Digest.of(b"m"), names=("acme/llm:v1", HOSTILE), size=5 << 20)
    with shown(Sights(pushed=lambda: [image], mirrors=False)) as url:
        done = browse(tmp_path, "--dump-dom", url)
    page = done.stdout
    assert "acme/llm:v1" in page
    assert HOSTILE in unescape(page)
    assert "<img" not in page
    assert "5.0 MiB" in page
    assert "This node has no upstream." in page
    assert 'id="pushed-here" hidden' not in page
    assert console(done) == []
    with shown(sights()) as url:
        done = browse(tmp_path, "--dump-dom", url)
    assert 'id="pushed-here" hidden' in done.stdout, "a node that takes no pushes does not speak of them"


def test_names_are_text_whatever_they_say(tmp_path: Path) -> None:
    with shown(sights(hostile=True)) as url:
        done = browse(tmp_path, "--dump-dom", url)
    page = done.stdout
    assert "<title>registry-shim</title>" in page
    assert HOSTILE in unescape(page), "it is there to be read"
    assert EVIL_SCRIPT in unescape(page)
    assert "<img" not in page
    assert page.count("<script") == 1
    assert console(done) == []


def test_nothing_runs_even_if_the_script_were_careless(tmp_path: Path) -> None:
    """The policy of the page is a second lock: it is tried with a page that has none of the first."""
    careless = "<script>document.title='pwned'</script>" + HOSTILE
    with shown(sights()) as url, _served_as_document(careless) as patched:
        done = browse(tmp_path, "--dump-dom", url)
    assert patched == ["index.html"]
    assert "<title>pwned" not in done.stdout
    assert any("Content Security Policy" in line for line in console(done))


@contextmanager
def _served_as_document(body: str) -> Iterator[list[str]]:
    from registry_shim.operations.ui import page

    served: list[str] = []

    def replacement(name: str) -> bytes:
        served.append(name)
        return body.encode()

    real, page._file = page._file, replacement  # type: ignore[assignment]  # the page is put back
    try:
        yield served
    finally:
        page._file = real


@pytest.mark.parametrize("dark", [False, True])
def test_it_can_be_looked_at(tmp_path: Path, dark: bool) -> None:
    picture = tmp_path / "page.png"
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else ["--blink-settings=preferredColorScheme=1"]
    with shown(sights()) as url:
        browse(tmp_path, *scheme, "--window-size=1200,1300", f"--screenshot={picture}", url)
    header = picture.read_bytes()[:24]
    assert header.startswith(b"\x89PNG")
    assert (int.from_bytes(header[16:20]), int.from_bytes(header[20:24])) == (1200, 1300)
    if not dark and os.environ.get("UPDATE_SCREENSHOTS"):
        SCREENSHOT.write_bytes(picture.read_bytes())


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("browser")) as page:
        yield page


def looks(page: Page, number: int) -> None:
    """Wait until the page has asked the node so many times."""
    page.run(f"""new Promise((done) => {{
      const timer = setInterval(() => {{
        if (Number(document.body.dataset.shown || 0) >= {number}) {{ clearInterval(timer); done(); }}
      }}, 50);
    }})""")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1200, 375])
def test_it_can_be_read_and_fits(page: Page, width: int, dark: bool) -> None:
    with shown(sights()) as url:
        page.show(url, width=width, dark=dark)
        looks(page, 2)
        assert texts(page)[0] >= (4.5, "")
        assert page.run("document.documentElement.scrollWidth") == width
        cramped = "[...document.querySelectorAll('td')].filter((cell) => cell.offsetHeight > 180).length"
        assert page.run(cramped) == 0, "no cell is a letter wide"
        assert page.complaints == []


def test_tables_are_named_and_scrolled_by_keyboard(page: Page) -> None:
    with shown(sights()) as url:
        page.show(url)
        looks(page, 1)
        named = """[...document.querySelectorAll('section:not([hidden]) .wide')].map((wide) =>
            [wide.tabIndex, document.getElementById(wide.getAttribute('aria-labelledby')).textContent])"""
        assert page.run(named) == [[0, "Models 5"], [0, "Mounted 2"], [0, "Pre-cache 2"]]
        assert page.run("[...document.querySelectorAll('th')].every((head) => head.scope === 'col')")


def test_what_did_not_change_is_left_alone(page: Page) -> None:
    """It can be selected and copied, and is not read out again each second."""
    with shown(sights()) as url:
        page.show(url)
        looks(page, 1)
        page.run("document.querySelectorAll('#models tr, #peers li').forEach((part) => { part.dataset.kept = '1'; })")
        looks(page, 3)
        assert page.run("[...document.querySelectorAll('#models tr, #peers li')].every((part) => part.dataset.kept)")


def test_a_node_that_is_gone_is_not_shown_as_one_that_is_here(page: Page) -> None:
    with shown(sights()) as url:
        page.show(url)
        looks(page, 1)
    page.run("""new Promise((done) => {
      const timer = setInterval(() => {
        if (document.getElementById('state').textContent === 'unreachable') { clearInterval(timer); done(); }
      }, 50);
    })""")
    assert "what follows is of " in page.run("document.getElementById('about').textContent")
    assert page.run("getComputedStyle(document.querySelector('main')).filter") == "grayscale(1)"


def console(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What the page's console said."""
    return [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
