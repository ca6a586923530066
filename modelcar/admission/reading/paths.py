"""Where a model may appear."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from modelcar.admission.asked import Model
from modelcar.admission.settings import Link
from modelcar.admission.shape import shown
from modelcar.errors import Denied

__all__ = ["check_apart", "check_path", "is_systems", "is_within", "parent_of"]

_LONGEST: Final = 255
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_FORBIDDEN: Final = {":": "Kubernetes mounts nothing there", "$": "a kubelet expands it", "\\": "it is a Windows path"}
# The system's own: nothing may appear anywhere in them ...
_TREES: Final = (
    "/proc", "/sys", "/dev", "/etc", "/boot", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/usr/bin", "/usr/sbin",
    "/usr/lib", "/run/secrets", "/var/run/secrets", "/.modelcar",
)  # fmt: skip
# ... or in place of them.
_FOLDERS: Final = ("/usr", "/usr/local", "/var", "/var/run", "/var/lib", "/run", "/tmp", "/home", "/root", "/opt")  # noqa: S108  # folders that no model may be put over


def is_within(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or lies in it; both normalised."""
    return path == folder or folder == "/" or path.startswith(f"{folder}/")


def parent_of(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def check_path(path: str, link: Link, where: str) -> str:
    """`path` without repeated and trailing slashes, if a model may appear there.

    Raises:
        Denied: it is relative, the root, leaves itself, or belongs to the system; for a directory link also if its
            parent does, since the parent is what is mounted.
    """
    normal = "/" + "/".join(part for part in path.split("/") if part)
    if not path.startswith("/"):
        raise Denied(f"{where} is {shown(path)}, and not absolute", hint="it begins with /")
    if len(path.encode(errors="replace")) > _LONGEST:
        raise Denied(f"{where} has more than {_LONGEST} bytes")
    if _CONTROL.search(path):
        raise Denied(f"{where} is {shown(path)}: it has characters that cannot be printed")
    for character, why in _FORBIDDEN.items():
        if character in path:
            raise Denied(f"{where} is {shown(path)}, with {character!r}: {why}")
    parts = normal.split("/")
    if "." in parts or ".." in parts:
        raise Denied(f"{where} is {shown(path)}: . and .. do not belong there")
    _check_not_the_systems(normal, where)
    if link is Link.DIRECTORY:
        _check_not_the_systems(parent_of(normal), f"{where} is a directory link, and its parent")
    return normal


def is_systems(path: str) -> bool:
    """Whether nothing may be mounted at `path`."""
    return path == "/" or path in _FOLDERS or any(is_within(path, tree) for tree in _TREES)


def _check_not_the_systems(path: str, where: str) -> None:
    if is_systems(path):
        raise Denied(f"{where} is {path}, which is the system's", hint="choose another one, such as /mnt/models")


def check_apart(models: Iterable[Model]) -> None:
    """Nothing, if no model hides another: siblings are fine, the same path or one in another is not.

    Raises:
        Denied: naming both.
    """
    seen: list[Model] = []
    for model in models:
        for other in seen:
            if other.name == model.name:
                raise Denied(f"two models are called {model.name!r}", hint="give each a name of its own")
            if is_within(model.path, other.path) or is_within(other.path, model.path):
                raise Denied(
                    f"models {other.name!r} at {other.path} and {model.name!r} at {model.path} hide each other",
                    hint="put them beside each other, such as /mnt/models/base and /mnt/models/lora",
                )
        seen.append(model)
    _check_directory_links(seen)


def _check_directory_links(models: list[Model]) -> None:
    """The parent of a directory link is a volume of links: another volume cannot be mounted in it."""
    for model in models:
        if model.link is not Link.DIRECTORY:
            continue
        parent = parent_of(model.path)
        for other in models:
            theirs = parent_of(other.path) if other.link is Link.DIRECTORY else other.path
            if theirs != parent and is_within(theirs, parent):
                raise Denied(
                    f"model {other.name!r} at {other.path} lies in {parent}, which is filled with the directory link"
                    f" of {model.name!r}",
                    hint="use `farm` links for both",
                )
