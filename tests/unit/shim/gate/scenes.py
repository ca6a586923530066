"""A gate before an upstream: who signs, what its rules are, and whether it admits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from modelcar.cache.origin import Origin
from modelcar.errors import Denied
from modelcar.oci import Descriptor
from registry_shim.gate.gate import Gate
from registry_shim.gate.settings import GateRule, ScanDemand
from tests.support.gate import LLM, Upstream
from tests.support.policies import Someone, as_file, cluster_image_policy

__all__ = [
    "ALICE",
    "MALLORY",
    "NODE_SCAN",
    "OTHER",
    "SCANNER",
    "admit",
    "policies",
    "run",
    "settled",
    "signed_by",
    "until",
]

ALICE, MALLORY, SCANNER = Someone(), Someone(), Someone()
OTHER = Origin(registry="registry.example.com", repository="models/other")
NODE_SCAN = GateRule(images="registry.example.com/models/**", scan=ScanDemand.NODE)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # what is waited for happens in a thread
        await asyncio.sleep(0.01)


def policies(folder: Path, *documents: Any) -> Path:
    path = folder / "policy.yaml"
    path.write_bytes(as_file(*documents))
    return path


def signed_by(folder: Path, *people: Someone, **rule: Any) -> GateRule:
    document = cluster_image_policy(*(p.authority | {"name": f"key-{i}"} for i, p in enumerate(people)))
    return GateRule(images="registry.example.com/**", policies=(policies(folder, document),), **rule)


async def admit(gate: Gate, upstream: Upstream, root: Descriptor, origin: Origin = LLM) -> tuple[str, ...]:
    return await gate.admit(origin, root, upstream.content(root))


async def settled(gate: Gate, origin: Origin, root: Descriptor) -> str | None:
    """Why not, once no scan is under way."""
    try:
        await gate.ready(origin, root)
    except Denied as e:
        return str(e)
    return None
