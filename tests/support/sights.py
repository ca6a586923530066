"""A node that never was, for whoever looks at one; its names are meant to do harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelcar.cache.origin import Origin
from modelcar.cache.status import BlobState, BlobStatus
from modelcar.disk import Disk
from modelcar.mounts.figures import MountFigures
from modelcar.mounts.records import MountRecord
from modelcar.oci import Digest
from registry_shim.operations.sights import Sights
from registry_shim.peers.health import State
from registry_shim.peers.members import Member
from registry_shim.space.status import ImageStatus, SpaceStatus

HOSTILE = "<img src=x onerror=\"document.title='pwned'\">"
EVIL_SCRIPT = "</script><script>document.title='pwned'</script>"
GIB = 1 << 30


def arriving(name: str, cells: bytes, **fields: Any) -> BlobStatus:
    size = 4 * GIB
    present = size * sum(cell > 0 for cell in cells) // max(1, len(cells))
    return BlobStatus(
        digest=Digest.of(name.encode()),
        grid="0123456789abcdef",
        size=size,
        present=present,
        state=BlobState.ARRIVING,
        leases=2,
        chunks=cells,
        rate=118_000_000.0,
        streams=6,
        waiting=1,
        sources={"ghcr.io": present // 3, "10.0.0.7:5443": present - present // 3},
        origins=(name,),
        **fields,
    )


def image(name: str, *, whole: bool = True, pinned: bool = False, size: int = 30 * GIB) -> ImageStatus:
    return ImageStatus(
        digest=Digest.of(name.encode()),
        names=(f"{name}:v1",),
        size=size,
        total=size,
        own=size,
        used=1.0,
        whole=whole,
        pinned=pinned,
        in_use=whole,
        blobs=12,
    )


def ruling(name: str, state: str, *reasons: str, said_by: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "image": name,
        "digest": str(Digest.of(name.encode())),
        "rule": "ghcr.io/**",
        "mode": "enforce",
        "state": state,
        "served": state == "allowed",
        "reasons": list(reasons),
        "warnings": [],
        "saidBy": list(said_by),
        "decidedAt": "2026-01-01T00:00:00+00:00",
        "scan": None,
    }


def wanted(name: str, phase: str, done: int, total: int, error: str | None = None) -> dict[str, Any]:
    progress = {"done": done, "total": total, "chunks": 0, "chunks_done": 0, "rate": 1e8, "eta": (total - done) / 1e8}
    digest = str(Digest.of(name.encode()))
    return {"reference": f"{name}:v1", "phase": phase, "digest": digest, "error": error, "progress": progress}


def mount(name: str, present: int, size: int, trouble: str | None = None) -> MountFigures:
    origin = Origin(registry="ghcr.io", repository="acme/model")
    record = MountRecord(id="layers-1", target=Path("/images/1"), origin=origin, front="erofs")
    return MountFigures(
        record=record,
        reference=f"{name}:v1",
        size=size,
        present=present,
        waiting=int(present < size),
        answered=812,
        trouble=trouble,
    )


def sights(*, hostile: bool = False) -> Sights:
    """A busy node; a `hostile` one has names, reasons and errors that a careless page would run."""
    bad = (HOSTILE + EVIL_SCRIPT) if hostile else ""
    cells = bytes((2 if n % 5 == 0 else 4 if n % 3 else 3) if n * 7 % 11 > 3 or n < 300 else 0 for n in range(1024))
    names = [f"ghcr.io/acme/{model}{bad}" for model in ("llama-70b", "mixtral-8x7b", "gemma-27b", "whisper-large")]
    space = SpaceStatus(
        disk=Disk(total=2000 * GIB, free=700 * GIB),
        taken=900 * GIB,
        coming=4 * GIB,
        evictable=500 * GIB,
        budget=1200 * GIB,
        loose=0,
        images=tuple(image(name, whole=n != 1, pinned=n == 0) for n, name in enumerate(names)),
    )
    rulings = [
        ruling(names[0], "allowed", said_by=(f"signed by release@acme.example{bad}",)),
        ruling(names[1], "pending", f"this node is scanning it{bad}"),
        ruling(f"ghcr.io/evil/backdoor{bad}", "refused", f"pickle.calls: os.system in pytorch_model.bin{bad}"),
    ]
    return Sights(
        connections=lambda: 41,
        requests=lambda: 9,
        blobs=lambda: [
            arriving(names[1], cells),
            arriving(names[2], bytes(400) + b"\4" * 300, error=f"broken{bad}" if hostile else None),
        ],
        space=lambda: space,
        gate=lambda: {"rules": [], "policies": {"version": 1, "problem": None}, "images": rulings},
        peers=lambda: {
            Member("10.0.0.7", 5443, f"zone-a{bad}"): State.LIVE,
            Member("10.0.0.8", 5443, "zone-a"): State.LIVE,
            Member("10.0.0.9", 5443, "zone-b"): State.SUSPECT,
            Member("10.0.1.4", 5443, "zone-b"): State.DEAD,
        },
        precache=lambda: {
            "images": [
                wanted(names[1], "fetching", 11 * GIB, 30 * GIB),
                wanted(names[3], "failed", 0, 3 * GIB, f"ghcr.io cannot be reached{bad}"),
            ]
        },
        mounts=lambda: [mount(names[0], 30 * GIB, 30 * GIB), mount(names[1], 11 * GIB, 30 * GIB, trouble=bad or None)],
    )
