"""`modelcar copy`."""

from __future__ import annotations

import time

import click

from modelcar.cli.options import location_argument, network_options, output_options
from modelcar.cli.output import Output
from modelcar.cli.progress import progress
from modelcar.errors import UsageError
from modelcar.oci import Descriptor, Reference
from modelcar.packaging.fetch import LayoutSource
from modelcar.packaging.locations import ArchiveLocation, LayoutLocation, Location, StoredLocation, open_target_layout
from modelcar.progress import Progress
from modelcar.registry import ClientSettings, Registry
from modelcar.store import Names
from modelcar.store.transfer import copy_image


@click.command("copy")
@location_argument("src")
@location_argument("dst")
@network_options
@output_options
def command(src: Location, dst: Location, settings: ClientSettings, output: Output) -> None:
    """Copy an image between registries and OCI layouts.

    SRC and DST are references (registry/repo:tag) or OCI layouts (oci:DIR[:TAG]). All platforms go along, and no
    digest changes. Within one registry blobs are mounted, not moved.

    \b
      modelcar copy ghcr.io/acme/llm:v1 registry.internal/llm:v1
      modelcar copy ghcr.io/acme/llm:v1 oci:./llm:v1
    """
    if src == dst:
        raise UsageError(f"{src} would be copied onto itself")
    if isinstance(dst, ArchiveLocation):
        raise UsageError(f"{dst} is made anew", hint=f"`modelcar archive {src} -o {dst.file}` makes it")
    began = time.monotonic()
    with progress(output, "copy") as report, Registry(settings, report) as registry:
        if isinstance(src, StoredLocation):
            root = _from_layout(src, dst, registry, report)
        elif isinstance(dst, LayoutLocation):
            root = _into_layout(src, dst, registry)
        else:
            root = registry.copy(src, dst)
    seconds = time.monotonic() - began
    output.document({"source": str(src), "target": str(dst), "digest": str(root.digest), "seconds": round(seconds, 3)})
    output.line(f"copied {src} to {dst} in {seconds:.1f} s")
    output.line(str(root.digest))


def _from_layout(
    src: StoredLocation, dst: LayoutLocation | Reference, registry: Registry, report: Progress
) -> Descriptor:
    source = LayoutSource(src)
    root = source.resolve()
    if isinstance(dst, LayoutLocation):
        target = open_target_layout(dst.folder)
        copy_image(source.layout, target, root, progress=report)
        Names(target).put(dst.name or source.name, root)
    else:
        registry.push(source.layout, root, dst)
    return root


def _into_layout(src: Reference, dst: LayoutLocation, registry: Registry) -> Descriptor:
    found = registry.resolve(src)  # before a folder is made for it
    target = open_target_layout(dst.folder)
    root = registry.pull(src.with_digest(found.digest), target)
    Names(target).put(dst.name or src.tag, root)
    return root
