"""`modelcar convert`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Final

import click

from modelcar.cli.options import NAMED_PATH, output_options
from modelcar.cli.output import Output, Table, human_size
from modelcar.cli.progress import progress
from modelcar.conversion import Conversion, LeftOut, convert
from modelcar.units import parse_size

_MOST_NAMED: Final = 3


@click.command("convert")
@click.argument("source", metavar="SOURCE")
@click.option("-o", "--output", "folder", metavar="DIR", type=NAMED_PATH, required=True, help="A new or empty folder.")
@click.option(
    "--max-shard-size",
    metavar="SIZE",
    help="The most that a file may hold: 5GB, 500MB, 5GiB. By default pickled models are divided by 5GB.",
)
@click.option("--key", metavar="NAME", help="Under which a training checkpoint has its weights, if that is unusual.")
@output_options
def command(source: str, folder: Path, max_shard_size: str | None, key: str | None, output: Output) -> None:
    """Turn pickled weights into safetensors, or divide weights anew.

    Nothing in a pickle is executed: what it describes is read, and the numbers are copied from where they lie. A
    pickle that holds anything but tensors and plain values is refused, with what and where.

    SOURCE is a folder, a file or hf://org/name. Configuration, tokenizer and the like are taken along, pickles are
    not. With --max-shard-size safetensors are divided anew, too.

    \b
      modelcar convert ./old-model -o ./new-model
      modelcar convert pytorch_model.bin -o ./new-model
      modelcar convert ./my-model -o ./my-model-2gb --max-shard-size 2GB
    """
    began = time.monotonic()
    if source.startswith("hf://"):
        output.aside(f"looking at {source}")
    with progress(output, "convert") as report:
        done = convert(source, folder, max_shard_size=max_shard_size, key=key, progress=report)
    seconds = time.monotonic() - began
    output.document(_document(source, folder, done, seconds))
    rows = [[file.path, str(file.tensors), human_size(file.size), " ".join(_some(file.sources))] for file in done.files]
    right = frozenset({"tensors", "size"})
    output.table(Table(columns=("file", "tensors", "size", "from"), rows=rows, right=right))
    _tell_what_is_missing(done, output)
    if max_shard_size is not None:
        _tell_what_is_too_large(done, max_shard_size, output)
    counted = f"{done.tensors} tensor{'s' * (done.tensors != 1)}"
    output.line(f"converted {counted} ({human_size(done.size)}) into {folder} in {seconds:.1f} s")


def _document(source: str, folder: Path, done: Conversion, seconds: float) -> dict[str, object]:
    return {
        "source": source,
        "folder": str(folder),
        "files": [
            {"path": file.path, "size": file.size, "tensors": file.tensors, "from": list(file.sources)}
            for file in done.files
        ],
        "copied": list(done.copied),
        "shared": done.dropped,
        "leftOut": [
            {"path": each.path, **({} if each.key is None else {"key": each.key}), "why": each.why}
            for each in done.left_out
        ],
        "tensors": done.tensors,
        "size": done.size,
        "seconds": round(seconds, 3),
    }


def _tell_what_is_missing(done: Conversion, output: Output) -> None:
    if done.dropped:
        names = ", ".join(_some(f"{dropped} is {kept}" for dropped, kept in done.dropped.items()))
        output.aside(f"note: names of one tensor are saved once: {names}")
    for path, values in groupby(done.left_out, key=lambda each: each.path):
        output.aside(f"note: left out of {path}: {', '.join(_some(map(_said, values)))}")


def _tell_what_is_too_large(done: Conversion, most: str, output: Output) -> None:
    larger = [file.path for file in done.files if file.size > parse_size(most) and file.tensors == 1]
    if larger:
        more = f" and {len(larger) - 1} more" if len(larger) > 1 else ""
        verb = "are" if more else "is"
        output.aside(f"note: {larger[0]}{more} {verb} larger than {most}: a tensor is not divided")


def _said(left: LeftOut) -> str:
    return f"all of it ({left.why})" if left.key is None else f"{left.key} ({left.why})"


def _some(names: Iterable[str]) -> list[str]:
    listed = list(names)
    more = len(listed) - _MOST_NAMED
    return listed if more <= 0 else [*listed[:_MOST_NAMED], f"and {more} more"]
