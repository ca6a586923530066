"""Pictures of what docs/explanation/benchmarks.md says: `python -m tests.bench.plots` draws them, `--check` compares.

The tables of the page are the only source, so that a picture never shows what the page does not say. Colours follow the
reader's light or dark scheme.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import Final

__all__ = ["PLOTS", "Plot", "bars", "main", "tables"]

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "explanation" / "benchmarks.md"
FOLDER: Final = ROOT / "docs" / "images"
# In units of the picture: read at 560 pixels on a page, and at 340 on a telephone, where 13 are still 9 pixels.
_WIDTH: Final = 480
_SHOWN: Final = 560
_MARGIN: Final = 16
_VALUE: Final = 92  # room behind the longest bar
_ROW: Final = 44
_LINE: Final = 17
_LETTERS: Final = 62  # of a note, in a line
_STYLE: Final = """
    .paper { fill: #ffffff; stroke: #d1d9e0; } text { fill: #1f2328; } .dim { fill: #59636e; font-size: 13px; }
    .ours { fill: #0969da; } .other { fill: #818b98; } .head { font-weight: 600; font-size: 15px; }
    @media (prefers-color-scheme: dark) {
      .paper { fill: #0d1117; stroke: #3d444d; } text { fill: #f0f6fc; } .dim { fill: #9198a1; }
      .ours { fill: #4493f8; } .other { fill: #656c76; }
    }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Bars of one column of one table. `rows` names them as the table does, with what the picture calls each."""

    file: str
    title: str
    note: str
    section: str
    rows: Mapping[str, str]
    ours: Sequence[str]
    column: str = "wall s"
    unit: str = "s"


PLOTS: Final = (
    Plot(
        file="plot-build-and-push.svg",
        title="A model of 2 GiB, from a folder to a registry",
        note="seconds, shorter is better; build and push, page cache warm",
        section="Build and push to docker-registry",
        rows={
            "modelcar build --push": "modelcar build --push",
            "oci-modelcar": "oci-modelcar",
            "olot + skopeo": "olot, then skopeo",
            "buildah bud + push": "buildah bud, then push",
        },
        ours=("modelcar build --push",),
    ),
    Plot(
        file="plot-disk.svg",
        title="What a build of 2 GiB leaves on the disk",
        note="MiB beside the checkpoint itself, less is better",
        section="Build",
        rows={"modelcar build": "modelcar build", "olot": "olot", "buildah bud": "buildah bud"},
        ours=("modelcar build",),
        column="left on disk",
        unit="MiB",
    ),
    Plot(
        file="plot-push.svg",
        title="Push 2 GiB to docker-registry",
        note="seconds, shorter is better; the bare loop knows all digests and does nothing but send",
        section="Push to docker-registry",
        rows={
            "bare sendfile loop, four connections": "a bare loop of sendfile",
            "modelcar push": "modelcar push",
            "skopeo copy --preserve-digests": "skopeo copy",
            "oras-py push": "oras-py push",
        },
        ours=("modelcar push",),
    ),
    Plot(
        file="plot-pod.svg",
        title="A pod on a cold node: 2 GiB over 4 Gbit/s",
        note="seconds from the pull of its image, shorter is better",
        section="A pod on a cold node, from the pull of its image to its weights",
        rows={
            "snapshotter, fuse, 4 Gbit/s: first tensor": "first tensor, lazily (FUSE)",
            "snapshotter, erofs, 4 Gbit/s: first tensor": "first tensor, lazily (EROFS)",
            "containerd, 4 Gbit/s: first tensor": "first tensor, containerd alone",
            "snapshotter, erofs, 4 Gbit/s: all weights": "all weights, lazily (EROFS)",
            "snapshotter, fuse, 4 Gbit/s: all weights": "all weights, lazily (FUSE)",
            "containerd, 4 Gbit/s: all weights": "all weights, containerd alone",
        },
        ours=(
            "snapshotter, fuse, 4 Gbit/s: first tensor",
            "snapshotter, erofs, 4 Gbit/s: first tensor",
            "snapshotter, erofs, 4 Gbit/s: all weights",
            "snapshotter, fuse, 4 Gbit/s: all weights",
        ),
    ),
    Plot(
        file="plot-nodes.svg",
        title="Ten nodes start one image at once",
        note="seconds until the last node has it, links of 200 Mbit/s, shorter is better",
        section="10 nodes start one image at once, links of 200 Mbit/s",
        rows={"registry-shim": "registry-shim", "Dragonfly": "Dragonfly", "Spegel": "Spegel"},
        ours=("registry-shim",),
    ),
    Plot(
        file="plot-peers.svg",
        title="One model, many nodes that start at once",
        note="seconds until all nodes have it, links of 200 Mbit/s, shorter is better",
        section="One model, many nodes: links of 200 Mbit/s",
        rows={
            "1 node": "1 node",
            "2 nodes": "2 nodes",
            "5 nodes": "5 nodes",
            "10 nodes": "10 nodes",
            "10 nodes without peers": "10 nodes, each from the registry",
        },
        ours=("1 node", "2 nodes", "5 nodes", "10 nodes"),
    ),
    Plot(
        file="plot-load.svg",
        title="Load all tensors of 2 GiB into numpy",
        note="seconds, shorter is better; the registry is on the same machine",
        section="Load all tensors",
        rows={
            "modelcar.load, folder": "modelcar.load, a folder",
            "safetensors.numpy.load_file": "safetensors, a folder",
            "safe_open, a tensor at a time": "safe_open, one after the other",
            "modelcar.load, registry": "modelcar.load, a registry",
            "modelcar pull, then load_file": "modelcar pull, then safetensors",
        },
        ours=("modelcar.load, folder", "modelcar.load, registry"),
    ),
)


def main(arguments: Sequence[str]) -> int:
    found = tables(PAGE.read_text())
    wanted = {FOLDER / plot.file: bars(plot, found) for plot in PLOTS}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if "--check" in arguments:
            print(
                f"{path.relative_to(ROOT)} does not show what docs/explanation/benchmarks.md says; run `make docs`",
                file=sys.stderr,
            )
        else:
            path.write_text(wanted[path])
            print(f"drew {path.relative_to(ROOT)}")
    return 1 if stale and "--check" in arguments else 0


def tables(page: str) -> dict[str, dict[str, dict[str, str]]]:
    """Section → row → column → cell. Of sections with one name the first counts."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    head: list[str] = []
    section, skipped = "", False
    for line in page.splitlines():
        if line.startswith("### "):
            section, head = line.removeprefix("### "), []
            skipped = section in found
        elif line.startswith("## "):
            section = ""
        elif line.startswith("|") and section and not skipped:
            cells = [cell.strip() for cell in line.strip()[1:-1].split("|")]
            if not head:
                head = cells
            elif not cells[0].startswith("---"):
                found.setdefault(section, {})[cells[0]] = dict(zip(head, cells, strict=True))
    return found


def bars(plot: Plot, found: Mapping[str, Mapping[str, Mapping[str, str]]]) -> str:
    """The picture as SVG. `KeyError` if the page has no such section, row or column."""
    values = {row: float(found[plot.section][row][plot.column].replace(",", "")) for row in plot.rows}
    longest = max(values.values())
    note = wrap(plot.note, _LETTERS)
    head = 40 + _LINE * len(note)
    height = head + _ROW * len(values) + 10
    told = "; ".join(f"{plot.rows[row]} {value:g} {plot.unit}" for row, value in values.items())
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_SHOWN}" role="img"',
        '     aria-labelledby="t d" font-family="system-ui, sans-serif" font-size="14">',
        f'  <title id="t">{escape(plot.title)}</title>',
        f'  <desc id="d">{escape(plot.note)}: {escape(told)}</desc>',
        f"  <style>{_STYLE}  </style>",
        f'  <rect class="paper" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="8"/>',
        f'  <text class="head" x="{_MARGIN}" y="28">{escape(plot.title)}</text>',
        *(
            f'  <text class="dim" x="{_MARGIN}" y="{48 + _LINE * number}">{escape(line)}</text>'
            for number, line in enumerate(note)
        ),
    ]
    for position, (row, value) in enumerate(values.items()):
        top = head + _ROW * position
        length = round(max(value / longest * (_WIDTH - _MARGIN - _VALUE), 2), 1)
        kind = "ours" if row in plot.ours else "other"
        lines += [
            f'  <text x="{_MARGIN}" y="{top + 16}">{escape(plot.rows[row])}</text>',
            f'  <rect class="{kind}" x="{_MARGIN}" y="{top + 22}" width="{length:g}" height="14" rx="3"/>',
            f'  <text x="{_MARGIN + length + 8:g}" y="{top + 34}">{value:g} {plot.unit}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
