"""`modelcar copy`."""

from __future__ import annotations

import time

import click

from modelcar.cli.options import location_argument, network_options, output_options
from modelcar.cli.output import Output
from modelcar.cli.places import carry_along, publish
from modelcar.cli.progress import progress
from modelcar.errors import UsageError
from modelcar.oci import Descriptor, Reference
from modelcar.packaging.fetch import LayoutSource
from modelcar.packaging.locations import LayoutLocation, Location
from modelcar.progress import Progress
from modelcar.registry import ClientSettings, Registry
from modelcar.signing.places import LayoutPlace, RegistryPlace
from modelcar.store import Names, OciLayout
from modelcar.store.transfer import copy_image


@click.command("copy")
@location_argument("src")
@location_argument("dst")
@network_options
@output_options
def command(src: Location, dst: Location, settings: ClientSettings, output: Output) -> None:
    """Copy an image between registries and OCI layouts.

    SRC and DST are references (registry/repo:tag) or OCI layouts (oci:DIR[:TAG]). All platforms go along, and no
    digest changes; so do signatures, attestations and all else that refers to the image. Within one registry blobs are
    mounted, not moved. The name appears last.

    \b
      modelcar copy ghcr.io/acme/llm:v1 registry.internal/llm:v1
      modelcar copy ghcr.io/acme/llm:v1 oci:./llm:v1
    """
    began = time.monotonic()
    if isinstance(src, Reference) and isinstance(dst, Reference) and (src.name, src.tag) == (dst.name, dst.tag):
        raise UsageError(f"{src} would be copied onto itself")
    with progress(output, "copy") as report, Registry(settings, report) as registry:
        if isinstance(dst, LayoutLocation):
            root, attached = _into_layout(src, dst, registry, report, output)
        elif isinstance(src, LayoutLocation):
            source = LayoutSource(src)
            root = source.resolve()
            attached = publish(source.layout, {dst: root}, registry, output)
        else:
            root, attached = _between_registries(src, dst, registry, output)
    seconds = time.monotonic() - began
    output.document(
        {
            "source": str(src),
            "target": str(dst),
            "digest": str(root.digest),
            "attachments": attached,
            "seconds": round(seconds, 3),
        }
    )
    output.line(f"copied {src} to {dst} in {seconds:.1f} s")
    output.line(str(root.digest))


def _into_layout(
    src: Location, dst: LayoutLocation, registry: Registry, report: Progress, output: Output
) -> tuple[Descriptor, int]:
    target = OciLayout(dst.folder)
    if isinstance(src, LayoutLocation):
        source, name = LayoutSource(src), dst.name
        root = source.resolve()
        copy_image(source.layout, target, root, progress=report)
        attached = carry_along(LayoutPlace(source.layout), LayoutPlace(target), root, output)
    else:
        name = dst.name or src.tag
        root = registry.pull(src, target)
        attached = carry_along(RegistryPlace(registry, src), LayoutPlace(target), root, output)
    Names(target).put(name, root)
    return root, attached


def _between_registries(src: Reference, dst: Reference, registry: Registry, output: Output) -> tuple[Descriptor, int]:
    document = registry.manifest(src)
    source, target = RegistryPlace(registry, src), RegistryPlace(registry, dst)
    root = registry.copy(source.at(document.digest), target.at(dst.digest or document.digest))
    attached = carry_along(source, target, root, output)
    if dst.tag is not None:
        registry.put_manifest(dst, document.content, document.media_type)
    return root, attached
