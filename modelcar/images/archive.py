"""An image, wherever it is, with all that is attached to it as one file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from modelcar.oci import Descriptor, Reference
from modelcar.progress import SILENT, Progress
from modelcar.signing.carried_trust import CarriedTrust
from modelcar.signing.carry import Carried, carry_attachments
from modelcar.signing.places import LayoutPlace, RegistryPlace
from modelcar.store import Names, OciLayout
from modelcar.store.archiving import Part, check_absent, write_archive
from modelcar.store.disk import explain
from modelcar.store.names import REF_NAME

__all__ = ["Archived", "archive_image"]

# What containerd, BuildKit and podman take the whole name of an image from.
_FULL_NAME: Final = "io.containerd.image.name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """An archive that was written, its size in bytes, and what came along."""

    size: int
    carried: Carried


def archive_image(
    place: RegistryPlace | LayoutPlace,
    root: Descriptor,
    file: Path,
    *,
    name: Reference | str | None = None,
    trust: CarriedTrust | None = None,
    progress: Progress = SILENT,
) -> Archived:
    """Write the image `root` at `place`, and all that is attached to it, to the new file `file`.

    What comes from a registry lies in a folder beside `file` meanwhile.

    Args:
        name: the image's reference, or its name in a layout; by default the one that it has there.
        trust: keys and a root of trust for the other side.

    Raises:
        UsageError: something is at `file` already.
        InvalidContent: the image is not what its digests say.
        WorldError: a weight file has changed since the build, the registry refuses, or the disk fails; nothing is left.
    """
    check_absent(file)
    if name is None and isinstance(place, LayoutPlace):
        name = Names(place.layout).name_of(root)
    with _staging_beside(file) as staging:
        if isinstance(place, RegistryPlace):
            place.registry.pull(place.at(root.digest), staging)
            image = Part(entry=_named(root, name), store=staging, trusted=True)
        else:
            own = isinstance(place.layout, OciLayout) and place.layout.has_recipes
            image = Part(entry=_named(root, name), store=place.layout, trusted=own)
        carried = carry_attachments(place, LayoutPlace(staging), root)
        attached = sorted(Names(staging).entries(), key=_order)
        parts = [image, *(Part(entry=entry, store=staging, trusted=True) for entry in attached)]
        size = write_archive(file, parts, others=trust.files() if trust else {}, progress=progress)
    return Archived(size=size, carried=carried)


@contextmanager
def _staging_beside(file: Path) -> Iterator[OciLayout]:
    """An empty layout on the same disk, whose blobs can therefore be shared, not copied, where disks can."""
    try:
        folder = TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent)
    except OSError as e:
        raise explain(e, f"cannot write {file}") from None
    with folder as path:
        yield OciLayout(Path(path))


def _named(root: Descriptor, name: Reference | str | None) -> Descriptor:
    if isinstance(name, Reference):
        return root.annotated({REF_NAME: name.tag, _FULL_NAME: f"{name.name}:{name.tag}"}) if name.tag else root.plain()
    return root.annotated({REF_NAME: name}) if name else root.plain()


def _order(entry: Descriptor) -> tuple[str, str]:
    """Not by when something was signed: the same content makes the same file."""
    return entry.annotations.get(REF_NAME, ""), str(entry.digest)
