"""The pages of `inspect` and `diff` in a real browser: right, readable, usable by keyboard, and inert."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support.commands import Modelcar
from tests.support.browser import Page, browsing
from tests.support.checkpoints import age, make_checkpoint
from tests.support.contrast import texts
from tests.support.weights import safetensors_bytes

pytestmark = pytest.mark.debian("chromium")

EVIL = "</script><img src=x onerror=document.title='pwned'>\"'\u202egnp"
ARABIC = "\u0627\u0644\u0639\u0631\u0628\u064a\u0629.json"
TILES = """
[...document.querySelectorAll('.map li')].map((item) => {
  const box = item.getBoundingClientRect(), whole = document.querySelector('.map').getBoundingClientRect();
  const tile = item.querySelector('a'), inner = tile.getBoundingClientRect();
  const inside = inner.right <= box.right + 0.01 && inner.bottom <= box.bottom + 0.01;
  return [box.width * box.height / (whole.width * whole.height), tile.dataset.digest, inside];
})
"""
ROWS = "[...document.querySelectorAll('#list tbody tr')].map((row) => row.cells[0].textContent)"


@dataclass(frozen=True, kw_only=True)
class Pages:
    """URLs of pages, and what the first one is about."""

    inspect: str
    hostile: str
    diff: str
    hostile_diff: str
    image: dict[str, Any]


@pytest.fixture(scope="module")
def pages(modelcar: Modelcar, tmp_path_factory: pytest.TempPathFactory) -> Pages:
    folder = tmp_path_factory.mktemp("pages")
    names = {"good": "pages/good:v1", "tuned": "pages/good:v2", "evil": "pages/evil:v1", "worse": "pages/evil:v2"}
    make_checkpoint(folder / "good", shards=5)
    make_checkpoint(folder / "tuned", shards=5)
    make_checkpoint(folder / "changed", shards=5, seed="x")
    fourth = "model-00004-of-00005.safetensors"
    (folder / "tuned" / fourth).write_bytes((folder / "changed" / fourth).read_bytes())
    for name, size in (("evil", 40), ("worse", 80)):
        _make_evil(folder / name, size)
    for name, ref in names.items():
        age(folder / name)
        modelcar("build", folder / name, "-t", ref, "-q")
    out = {name: folder / f"{name}.html" for name in ("inspect", "hostile", "diff", "hostile_diff")}
    modelcar("inspect", names["good"], "--against", names["tuned"], "--html", out["inspect"])
    modelcar("inspect", names["evil"], "--html", out["hostile"])
    done = modelcar.run("diff", names["good"], names["tuned"], "--html", out["diff"])
    also = modelcar.run("diff", names["evil"], names["worse"], "--html", out["hostile_diff"])
    assert (done.returncode, also.returncode) == (1, 1), (done.stderr, also.stderr)
    image = modelcar("inspect", names["good"])
    return Pages(**{name: path.as_uri() for name, path in out.items()}, image=image)


def _make_evil(folder: Path, size: int) -> None:
    make_checkpoint(folder, shards=1)
    weights = safetensors_bytes({EVIL: ("F32", (size // 4,), bytes(size))}, align=8)
    (folder / "model-00001-of-00001.safetensors").write_bytes(weights)
    index = {"metadata": {"total_size": size}, "weight_map": {EVIL: "model-00001-of-00001.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "README.md").write_text(f"---\nlicense: mit\n---\n# {EVIL}\n\n{EVIL}\n")
    (folder / "config.json").write_text(json.dumps({"architectures": [EVIL], "model_type": EVIL, EVIL: EVIL}))
    (folder / ARABIC).write_text("{}")
    (folder / "<img src=x onerror=alert(1)>.json").write_text("{}")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("browser")) as page:
        yield page


def search(page: Page, text: str) -> None:
    page.run(
        "(() => { const field = document.getElementById('filter');"
        f" field.value = {json.dumps(text)}; field.dispatchEvent(new Event('input')); }})()"
    )


@pytest.mark.parametrize("name", ["inspect", "hostile", "diff", "hostile_diff"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_is_quiet_readable_and_asks_for_nothing(page: Page, pages: Pages, name: str, dark: bool) -> None:
    url = getattr(pages, name)
    page.show(url, dark=dark)
    page.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    contrasts = texts(page)
    assert len(contrasts) > 50
    assert contrasts[0] >= (4.5, "")
    ground = page.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 200) is dark
    assert page.complaints == []
    assert [request for request in page.requests if not request.startswith("data:")] == [url]


@pytest.mark.parametrize("name", ["inspect", "hostile", "diff", "hostile_diff"])
def test_a_telephone_need_not_scroll_sideways(page: Page, pages: Pages, name: str) -> None:
    page.show(getattr(pages, name), width=375, height=800)
    page.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert page.run("document.documentElement.scrollWidth") == 375
    cramped = "[...document.querySelectorAll('td, th')].filter((cell) => cell.offsetHeight > 420).length"
    assert page.run(cramped) == 0, "no cell is a letter wide"


@pytest.mark.parametrize("width", [1200, 375])
def test_every_layer_is_a_tile_as_large_as_its_bytes(page: Page, pages: Pages, width: int) -> None:
    page.show(pages.inspect, width=width)
    layers = {x["digest"]: x["size"] for m in pages.image["manifests"] for x in m["layers"]}
    tiles = page.run(TILES)
    assert {digest for _, digest, _ in tiles} == set(layers)
    assert len(tiles) == len(layers)
    for area, digest, inside in tiles:
        assert inside
        assert area == pytest.approx(layers[digest] / sum(layers.values()), rel=0.02, abs=1e-4)


def test_a_tile_tells_what_it_is_to_mouse_and_keyboard(page: Page, pages: Pages) -> None:
    page.show(pages.inspect)
    page.run("document.querySelector('.tile').focus()")
    first = page.run("document.getElementById('about').textContent")
    assert "model-00001-of-00005.safetensors" in first
    assert re.search(r"sha256:[0-9a-f]{64}$", first)
    page.press("ArrowRight")
    second = page.run("document.getElementById('about').textContent")
    assert "model-00002-of-00005.safetensors" in second
    assert page.run("document.querySelectorAll('.tile[tabindex=\"0\"]').length") == 1, "one stop for the tab key"
    page.press("End")
    page.press("ArrowRight")
    assert page.run("document.activeElement === [...document.querySelectorAll('.tile')].at(-1)")
    page.run("document.querySelector('.tile').dispatchEvent(new PointerEvent('pointerenter'))")
    assert page.run("document.getElementById('about').textContent") == first


def test_every_picture_has_a_table(page: Page, pages: Pages) -> None:
    for url in (pages.inspect, pages.diff):
        page.show(url)
        pictures = page.run("document.querySelectorAll('.map, .bar').length")
        without = """[...document.querySelectorAll('.map, .bar')].filter((picture) =>
            !picture.getAttribute('aria-label') || !picture.closest('section').querySelector('table caption')).length"""
        assert (pictures > 0, page.run(without)) == (True, 0)


def test_the_filter_finds(page: Page, pages: Pages) -> None:
    page.show(pages.inspect)
    everything = page.run(ROWS)
    assert len(everything) == 5
    page.run("document.getElementById('filter').focus()")
    page.call("Input.insertText", text="bf16 LAYERS.4")
    assert page.run(ROWS) == ["model.layers.4.weight"]
    assert page.run("document.getElementById('found').textContent") == "1 of 5 tensors"
    page.call("Input.insertText", text=" nowhere")
    assert page.run(ROWS) == []
    search(page, "")
    assert page.run(ROWS) == everything


def test_light_and_dark_can_be_chosen(page: Page, pages: Pages) -> None:
    page.show(pages.diff, dark=True)
    grounds = []
    for _ in range(4):
        grounds.append(page.run("getComputedStyle(document.body).backgroundColor"))
        page.run("document.getElementById('theme').click()")
    auto, light, dark, again = grounds
    assert auto == dark == again
    assert light != dark


def test_nothing_moves_for_those_who_do_not_want_it(page: Page, pages: Pages) -> None:
    page.show(pages.inspect)
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    assert page.run("getComputedStyle(document.querySelector('.tile')).transitionDuration") in ("0s", "0.12s, 0s")


def test_names_of_files_run_from_left_to_right(page: Page, pages: Pages) -> None:
    """One in Arabic letters, too: otherwise its ending stands before it, and looks like another file's."""
    page.show(pages.hostile)
    page.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    where = """((name) => {
      const range = document.createRange();
      const edge = (at) => (range.setStart(name, at), range.setEnd(name, at + 1), range.getBoundingClientRect().left);
      return edge(0) < edge(name.length - 1);
    })([...document.querySelectorAll('bdi')].find((name) => name.textContent === ARABIC).firstChild)"""
    assert page.run(where.replace("ARABIC", json.dumps(ARABIC)))


