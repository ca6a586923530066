"""What a host remembers of its mounts on disk, so that another process goes on with them.

```
ROOT/mounts/<id>/mount.json   target, origin, supervisor
ROOT/mounts/<id>/plan.json    the plan
```

Nothing is synced: no mount outlives the machine's running.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from modelcar.cache.origin import Origin
from modelcar.errors import InvalidDocument, ModelcarError, UsageError
from modelcar.files import read_own
from modelcar.mounts.plan import MountPlan
from modelcar.mounts.ranked import Ranks
from modelcar.oci import compact_json
from modelcar.oci.document import Fields, parse_object
from modelcar.store.disk import explain, make_dirs

__all__ = ["MountRecord", "Records"]

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MAX: Final = 1 << 20  # bytes
_MAX_PLAN: Final = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MountRecord:
    """One mount.

    Attributes:
        target: the folder, as an absolute path.
        origin: where its blobs come from, with the host's own login.
        supervisor: process number and start time of who holds the mount, once that is known.
        front: `fuse` or `erofs`.
        network: how its registry is reached: settings that are no secrets.
        ranks: whose part comes first, if anybody's.
    """

    id: str
    target: Path
    origin: Origin
    supervisor: tuple[int, int] | None = None
    front: str = ""
    network: tuple[tuple[str, str], ...] = ()
    ranks: Ranks | None = None

    def to_dict(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "target": str(self.target),
            "registry": self.origin.registry,
            "repository": self.origin.repository,
            "supervisor": list(self.supervisor or ()),
            "front": self.front,
            "network": dict(self.network),
        }
        if self.ranks is not None:
            document["ranks"] = self.ranks.to_dict()
        return document

    @classmethod
    def from_dict(cls, name: str, document: dict[str, Any]) -> Self:
        """Raises `InvalidDocument`."""
        fields = Fields(document, "mount")
        supervisor, network, ranks = (document.get(name) for name in ("supervisor", "network", "ranks"))
        if not isinstance(supervisor, list) or not all(type(n) is int for n in supervisor):
            raise InvalidDocument("mount.supervisor is not a list of numbers")
        if not isinstance(network, dict) or not all(isinstance(v, str) for v in network.values()):
            raise InvalidDocument("mount.network is no object of texts")
        if ranks is not None and not isinstance(ranks, dict):
            raise InvalidDocument("mount.ranks is no object")
        return cls(
            id=name,
            target=Path(fields.text("target")),
            origin=Origin(registry=fields.text("registry"), repository=str(document.get("repository", ""))),
            supervisor=(supervisor[0], supervisor[1]) if len(supervisor) == 2 else None,
            front=str(document.get("front", "")),
            network=tuple(network.items()),
            ranks=Ranks.from_dict(ranks) if ranks is not None else None,
        )


class Records:
    """Those under one root, which one process at a time writes."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "mounts"

    def put(self, record: MountRecord, plan: MountPlan | None = None) -> None:
        """Raises `StorageError`, or `UsageError` for an id that is no name."""
        if _ID.fullmatch(record.id) is None:
            raise UsageError(f"{record.id!r} is not a name for a mount")
        folder = self._folder / record.id
        make_dirs(folder)
        if plan is not None:
            _write(folder / "plan.json", plan.to_json())
        _write(folder / "mount.json", compact_json(record.to_dict()))

    def plan_path(self, mount: str) -> Path:
        return self._folder / mount / "plan.json"

    def plan(self, mount: str) -> MountPlan | None:
        """The plan of a mount, if there is one."""
        try:
            return MountPlan.parse(read_own(self.plan_path(mount), _MAX_PLAN))
        except (ModelcarError, OSError):
            return None

    def all(self) -> Iterator[tuple[MountRecord, MountPlan]]:
        """What can be read; anything else is the remains of a process that was killed, and is removed."""
        for path in sorted(self._folder.glob("*/mount.json")):
            try:
                document = parse_object(read_own(path, _MAX), "mount", limit=_MAX)
                record = MountRecord.from_dict(path.parent.name, document)
                plan = MountPlan.parse(read_own(path.parent / "plan.json", _MAX_PLAN))
            except (ModelcarError, OSError):
                shutil.rmtree(path.parent, ignore_errors=True)
                continue
            yield record, plan

    def remove(self, mount: str) -> None:
        folder = self._folder / mount
        with suppress(OSError):
            (folder / "mount.json").unlink(missing_ok=True)  # first: without it there is no mount
        shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".new")
    try:
        temporary.write_bytes(content)
        temporary.rename(path)
    except OSError as e:
        raise explain(e, f"cannot write {path}") from None
