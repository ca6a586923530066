"""`modelcar copy`."""

from __future__ import annotations

import time

import click

from modelcar.cli.options import location_argument, network_options, output_options
from modelcar.cli.output import Output
from modelcar.cli.places import show_carried
from modelcar.cli.progress import Written, progress
from modelcar.cli.rates import limit_rate_option
from modelcar.cli.uploads import moved_document, remembering
from modelcar.errors import UsageError
from modelcar.images.archive import Archived, archive_image
from modelcar.images.publish import publish_image
from modelcar.oci import Descriptor, Digest, Reference
from modelcar.packaging.fetch import ImageSource, LayoutSource, RegistrySource
from modelcar.packaging.labels import image_labels
from modelcar.packaging.locations import ArchiveLocation, LayoutLocation, Location, StoredLocation, open_target_layout
from modelcar.progress import Progress
from modelcar.registry import ClientSettings, Registry
from modelcar.signing.carry import Carried, carry_attachments
from modelcar.signing.places import LayoutPlace, RegistryPlace
from modelcar.store import Names
from modelcar.store.transfer import copy_image


@click.command("copy")
@location_argument("src")
@location_argument("dst")
@limit_rate_option
@network_options
@output_options
def command(src: Location, dst: Location, limit_rate: float | None, settings: ClientSettings, output: Output) -> None:
    """Copy an image between registries and OCI layouts.

    SRC and DST are references (registry/repo:tag), OCI layouts (oci:DIR[:TAG]) or archives (oci-archive:FILE[:TAG]).
    All platforms go along, and no digest changes. Within one registry blobs are mounted, not moved. Signatures,
    attestations and all else that refers to the image come along, and the name appears last.

    \b
      modelcar copy ghcr.io/acme/llm:v1 registry.internal/llm:v1
      modelcar copy ghcr.io/acme/llm:v1 oci:./llm:v1
    """
    if src == dst:
        raise UsageError(f"{src} would be copied onto itself")
    began = time.monotonic()
    settings = remembering(settings, limit_rate)
    labels: dict[Digest, str] = {}
    with progress(output, "copy", labels) as shown:
        report = Written(shown)
        with Registry(settings, report) as registry:
            if output.tells_progress:
                labels.update(_labels(src, registry))
            if isinstance(dst, ArchiveLocation):
                root, archived = _into_archive(src, dst, registry, report)
                carried, moved = archived.carried, {"sent": archived.size, "reused": 0}
            elif isinstance(dst, LayoutLocation):
                root, carried = _into_layout(src, dst, registry, report)
                moved = {"sent": report.written, "reused": report.reused}
            else:
                root, carried = _into_registry(src, dst, registry)
                moved = moved_document(registry)
    attached = show_carried(carried, output)
    seconds = time.monotonic() - began
    output.document(
        {
            "source": str(src),
            "target": str(dst),
            "digest": str(root.digest),
            **moved,
            "attachments": attached,
            "seconds": round(seconds, 3),
        }
    )
    output.line(f"copied {src} to {dst} in {seconds:.1f} s")
    output.line(str(root.digest))


def _labels(src: Location, registry: Registry) -> dict[Digest, str]:
    """What the layers are called; of a registry that takes a few small requests."""
    source: ImageSource = LayoutSource(src) if isinstance(src, StoredLocation) else RegistrySource(src, registry)
    return image_labels(source, source.resolve())


def _into_layout(
    src: Location, dst: LayoutLocation, registry: Registry, report: Progress
) -> tuple[Descriptor, Carried]:
    if isinstance(src, StoredLocation):
        source = LayoutSource(src)
        root = source.resolve()
        target = open_target_layout(dst.folder)
        copy_image(source.layout, target, root, progress=report)
        carried = carry_attachments(LayoutPlace(source.layout), LayoutPlace(target), root)
        Names(target).put(dst.name or source.name, root)
    else:
        found = registry.resolve(src)  # before a folder is made for it
        target = open_target_layout(dst.folder)
        root = registry.pull(src.with_digest(found.digest), target)
        carried = carry_attachments(RegistryPlace(registry, src), LayoutPlace(target), root)
        Names(target).put(dst.name or src.tag, root)
    return root, carried


def _into_archive(
    src: Location, dst: ArchiveLocation, registry: Registry, report: Progress
) -> tuple[Descriptor, Archived]:
    if isinstance(src, StoredLocation):
        source = LayoutSource(src)
        root, name = source.resolve(), dst.name or src.name
        archived = archive_image(LayoutPlace(source.layout), root, dst.file, name=name, progress=report)
    else:
        root = registry.resolve(src)
        archived = archive_image(RegistryPlace(registry, src), root, dst.file, name=dst.name or src, progress=report)
    return root, archived


def _into_registry(src: Location, dst: Reference, registry: Registry) -> tuple[Descriptor, Carried]:
    if isinstance(src, StoredLocation):
        held = LayoutSource(src)
        root = held.resolve()
        return root, publish_image(registry, held.layout, root, dst)
    document = registry.manifest(src)
    source, target = RegistryPlace(registry, src), RegistryPlace(registry, dst)
    root = registry.copy(source.at(document.digest), target.at(dst.digest or document.digest))
    carried = carry_attachments(source, target, root)
    if dst.tag is not None:
        registry.put_manifest(dst, document.content, document.media_type)
    return root, carried