def test_it_prints_on_paper_whatever_the_screen_is_like(page: Page, pages: Pages) -> None:
    page.show(pages.inspect, width=718, dark=True)
    page.run("document.documentElement.dataset.theme = 'dark'")
    page.call("Emulation.setEmulatedMedia", media="print", features=[])
    try:
        assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert texts(page)[0] >= (4.5, "")
        assert page.run("document.getElementById('theme').offsetHeight") == 0
        assert page.run("document.documentElement.scrollWidth") == 718
    finally:
        page.call("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize("name", ["hostile", "hostile_diff"])
def test_hostile_names_are_text(page: Page, pages: Pages, name: str) -> None:
    page.show(getattr(pages, name))
    page.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    search(page, "img")
    assert page.run(ROWS) == [EVIL.replace("\u202e", "\\u202e")], "it is there to be read, also when it was found"
    assert page.run("document.images.length") == 0
    assert page.run("document.scripts.length") == 2
    assert page.run("document.title.includes('pwned') && !document.title.includes('·')") is False
    assert "\u202e" not in page.run("document.documentElement.textContent")
    assert page.complaints == []


def test_nothing_runs_even_if_the_template_were_careless(page: Page, pages: Pages, tmp_path: Path) -> None:
    """The policy of the page is a second lock: it is tried with markup that the first would have stopped."""
    careless = f"<script>document.title='pwned'</script>{EVIL}<p id=styled style='color: red'>x</p>"
    file = tmp_path / "careless.html"
    file.write_text(
        Path(pages.hostile.removeprefix("file://")).read_text().replace("<header>", f"<header>{careless}", 1)
    )
    page.show(file.as_uri())
    assert page.run("document.title") != "pwned"
    assert page.run("getComputedStyle(document.getElementById('styled')).color") != "rgb(255, 0, 0)"
    assert any("Content Security Policy" in complaint for complaint in page.complaints)


def test_without_its_script_all_is_there(page: Page, pages: Pages) -> None:
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.show(pages.inspect)
        assert len(page.run(ROWS)) == 5
        assert page.run("document.getElementById('theme').offsetHeight") == 0, "what does nothing is not shown"
        assert page.run("document.querySelector('.search').offsetHeight") == 0
    finally:
        page.call("Emulation.setScriptExecutionDisabled", value=False)
