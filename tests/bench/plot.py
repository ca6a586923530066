"""Lines in a coordinate system, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

__all__ = ["line_plot"]

_WIDTH, _HEIGHT = 640, 360
_LEFT, _TOP, _RIGHT, _BOTTOM = 60, 48, 120, 48
_COLOURS: Final = ("#0b6e4f", "#b3261e", "#888888", "#1f4e9c")


def line_plot(*, title: str, x: str, y: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """One line for each name, labelled at its end. Both axes begin at 0."""
    most_x = max(point[0] for line in lines.values() for point in line)
    most_y = math.ceil(max(point[1] for line in lines.values() for point in line))

    def place(point: tuple[float, float]) -> tuple[float, float]:
        across = _LEFT + point[0] / most_x * (_WIDTH - _LEFT - _RIGHT)
        down = _HEIGHT - _BOTTOM - point[1] / most_y * (_HEIGHT - _TOP - _BOTTOM)
        return round(across, 1), round(down, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_WIDTH / 2, 24, title, anchor="middle", size=14),
        *_axis((place((0, 0)), place((most_x, 0)))),
        *_axis((place((0, 0)), place((0, most_y)))),
        _text(place((most_x, 0))[0], _HEIGHT - 12, x, anchor="end"),
        _text(_LEFT, _TOP - 8, y, anchor="start"),
    ]
    for value in sorted({point[0] for line in lines.values() for point in line}):
        across, down = place((value, 0))
        parts.append(_text(across, down + 16, f"{value:g}", anchor="middle"))
    for value in range(0, most_y + 1, max(1, most_y // 5)):
        across, down = place((0, value))
        parts.append(_text(across - 8, down + 4, f"{value}", anchor="end"))
    for (name, line), colour in zip(lines.items(), _COLOURS, strict=False):
        points = [place(point) for point in line]
        path = " ".join(f"{a},{b}" for a, b in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{a}" cy="{b}" r="3" fill="{colour}"/>' for a, b in points]
        parts.append(_text(points[-1][0] + 8, points[-1][1] + 4, f"{name} {line[-1][1]:.2f}", colour=colour))
    return "\n".join([*parts, "</svg>", ""])


def _axis(ends: tuple[tuple[float, float], tuple[float, float]]) -> list[str]:
    (x1, y1), (x2, y2) = ends
    return [f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="black"/>']


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, colour: str = "black") -> str:
    place = f'x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size}" fill="{colour}"'
    return f"<text {place}>{escape(text)}</text>"
