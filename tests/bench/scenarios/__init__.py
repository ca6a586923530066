"""What is compared. Each module has `NAME`, which `--only` takes, and `run(bench) -> Outcome`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.bench.race import Bench
from tests.bench.results import Outcome
from tests.bench.scenarios import (
    admission,
    build,
    build_push,
    engines,
    engines_later,
    hub,
    hub_loopback,
    lazy_first,
    lazy_read,
    lazy_warm,
    load,
    load_gpu,
    memory,
    objects,
    peers,
    policy,
    push,
    registries,
    scan,
    serve,
    shim_cold,
    shim_manifests,
    shim_serve,
    sign,
    snapshotter,
)

__all__ = ["PARTS", "SCENARIOS"]

_MODULES: Final = {
    "packaging": (build, push, build_push, registries, serve, memory),
    "trust": (sign, policy, scan),
    "shim": (shim_serve, shim_cold, shim_manifests, peers, engines, engines_later),
    "admission": (admission,),
    "lazy": (lazy_first, lazy_read, lazy_warm, load, snapshotter),
    "sources": (hub, hub_loopback, objects),
    "gpu": (load_gpu,),
}

PARTS: Final[dict[str, tuple[str, ...]]] = {
    part: tuple(module.NAME for module in modules) for part, modules in _MODULES.items()
}
"""What is measured and written in one go: the names of its scenarios."""

SCENARIOS: Final[dict[str, Callable[[Bench], Outcome]]] = {
    module.NAME: module.run for modules in _MODULES.values() for module in modules
}
