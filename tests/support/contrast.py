"""Can it be read: the contrast of texts with what lies behind them, as WCAG counts it (4.5 is enough for any text)."""

from __future__ import annotations

import json
import re
from typing import Final

from tests.support.browser import Page

__all__ = ["contrast", "texts"]

# What each text says, its colour, and the first ground behind it that is not transparent.
_TEXTS: Final = """
(() => {
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!/^rgba\\(.*, 0\\)$/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const walker = document.createTreeWalker(document.querySelector(WITHIN), NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
    if (!text || /^(SCRIPT|STYLE|NOSCRIPT|TEMPLATE)$/.test(element.tagName)) continue;
    found.push([text.slice(0, 40), getComputedStyle(element).color, behind(element)]);
  }
  return found;
})()
"""


def texts(page: Page, *, within: str = "body") -> list[tuple[float, str]]:
    """Every text in the element that this selector finds, behind its contrast, the least first."""
    found = page.run(_TEXTS.replace("WITHIN", json.dumps(within)))
    return sorted((contrast(colour, behind), text) for text, colour, behind in found)


def contrast(one: str, other: str) -> float:
    """From 1 to 21, for colours as browsers say them: `rgb(1, 2, 3)`; what is translucent counts over the other."""
    front, ground = _channels(one), _channels(other)
    mixed = [part * front[3] + under * (1 - front[3]) for part, under in zip(front[:3], ground[:3], strict=True)]
    dark, light = sorted((_luminance(mixed), _luminance(ground[:3])))
    return (light + 0.05) / (dark + 0.05)


def _channels(colour: str) -> list[float]:
    red, green, blue, *alpha = map(float, re.findall(r"[\d.]+", colour))
    return [red, green, blue, *(alpha or [1.0])]


def _luminance(channels: list[float]) -> float:
    linear = [c / 12.92 if (c := x / 255) <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for x in channels]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
