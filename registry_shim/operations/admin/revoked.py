"""What the administrator of this node revoked: a deny-list of the node's own, in the format of all others."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Final

from modelcar.errors import InvalidDigest, InvalidDocument, NotFound, StorageError
from modelcar.files import read_own
from modelcar.oci import Digest, compact_json, parse_object
from modelcar.oci.document import Fields
from modelcar.store.disk import atomic_write, explain

__all__ = ["Revoked"]

_MAX_FILE: Final = 16 << 20  # bytes
_NOBODYS: Final = Digest("sha256", "0" * 64)  # a deny-list names at least one digest


class Revoked:
    """A `DigestDenyList` in `path`, written as JSON, which is YAML. The gate reads it; safe to use from any thread."""

    def __init__(self, path: Path) -> None:
        """Create the file if there is none. Raises `StorageError`, also for one that is damaged."""
        self.path = path
        self._lock = threading.Lock()
        self._reasons = _read(path)
        if not path.exists():
            self._write(self._reasons)

    def all(self) -> dict[Digest, str]:
        """Reasons by digest."""
        return dict(self._reasons)

    def add(self, digest: Digest, reason: str) -> None:
        """Raises `StorageError`."""
        with self._lock:
            self._write(self._reasons | {digest: reason or "no reason is given"})

    def remove(self, digest: Digest) -> None:
        """Raises `NotFound`: it was not revoked here; `StorageError`."""
        with self._lock:
            if digest not in self._reasons:
                raise NotFound(
                    f"{digest} was not revoked on this node", hint="deny-lists of the configuration are edited there"
                )
            self._write({d: reason for d, reason in self._reasons.items() if d != digest})

    def _write(self, reasons: dict[Digest, str]) -> None:
        entries = {_NOBODYS: "nobody's: a list is never empty", **reasons}
        document: dict[str, Any] = {
            "apiVersion": "policy.modelcar.dev/v1alpha1",
            "kind": "DigestDenyList",
            "metadata": {"name": "revoked-on-this-node"},
            "spec": {"digests": [{"digest": str(d), "reason": reason} for d, reason in entries.items()]},
        }
        atomic_write(self.path, compact_json(document), mode=0o600)
        self._reasons = reasons


def _read(path: Path) -> dict[Digest, str]:
    try:
        document = Fields(parse_object(read_own(path, _MAX_FILE), "list", limit=_MAX_FILE), "list")
        spec = document.optional_object("spec")
        entries = spec.objects("digests") if spec else []
        found = {Digest.parse(entry.text("digest")): entry.text("reason") for entry in entries}
    except FileNotFoundError:
        return {}
    except OSError as e:
        raise explain(e, f"cannot read {path}") from None
    except (InvalidDocument, InvalidDigest) as e:
        raise StorageError(
            f"{path} is damaged: {e}", hint="mend it; without it revoked content would be served"
        ) from None
    found.pop(_NOBODYS, None)
    return found
