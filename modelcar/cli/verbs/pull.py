"""`modelcar pull`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from modelcar.cli.options import location_argument, network_options, open_local_store, output_options, platform_option
from modelcar.cli.output import Output, human_size
from modelcar.cli.places import carry_along
from modelcar.cli.progress import progress
from modelcar.errors import UsageError
from modelcar.oci import Platform, Reference
from modelcar.packaging.fetch import LayoutSource, RegistrySource, bring_image, choose_manifest
from modelcar.packaging.locations import LayoutLocation, Location
from modelcar.packaging.unpack import unpack_model
from modelcar.registry import ClientSettings, Registry
from modelcar.signing.places import LayoutPlace, RegistryPlace


@click.command("pull")
@location_argument()
@click.option("-o", "--output", "folder", type=click.Path(path_type=Path), help="Put the model's files here.")
@platform_option("Of an image for several platforms, take this one; models are the same in all.")
@network_options
@output_options
def command(
    ref: Location, folder: Path | None, platform: Platform | None, settings: ClientSettings, output: Output
) -> None:
    """Pull a model's files into a folder, or an image to the store.

    With -o the folder is filled all at once at the end; without it, the image is kept in the local store under its
    name, its signatures and attestations included. All content is checked on the way.

    \b
      modelcar pull ghcr.io/acme/llm:v1 -o ./llm
    """
    began = time.monotonic()
    with progress(output, "pull") as report, Registry(settings, report) as registry:
        if folder is None:
            _pull_into_store(ref, registry, output, began)
            return
        source = LayoutSource(ref) if isinstance(ref, LayoutLocation) else RegistrySource(ref, registry)
        root = source.resolve()
        manifest = choose_manifest(source, root, platform)
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


def _pull_into_store(ref: Location, registry: Registry, output: Output, began: float) -> None:
    if not isinstance(ref, Reference) or ref.tag is None:
        raise UsageError(f"{ref} has no name to keep it under in the local store", hint="add -o DIR to get its files")
    store = open_local_store()
    with store.session():
        root = bring_image(ref, store, registry)
        carry_along(RegistryPlace(registry, ref), LayoutPlace(store.content), root, output)
        store.names.put(f"{ref.name}:{ref.tag}", root)
    seconds = time.monotonic() - began
    output.document({"name": str(ref), "digest": str(root.digest), "seconds": round(seconds, 3)})
    output.line(f"pulled {ref} into the local store in {seconds:.1f} s")
    output.line(str(root.digest))
