"""The drawings of the documents in a real browser: every text fits its box, and can be read in either scheme."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.documents.pages import ROOT
from tests.support.browser import Page, browsing
from tests.support.contrast import contrast

pytestmark = pytest.mark.debian("chromium")

PICTURES = sorted((ROOT / "docs" / "images").glob("*.svg"))
TELEPHONE = 340  # pixels that a page there leaves to a picture
# Of every text: what it says, the room right of it in the smallest box around it, both colours, its size as shown.
TEXTS = """
(() => {
  const boxes = [...document.querySelectorAll('rect')].map((rect) => [rect.getBBox(), getComputedStyle(rect).fill]);
  const around = (text) => boxes
    .filter(([box]) => box.x <= text.x && box.y <= text.y && box.x + box.width > text.x
      && box.y + box.height >= text.y + text.height)
    .sort((a, b) => a[0].width - b[0].width)[0];
  return [...document.querySelectorAll('text')].map((text) => {
    const box = text.getBBox(), [behind, colour] = around(box), style = getComputedStyle(text);
    const room = behind.x + behind.width - box.x - box.width;
    const scale = TELEPHONE / document.documentElement.viewBox.baseVal.width;
    return [text.textContent, room, style.fill, colour, parseFloat(style.fontSize) * scale];
  });
})()
""".replace("TELEPHONE", str(TELEPHONE))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_texts_fit_and_are_readable(page: Page, picture: Path, dark: bool) -> None:
    page.show(picture.as_uri(), dark=dark)
    texts = page.run(TEXTS)
    assert len(texts) > 5
    for said, room, colour, behind, size in texts:
        assert room >= 4, said
        assert contrast(colour, behind) >= 4.5, said
        assert size >= 9 or not picture.name.startswith("plot-"), said
