"""Where the parts of pictures lie, as rules of the page's own style sheet.

The page's policy allows one style sheet, by its hash, and no `style` attribute. All that goes in are numbers.
"""

from __future__ import annotations

from modelcar.cli.pages.treemap import Rectangle

__all__ = ["Places"]


class Places:
    """Collects rules; each call returns the name of a class."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def tile(self, part: Rectangle, whole: Rectangle) -> str:
        """Where in a picture, whatever size the browser gives it."""
        return self._name(
            f"left:{100 * part.x / whole.width:.4f}%;top:{100 * part.y / whole.height:.4f}%;"
            f"width:{100 * part.width / whole.width:.4f}%;height:{100 * part.height / whole.height:.4f}%"
        )

    def width(self, part: float, whole: float) -> str:
        """How wide; nothing of nothing is nothing."""
        return self._name(f"width:{100 * part / whole if whole else 0:.4f}%")

    @property
    def rules(self) -> str:
        return "".join(f".{name}{{{rule}}}\n" for rule, name in self._names.items())

    def _name(self, rule: str) -> str:
        return self._names.setdefault(rule, f"p{len(self._names)}")
