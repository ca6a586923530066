"""`modelcar pull`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from modelcar.cli.images import open_local_store
from modelcar.cli.options import FOLDER, location_argument, network_options, output_options, platform_option
from modelcar.cli.output import Output, human_size
from modelcar.cli.places import show_carried
from modelcar.cli.progress import progress
from modelcar.errors import UsageError
from modelcar.oci import Digest, Platform, Reference
from modelcar.packaging.fetch import LayoutSource, RegistrySource, bring_image, choose_manifest
from modelcar.packaging.labels import layer_labels
from modelcar.packaging.locations import Location, StoredLocation
from modelcar.packaging.unpack import unpack_model
from modelcar.registry import ClientSettings, Registry
from modelcar.signing.carry import carry_attachments
from modelcar.signing.places import LayoutPlace, RegistryPlace


@click.command("pull")
@location_argument()
@click.option("-o", "--output", "folder", type=FOLDER, help="Put the model's files here: a new or empty folder.")
@platform_option("With -o, of an image for several platforms, take this one; models are the same in all.")
@network_options
@output_options
def command(
    ref: Location, folder: Path | None, platform: Platform | None, settings: ClientSettings, output: Output
) -> None:
    """Pull a model's files into a folder, or an image to the store.

    With -o the folder is filled all at once at the end; without it, the image is kept in the local store under its
    name, with its signatures and attestations. All content is checked on the way.

    \b
      modelcar pull ghcr.io/acme/llm:v1 -o ./llm
    """
    if folder is not None:
        _pull_files(ref, folder, platform, settings, output)
        return
    if not isinstance(ref, Reference) or ref.tag is None:
        raise UsageError(f"{ref} has no name to keep it under in the local store", hint="add -o DIR to get its files")
    if platform is not None:
        raise UsageError("the local store takes an image with all its platforms", hint="--platform goes with -o DIR")
    _pull_image(ref, settings, output)


def _pull_files(
    ref: Location, folder: Path, platform: Platform | None, settings: ClientSettings, output: Output
) -> None:
    began = time.monotonic()
    labels: dict[Digest, str] = {}
    with progress(output, "pull", labels) as report, Registry(settings, report) as registry:
        source = LayoutSource(ref) if isinstance(ref, StoredLocation) else RegistrySource(ref, registry)
        root = source.resolve()
        manifest = choose_manifest(source, root, platform)
        labels.update(layer_labels(manifest, source.read))
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


def _pull_image(ref: Reference, settings: ClientSettings, output: Output) -> None:
    began = time.monotonic()
    store = open_local_store()
    with store.session():
        with progress(output, "pull") as report, Registry(settings, report) as registry:
            root = bring_image(ref, store, registry)
            carried = carry_attachments(RegistryPlace(registry, ref), LayoutPlace(store.content), root)
        attached = show_carried(carried, output)
        store.names.put(f"{ref.name}:{ref.tag}", root)
    seconds = time.monotonic() - began
    output.document(
        {"name": str(ref), "digest": str(root.digest), "attachments": attached, "seconds": round(seconds, 3)}
    )
    output.line(f"pulled {ref} into the local store in {seconds:.1f} s")
    output.line(str(root.digest))
