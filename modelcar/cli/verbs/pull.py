"""`modelcar pull`."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import click

from modelcar.cli.images import open_local_store
from modelcar.cli.options import NAMED_PATH, location_argument, network_options, output_options, platform_option
from modelcar.cli.output import Output, human_size
from modelcar.cli.places import show_carried
from modelcar.cli.ranks import RankChoice, rank_options
from modelcar.cli.rates import limit_rate_option
from modelcar.cli.watching import OutputWatcher
from modelcar.errors import UsageError
from modelcar.images.pulling import FilesRequest, pull_image, pull_model, pull_parts
from modelcar.oci import Platform, Reference
from modelcar.packaging.locations import Location
from modelcar.registry import ClientSettings


@click.command("pull")
@location_argument()
@click.option(
    "-o",
    "--output",
    "folder",
    metavar="DIR",
    type=NAMED_PATH,
    help="Put the model's files here: a new or empty folder.",
)
@click.option(
    "--include",
    multiple=True,
    metavar="PATTERN",
    help='With -o, only files that fit, such as "*.json"; * takes slashes, too; may be repeated.',
)
@rank_options
@click.option("--remote", is_flag=True, help="With -o, bring all from the registry, whatever the local store has.")
@platform_option("With -o, of an image for several platforms, take this one; models are the same in all.")
@network_options
@limit_rate_option
@output_options
def command(
    ref: Location,
    folder: Path | None,
    include: tuple[str, ...],
    choice: RankChoice | None,
    remote: bool,
    platform: Platform | None,
    settings: ClientSettings,
    limit_rate: float | None,
    output: Output,
) -> None:
    """Pull a model's files into a folder, or an image to the store.

    With -o the folder is filled all at once at the end, and layers that the local store has are copied from there;
    without it, the image is kept in the local store under its name, with its signatures and attestations. All content
    is checked on the way. A pull that ended early, even by kill -9, goes on where it was.

    With --rank only what those ranks have something of: whole tensors, in files that hold nothing else. A server that
    runs exactly these ranks finds all it needs; whoever asks for another tensor is told that there is none.

    \b
      modelcar pull ghcr.io/acme/llm:v1 -o ./llm
      modelcar pull ghcr.io/acme/llm:v1 -o ./llm --include "*.json" --include "tokenizer*"
      modelcar pull ghcr.io/acme/llm:v1 -o ./llm --tp 8 --pp 2 --rank 8-15
    """
    settings = replace(settings, limit_rate=limit_rate)
    if include and (folder is None or choice is not None):
        raise UsageError("--include goes with -o DIR, and without --rank")
    if choice is not None:
        if folder is None or not choice.ranks:
            raise UsageError("a rank's part of a model goes into a folder", hint="add --rank R and -o DIR")
        _pull_parts(FilesRequest(ref=ref, folder=folder, platform=platform, remote=remote), choice, settings, output)
    elif folder is not None:
        request = FilesRequest(ref=ref, folder=folder, include=include, platform=platform, remote=remote)
        _pull_files(request, settings, output)
    elif not isinstance(ref, Reference) or ref.tag is None:
        raise UsageError(f"{ref} has no name to keep it under in the local store", hint="add -o DIR to get its files")
    elif platform is not None:
        raise UsageError("the local store takes an image with all its platforms", hint="--platform goes with -o DIR")
    else:
        _pull_image(ref, settings, output)


def _pull_files(request: FilesRequest, settings: ClientSettings, output: Output) -> None:
    began = time.monotonic()
    pulled = pull_model(request, settings, OutputWatcher(output))
    seconds = time.monotonic() - began
    output.document(
        {
            "name": str(request.ref),
            "digest": str(pulled.root.digest),
            "folder": str(request.folder),
            "files": pulled.files,
            "size": pulled.size,
            "seconds": round(seconds, 3),
        }
    )
    size = human_size(pulled.size)
    output.line(f"pulled {pulled.files} files ({size}) into {request.folder} in {seconds:.1f} s")
    output.line(str(pulled.root.digest))


def _pull_parts(request: FilesRequest, choice: RankChoice, settings: ClientSettings, output: Output) -> None:
    began = time.monotonic()
    parts = pull_parts(request, choice.plan, settings, OutputWatcher(output))
    pulled = parts.pulled
    for path in parts.model.copies:
        output.aside(f"note: left out, as it is another copy of the same model: {path}")
    seconds = time.monotonic() - began
    output.document(
        {
            "name": str(request.ref),
            "digest": str(parts.root.digest),
            "folder": str(request.folder),
            "ranks": list(parts.plan.ranks),
            "files": pulled.files,
            "size": pulled.size,
            "tensorsLeftOut": pulled.tensors_left_out,
            "bytesLeftOut": pulled.bytes_left_out,
            "seconds": round(seconds, 3),
        }
    )
    size = human_size(pulled.size)
    output.line(f"pulled {pulled.files} files ({size}) into {request.folder} in {seconds:.1f} s")
    left = pulled.tensors_left_out
    if left:
        output.line(
            f"for {choice.words}: {left} tensor{'s' * (left != 1)} ({human_size(pulled.bytes_left_out)}) left out"
        )
    else:
        output.line(f"for {choice.words}: they have something of every tensor, so this is the whole model")
    output.line(str(parts.root.digest))


def _pull_image(ref: Reference, settings: ClientSettings, output: Output) -> None:
    began = time.monotonic()
    pulled = pull_image(ref, open_local_store(), settings, OutputWatcher(output))
    attached = show_carried(pulled.carried, output)
    seconds = time.monotonic() - began
    output.document(
        {"name": str(ref), "digest": str(pulled.root.digest), "attachments": attached, "seconds": round(seconds, 3)}
    )
    output.line(f"pulled {ref} into the local store in {seconds:.1f} s")
    output.line(str(pulled.root.digest))
