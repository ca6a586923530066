"""What an image says of itself: who runs it, and how it can make its model appear. Remembered by digest, for ever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from modelcar.admission.facts import Publisher, User
from modelcar.admission.resolve.layers import OpenLayer, has_one_of, read_file
from modelcar.admission.resolve.passwd import Passwd
from modelcar.errors import InvalidContent, InvalidDocument
from modelcar.holder import HOLDER_PATH
from modelcar.oci import Descriptor, ImageConfig, Index, Manifest
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.fetch import RegistrySource
from modelcar.packaging.plan import LayerKind

__all__ = ["Contents", "read_contents", "read_passwd", "read_publisher", "user_of"]

# Nodes with accelerators; the first that an image has is the one whose layers are read.
_ARCHITECTURES: Final = ("amd64", "arm64")
_USERS_FILE: Final = "etc/passwd"
_SHELLS: Final = frozenset({"bin/sh", "bin/busybox", "usr/bin/sh", "usr/bin/busybox"})
_SHELL_NAMES: Final = ("sh", "ash", "bash", "dash", "busybox")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """An image for the platforms that pods with models run on.

    Attributes:
        users: its USER as it is written; several where platforms have different ones.
        command: its entrypoint and command.
        layers: from the lowest to the top one.
    """

    users: tuple[str, ...]
    command: tuple[str, ...]
    layers: tuple[Descriptor, ...]


def read_contents(source: RegistrySource, root: Descriptor) -> Contents:
    """Read the image's manifests and configurations.

    Raises:
        InvalidContent: it is no container image.
        RegistryError: something cannot be had.
    """
    found = [_contents(source, manifest) for manifest in _manifests(source, root)]
    return replace(found[0], users=tuple(dict.fromkeys(user for contents in found for user in contents.users)))


def user_of(contents: Contents, passwd: Passwd) -> User:
    """Who runs the image where the pod says nothing.

    Raises:
        InvalidContent: that depends on the platform, or its passwd does not know the user.
    """
    if len(contents.users) > 1:
        shown = " and ".join(repr(user[:80]) for user in contents.users)
        raise InvalidContent(f"its platforms have different USERs, {shown}")
    return passwd.find(contents.users[0])


def read_passwd(contents: Contents, open_layer: OpenLayer) -> Passwd:
    """Its `/etc/passwd`; an image without one has no users.

    Raises:
        InvalidContent: it cannot be found for sure.
        RegistryError: a layer cannot be had.
    """
    return Passwd.parse(read_file(_USERS_FILE, contents.layers, open_layer) or b"")


def read_publisher(contents: Contents, open_layer: OpenLayer) -> Publisher:
    """How the image's model can be made to appear. Raises as `read_passwd`."""
    if contents.command[:1] == (HOLDER_PATH,) or _of_kind(contents.layers, LayerKind.HOLDER):
        return Publisher.HOLDER
    first = contents.command[0].rpartition("/")[2] if contents.command else ""
    others = [layer for layer in contents.layers if LAYER not in layer.annotations]
    if first in _SHELL_NAMES or has_one_of(_SHELLS, others, open_layer):
        return Publisher.SHELL
    return Publisher.NOTHING


def _of_kind(layers: Sequence[Descriptor], kind: LayerKind) -> bool:
    return any(layer.annotations.get(LAYER) == kind for layer in layers)


def _manifests(source: RegistrySource, root: Descriptor) -> list[Manifest]:
    document = source.document(root)
    if isinstance(document, Manifest):
        return [document]
    found = [source.document(entry) for entry in _entries(document)]
    if not all(isinstance(manifest, Manifest) for manifest in found):
        raise InvalidDocument("it has an index within its index")
    return [manifest for manifest in found if isinstance(manifest, Manifest)]


def _entries(index: Index) -> list[Descriptor]:
    """Those for Linux on `_ARCHITECTURES`, or else the first for any Linux."""
    linux = [entry for entry in index.manifests if entry.platform is not None and entry.platform.os == "linux"]
    wanted = [
        next((e for e in linux if e.platform and e.platform.architecture == name), None) for name in _ARCHITECTURES
    ]
    found = [entry for entry in wanted if entry is not None] or linux[:1]
    if not found:
        raise InvalidDocument("it has no image for Linux")
    return found


def _contents(source: RegistrySource, manifest: Manifest) -> Contents:
    if not manifest.is_image:
        raise InvalidDocument(f"it is no container image: its config is {manifest.config.media_type[:80]}")
    runtime = ImageConfig.parse(source.read(manifest.config)).runtime
    user = runtime.get("User") or ""
    if not isinstance(user, str):
        raise InvalidDocument("its USER is no text")
    words = [*_words(runtime.get("Entrypoint")), *_words(runtime.get("Cmd"))]
    return Contents(users=(user,), command=tuple(words), layers=manifest.layers)


def _words(value: object) -> list[str]:
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
