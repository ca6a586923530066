"""Where images are, as people type it.

`oci:DIR[:NAME]` is an OCI layout in a folder, `oci-archive:FILE[:NAME]` one in a tar; anything else is a reference.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelcar.errors import InvalidReference, NotFound, UsageError
from modelcar.oci import Reference
from modelcar.store import ArchiveStore, Layout, OciLayout

__all__ = [
    "ArchiveLocation",
    "LayoutLocation",
    "Location",
    "StoredLocation",
    "open_layout",
    "open_target_layout",
    "parse_location",
]

# image specification 1.1, annotations.md: what org.opencontainers.image.ref.name may be
_COMPONENT = r"[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*"
_NAME: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
# Transports of skopeo and podman that have a namesake here.
_OF_OTHERS: Final = {
    "docker-archive": "`oci-archive:FILE` is the tar that is read and written here",
    "docker-daemon": "`modelcar load REF` hands an image to docker, `docker push` to a registry",
    "containers-storage": "`modelcar load REF --engine podman` hands an image to podman, `podman push` to a registry",
}
_SCHEME: Final = re.compile(r"oci://(?!/)")  # of Helm and KServe, before a reference
# What a layout may consist of before its marker is there: another process, since killed, was about to create it.
_BEGINNINGS: Final = re.compile(r"blobs|ingest|index\.json|\.(index\.json|oci-layout)\.[0-9a-f]{12}|lost\+found")


@dataclass(frozen=True, slots=True)
class LayoutLocation:
    """An image in an OCI layout; without a name, the only one there."""

    folder: Path
    name: str | None = None

    def __str__(self) -> str:
        return f"oci:{self.folder}" + (f":{self.name}" if self.name else "")


@dataclass(frozen=True, slots=True)
class ArchiveLocation:
    """An image in an OCI layout that is one tar; without a name, the only one there."""

    file: Path
    name: str | None = None

    def __str__(self) -> str:
        return f"oci-archive:{self.file}" + (f":{self.name}" if self.name else "")


StoredLocation = LayoutLocation | ArchiveLocation
Location = StoredLocation | Reference


def parse_location(text: str) -> Location:
    """Parse what a person typed.

    >>> parse_location("oci:/tmp/layout:v1")
    LayoutLocation(folder=PosixPath('/tmp/layout'), name='v1')

    Raises:
        InvalidReference: with the part that is wrong.
    """
    scheme, colon, rest = text.partition(":")
    if colon and scheme in _OF_OTHERS:
        raise InvalidReference(f"{scheme}: is no place of modelcar's", hint=_OF_OTHERS[scheme])
    if text.endswith(".tar") and Path(text).is_file():
        raise InvalidReference(f"{text!r} is a file", hint=f"an image in a tar is oci-archive:{text}")
    if not colon or scheme not in ("oci", "oci-archive") or _SCHEME.match(text):
        return Reference.parse(text)
    path, _, name = rest.partition(":")
    what, form = ("folder", "oci:DIR") if scheme == "oci" else ("file", "oci-archive:FILE")
    if not path:
        raise InvalidReference(f"{text!r} names no {what}", hint=f"it looks like {form} or {form}:TAG")
    if name and not _NAME.fullmatch(name):
        raise InvalidReference(
            f"{name!r} in {text!r} is not a name for an image", hint="letters, digits and - . _ : @ + / between them"
        )
    return (LayoutLocation if scheme == "oci" else ArchiveLocation)(Path(path), name or None)


def open_layout(location: StoredLocation) -> Layout:
    """The layout that is there.

    Raises:
        NotFound: there is none.
        UsageError: an archive is compressed, or a folder.
        InvalidContent: an archive is damaged.
    """
    if isinstance(location, LayoutLocation):
        if not os.path.lexists(location.folder):
            raise NotFound(f"there is no folder {location.folder}")
        return OciLayout(location.folder, create=False)
    return ArchiveStore(location.file)


def open_target_layout(folder: Path) -> OciLayout:
    """The layout to add an image to; a new one where `folder` is empty or does not exist yet.

    Raises:
        UsageError: something else is in `folder`.
        StorageError: it cannot be created.
    """
    if folder.exists():
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder")
        found = {path.name for path in folder.iterdir()}
        if "oci-layout" not in found and not all(map(_BEGINNINGS.fullmatch, found)):
            raise UsageError(
                f"{folder} is neither empty nor an OCI layout",
                hint="name an empty folder, or one that is not there yet",
            )
    return OciLayout(folder)
