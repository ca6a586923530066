"""What a former pass wrote on the pod: by it a second one knows what is ours, and what KServe had said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelcar.admission.names import DIGESTS, DONE
from modelcar.admission.reading.entries import SCHEME, Entry, check_image, check_name, choice
from modelcar.admission.settings import Mode
from modelcar.errors import Denied, InvalidDigest
from modelcar.oci import Digest

__all__ = ["Done", "parse_done", "parse_pins"]

_VERSION: Final = 1
_LONGEST: Final = 64 << 10  # characters
_HINT: Final = f"remove {DONE} and {DIGESTS}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The annotation `modelcar.dev/injected`.

    Attributes:
        shared: whether it was us who set `shareProcessNamespace`.
        found: models that only KServe's injection named, which is gone.
    """

    shared: bool = False
    found: tuple[Entry, ...] = ()

    def __str__(self) -> str:
        document: dict[str, Any] = {"version": _VERSION}
        document |= {"shared": True} if self.shared else {}
        document |= {"found": [_written(each) for each in self.found]} if self.found else {}
        return json.dumps(document, separators=(",", ":"), sort_keys=True)


def parse_done(annotations: Mapping[str, str]) -> Done | None:
    """What a former pass wrote; `None` if there was none.

    Raises:
        Denied: it is none of ours.
    """
    if DONE not in annotations:
        return None
    document = _object(annotations, DONE)
    if document.keys() - {"version", "shared", "found"} or document.get("version") != _VERSION:
        raise Denied(f"{DONE} is not of this version", hint=_HINT)
    found = document.get("found", [])
    if not isinstance(found, list) or not isinstance(document.get("shared", False), bool):
        raise Denied(f"{DONE} is not ours", hint=_HINT)
    return Done(shared=document.get("shared", False), found=tuple(map(_read, found)))


def parse_pins(annotations: Mapping[str, str]) -> dict[str, str]:
    """Images as they were written -> digest.

    Raises:
        Denied: it is none of ours.
    """
    if DIGESTS not in annotations:
        return {}
    pins = _object(annotations, DIGESTS)
    try:
        return {image: str(Digest.parse(digest)) for image, digest in pins.items()}
    except (InvalidDigest, AttributeError):
        raise Denied(f"{DIGESTS} is not ours", hint=_HINT) from None


def _object(annotations: Mapping[str, str], name: str) -> dict[str, Any]:
    text = annotations[name]
    try:
        document = json.loads(text) if len(text) <= _LONGEST else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Denied(f"{name} is not ours", hint=_HINT)
    return document


def _written(entry: Entry) -> dict[str, Any]:
    written: dict[str, Any] = {"name": entry.name, "image": entry.image, "path": entry.path}
    written |= {"mode": str(entry.mode)} if entry.mode else {}
    return written | {"containers": list(entry.containers or ())}


def _read(fields: Any) -> Entry:
    where = f"{DONE}: found"
    if not isinstance(fields, dict) or fields.keys() - {"name", "image", "path", "mode", "containers"}:
        raise Denied(f"{DONE} is not ours", hint=_HINT)
    containers = fields.get("containers")
    texts = [fields.get("name"), fields.get("image"), fields.get("path"), fields.get("mode", "")]
    if not isinstance(containers, list) or not all(isinstance(each, str) for each in (*texts, *containers)):
        raise Denied(f"{DONE} is not ours", hint=_HINT)
    return Entry(
        where=where,
        name=check_name(fields["name"], where),
        image=check_image(SCHEME + fields["image"], where),
        path=fields["path"],
        mode=choice(Mode, fields["mode"], where) if "mode" in fields else None,
        containers=tuple(containers),
        found=True,
    )
