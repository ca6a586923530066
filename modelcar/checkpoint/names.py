"""Which paths can be packaged: those that tar, every file system and a terminal take without surprise."""

from __future__ import annotations

import unicodedata

from modelcar.checkpoint.formats.reader import printable
from modelcar.errors import UnsafePath
from modelcar.holder import RESERVED_NAMES

__all__ = ["MAX_DEPTH", "MAX_NAME_BYTES", "MAX_PATH_BYTES", "Collisions", "check_name", "check_path", "folded"]

MAX_NAME_BYTES = 255  # NAME_MAX of every file system that matters
MAX_PATH_BYTES = 4096 - 256  # PATH_MAX, less what a mount point may put in front
MAX_DEPTH = 64  # folders

_RENAME = "rename it"
# control characters, surrogates, line and paragraph separators
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
# characters that make the rest of a line read the other way round
_BIDI = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def check_name(folder: str, name: str) -> None:
    """Refuse a file or folder `name`, found in `folder` (relative, empty at the top), that cannot be packaged.

    Raises:
        UnsafePath: saying why.
    """
    shown = printable(_escaped(f"{folder}/{name}" if folder else name), 200)
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        raise UnsafePath(f"the name {shown} is not valid UTF-8", hint=_RENAME) from None
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        raise UnsafePath(f"the name {shown} holds a path separator or stands for a folder", hint=_RENAME)
    if any(unicodedata.category(c) in _REFUSED_CATEGORIES or c in _BIDI for c in name):
        raise UnsafePath(f"the name {shown} holds a control character", hint=_RENAME)
    if not folder and name in RESERVED_NAMES:
        raise UnsafePath(f"{shown} at the top of a checkpoint is where the holder publishes models", hint=_RENAME)
    if len(encoded) > MAX_NAME_BYTES:
        raise UnsafePath(f"the name {shown} has {len(encoded)} bytes; the limit is {MAX_NAME_BYTES}", hint=_RENAME)


def _escaped(path: str) -> str:
    """With what cannot be seen spelled out, or nobody would find what to rename; `\\xff` is a byte and no UTF-8."""
    return "".join(
        c if c.isprintable() else f"\\x{ord(c) - 0xDC00:02x}" if "\udc80" <= c <= "\udcff" else _code_of(c)
        for c in path
    )


def _code_of(character: str) -> str:
    return character.encode("unicode_escape").decode()


def check_path(path: str) -> None:
    """Refuse a relative `path` that is too long or too deep as a whole; its parts have passed `check_name`."""
    size = len(path.encode())
    if size > MAX_PATH_BYTES or path.count("/") > MAX_DEPTH:
        raise UnsafePath(
            f"the path {printable(path, 200)} has {size} bytes and {path.count('/')} folders; "
            f"the limits are {MAX_PATH_BYTES} and {MAX_DEPTH}",
            hint="move it up or shorten its folders' names",
        )


class Collisions:
    """Finds paths that are one and the same on a file system that ignores case or normalises Unicode."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def add(self, path: str) -> None:
        """Remember `path` and its folders.

        Raises:
            UnsafePath: naming `path`, or the folder of it, and what it collides with.
        """
        prefix = ""
        for part in path.split("/"):
            prefix = f"{prefix}/{part}" if prefix else part
            other = self._seen.setdefault(folded(prefix), prefix)
            if other != prefix:
                raise UnsafePath(
                    f"{printable(other, 200)} and {printable(prefix, 200)} are one and the same path "
                    "on a file system that ignores case or Unicode form",
                    hint="rename or remove one of them",
                )


def folded(path: str) -> str:
    """What all paths have in common that a file system may take for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
