"""`modelcar pull`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from modelcar.cli.images import open_local_store
from modelcar.cli.options import FOLDER, location_argument, network_options, output_options, platform_option
from modelcar.cli.output import Output, human_size
from modelcar.cli.places import show_carried
from modelcar.cli.progress import progress
from modelcar.cli.ranks import RankChoice, rank_options
from modelcar.cli.rates import limit_rate_option
from modelcar.errors import NotFound, UsageError
from modelcar.images.described import describe_image
from modelcar.images.file_pull import SourceChunks, pull_files
from modelcar.images.rank_pull import pull_ranks
from modelcar.images.reader import ModelReader
from modelcar.images.store_pull import ranged_blobs
from modelcar.lazy.download import Downloads, registry_downloads
from modelcar.oci import Digest, Manifest, Platform, Reference
from modelcar.packaging.fetch import LayoutSource, RangedSource, RegistrySource, bring_image, choose_manifest
from modelcar.packaging.labels import layer_labels
from modelcar.packaging.locations import Location, StoredLocation
from modelcar.packaging.unpack import unpack_model
from modelcar.registry import ClientSettings, Registry
from modelcar.signing.carry import carry_attachments
from modelcar.signing.places import LayoutPlace, RegistryPlace


@click.command("pull")
@location_argument()
@click.option("-o", "--output", "folder", type=FOLDER, help="Put the model's files here: a new or empty folder.")
@click.option(
    "--include",
    multiple=True,
    metavar="PATTERN",
    help='With -o, only files that fit, such as "*.json"; * takes slashes, too. Repeatable.',
)
@rank_options
@platform_option("With -o, of an image for several platforms, take this one; models are the same in all.")
@network_options
@limit_rate_option
@output_options
def command(
    ref: Location,
    folder: Path | None,
    include: tuple[str, ...],
    choice: RankChoice | None,
    platform: Platform | None,
    settings: ClientSettings,
    limit_rate: float | None,
    output: Output,
) -> None:
    """Pull a model's files into a folder, or an image to the store.

    With -o the folder is filled all at once at the end; without it, the image is kept in the local store under its
    name, with its signatures and attestations. All content is checked on the way. A pull that ended early, even by
    kill -9, goes on where it was.

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
        _pull_ranks(ref, folder, choice, platform, settings, output)
        return
    if folder is not None:
        _pull_files(ref, folder, include, platform, settings, output)
        return
    if not isinstance(ref, Reference) or ref.tag is None:
        raise UsageError(f"{ref} has no name to keep it under in the local store", hint="add -o DIR to get its files")
    if platform is not None:
        raise UsageError("the local store takes an image with all its platforms", hint="--platform goes with -o DIR")
    _pull_image(ref, settings, output)


def _pull_files(
    ref: Location,
    folder: Path,
    include: tuple[str, ...],
    platform: Platform | None,
    settings: ClientSettings,
    output: Output,
) -> None:
    began = time.monotonic()
    labels: dict[Digest, str] = {}
    with progress(output, "pull", labels) as report, Registry(settings, report) as registry:
        source = LayoutSource(ref) if isinstance(ref, StoredLocation) else RegistrySource(ref, registry)
        root = source.resolve()
        manifest = choose_manifest(source, root, platform)
        labels.update(layer_labels(manifest, source.read))
        reader = _reader(source, manifest, required=bool(include))
        if reader is not None and (include or isinstance(source, RegistrySource)):
            with _downloads(source, ref, settings) as downloads:
                unpacked = pull_files(
                    reader, downloads, folder, include=include, workers=settings.concurrency, progress=report
                )
        else:
            unpacked = unpack_model(manifest, source.open_layer, folder, workers=settings.concurrency, progress=report)
    seconds = time.monotonic() - began
    output.document(
        {
            "name": str(ref),
            "digest": str(root.digest),
            "folder": str(folder),
            "files": unpacked.files,
            "size": unpacked.size,
            "seconds": round(seconds, 3),
        }
    )
    output.line(f"pulled {unpacked.files} files ({human_size(unpacked.size)}) into {folder} in {seconds:.1f} s")
    output.line(str(root.digest))


def _reader(source: RangedSource, manifest: Manifest, *, required: bool) -> ModelReader | None:
    """`None` for an image of which only whole layers can be verified."""
    try:
        return ModelReader(source, manifest.descriptor)
    except (NotFound, UsageError):
        if required:
            raise
        return None


@contextmanager
def _downloads(source: RangedSource, ref: Location, settings: ClientSettings) -> Iterator[Downloads]:
    if isinstance(ref, Reference):
        with registry_downloads(ref, settings) as downloads:
            yield downloads
    else:
        with Downloads(SourceChunks(source, str(ref))) as downloads:
            yield downloads


def _pull_ranks(
    ref: Location,
    folder: Path,
    choice: RankChoice,
    platform: Platform | None,
    settings: ClientSettings,
    output: Output,
) -> None:
    began = time.monotonic()
    with progress(output, "pull") as report, Registry(settings, report) as registry:
        source = LayoutSource(ref) if isinstance(ref, StoredLocation) else RegistrySource(ref, registry)
        root = source.resolve()
        reader = ModelReader(source, root, platform)
        model = describe_image(reader)
        plan = choice.plan(model)
        pulled = pull_ranks(reader, plan, folder, name=str(ref), workers=settings.concurrency, progress=report)
    for path in model.copies:
        output.aside(f"note: left out, as it is another copy of the same model: {path}")
    seconds = time.monotonic() - began
    output.document(
        {
            "name": str(ref),
            "digest": str(root.digest),
            "folder": str(folder),
            "ranks": list(plan.ranks),
            "files": pulled.files,
            "size": pulled.size,
            "tensorsLeftOut": pulled.tensors_left_out,
            "bytesLeftOut": pulled.bytes_left_out,
            "seconds": round(seconds, 3),
        }
    )
    output.line(f"pulled {pulled.files} files ({human_size(pulled.size)}) into {folder} in {seconds:.1f} s")
    left = pulled.tensors_left_out
    if left:
        output.line(
            f"for {choice.words}: {left} tensor{'s' * (left != 1)} ({human_size(pulled.bytes_left_out)}) left out"
        )
    else:
        output.line(f"for {choice.words}: they have something of every tensor, so this is the whole model")
    output.line(str(root.digest))


def _pull_image(ref: Reference, settings: ClientSettings, output: Output) -> None:
    began = time.monotonic()
    store = open_local_store()
    with store.session():
        with (
            progress(output, "pull") as report,
            Registry(settings, report) as registry,
            registry_downloads(ref, settings) as downloads,
        ):
            source = RegistrySource(ref, registry)
            bring = ranged_blobs(source, source.resolve(), downloads, store.content, report)
            root = bring_image(ref, store, registry, bring=bring)
            carried = carry_attachments(RegistryPlace(registry, ref), LayoutPlace(store.content), root)
        attached = show_carried(carried, output)
        store.names.put(f"{ref.name}:{ref.tag}", root)
    seconds = time.monotonic() - began
    output.document(
        {"name": str(ref), "digest": str(root.digest), "attachments": attached, "seconds": round(seconds, 3)}
    )
    output.line(f"pulled {ref} into the local store in {seconds:.1f} s")
    output.line(str(root.digest))
