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
    memory,
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
)

__all__ = ["SCENARIOS"]

SCENARIOS: Final[dict[str, Callable[[Bench], Outcome]]] = {
    module.NAME: module.run
    for module in (
        build,
        push,
        build_push,
        registries,
        serve,
        shim_serve,
        shim_cold,
        shim_manifests,
        peers,
        memory,
        sign,
        policy,
        scan,
        admission,
    )
}
