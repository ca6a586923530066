"""`modelcar diff`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

import click

from modelcar.checkpoint.source import REMOTE_SCHEMES
from modelcar.cli.images import existing_local_store
from modelcar.cli.models import describe, is_source
from modelcar.cli.options import network_options, output_options
from modelcar.cli.output import Output, Table, human_size
from modelcar.cli.pages.writing import check_page_target, html_option, write_page
from modelcar.cli.source import Wishes, open_source, source_options
from modelcar.images.described import describe_checkpoint
from modelcar.images.differences import Change, Difference, Side, compare, known_places
from modelcar.registry import ClientSettings

_DIFFERS: Final = 1  # exit status


@click.command("diff")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@source_options
@click.option("--remote", is_flag=True, help="Ask the registry even if the local store has an image.")
@html_option("the difference")
@network_options
@output_options
def command(
    a: str, b: str, wishes: Wishes, remote: bool, html: str | None, settings: ClientSettings, output: Output
) -> None:
    """Show what differs between two models.

    A and B are a folder, a file, hf://org/name[@revision], or an image. Files are compared by digest, tensors by type
    and shape. Of what lies elsewhere no weights are read: the Hub and images say what theirs hash to. A file of this
    disk is read if the other side says that. Exit status 1 if anything differs, or is not known.

    \b
      modelcar diff hf://org/name@v1 hf://org/name@v2
      modelcar diff ghcr.io/acme/llm:v1 ./fine-tuned
      modelcar diff ghcr.io/acme/llm:v1 ghcr.io/acme/llm:v2 --html diff.html
    """
    if html is not None:
        check_page_target(html, output)
    sides = [_side(target, wishes, remote=remote, settings=settings, output=output) for target in (a, b)]
    found = compare(*sides)
    output.document(
        {
            "a": a,
            "b": b,
            "files": [asdict(file) for file in found.files],
            "tensors": [asdict(tensor) for tensor in found.tensors],
            "bytesToMove": found.bytes_to_move,
        }
    )
    if html is not None:
        from modelcar.cli.pages.difference import difference_page

        write_page(difference_page(found, a, b), html, output.line)
    else:
        _show(output, found, a, b)
    if not found.is_none:
        raise click.exceptions.Exit(_DIFFERS)


def _side(target: str, wishes: Wishes, *, remote: bool, settings: ClientSettings, output: Output) -> Side:
    if not is_source(target):
        return Side(model=describe(target, remote=remote, settings=settings, output=output))
    mine = wishes if target.startswith(REMOTE_SCHEMES) else Wishes()
    checkpoint = open_source(target, output, mine)
    store = existing_local_store()
    places = known_places(checkpoint, store.memo) if store is not None else {}
    return Side(model=describe_checkpoint(checkpoint), checkpoint=checkpoint, places=places)


def _show(output: Output, found: Difference, a: str, b: str) -> None:
    if found.is_none:
        output.line(f"{a} and {b} are the same model")
        return
    files = [
        [file.path, str(file.change), _size(file.before), _size(file.after)]
        for file in found.files
        if file.change is not Change.SAME
    ]
    if files:
        columns = ("file", "change", "before", "after")
        output.table(Table(columns=columns, rows=files, right=frozenset({"before", "after"})))
    tensors = [[t.name, str(t.change), t.before or "", t.after or ""] for t in found.tensors]
    if tensors:
        output.table(Table(columns=("tensor", "change", "before", "after"), rows=tensors))
    output.line(f"{human_size(found.bytes_to_move)} to move from {a} to {b}")
    if any(file.change is Change.UNKNOWN for file in found.files):
        output.aside(
            "note: unknown is what has as many bytes, and no digest on both sides: an image records those of its files"
            " if it is built with --content-digest"
        )


def _size(size: int | None) -> str:
    return "" if size is None else human_size(size)
