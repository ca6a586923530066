"""Nodes that pull the same model at once, on links of their own, with and without each other."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Final

from tests.bench.measure import Measurement, busy_time
from tests.bench.model import Model, random_model
from tests.bench.race import Bench, Contender, Run, race
from tests.bench.results import Outcome, Target, ratio_target
from tests.bench.servers import embedded_registry
from tests.support.swarm import swarm

__all__ = ["MBIT", "NAME", "SIZE", "model_repositories", "run"]

NAME: Final = "peers"
MBIT: Final = 200
NODES: Final = (1, 2, 5, 10)
MIB: Final = 1 << 20
SIZE: Final = 256 * MIB
_REPOSITORY: Final = "org/model"


def run(bench: Bench) -> Outcome:
    model = random_model(bench.workspace.models / f"random-{SIZE // MIB}", SIZE)
    root = model_repositories(bench, model)
    taken: dict[str, list[float]] = {}

    def contender(count: int, *, peers: bool) -> Contender:
        name = f"{count} node{'s' if count > 1 else ''}{'' if peers else ' without peers'}"

        def pull(run: Run) -> Measurement:
            (run.folder / "nodes").mkdir()
            with swarm(run.folder / "nodes", root, MBIT) as nodes:
                shims = nodes.add(count, peers=peers)
                before, busy, began = nodes.network.sent(nodes.upstream), busy_time(), time.perf_counter()
                seconds = max(nodes.pull(shims, _REPOSITORY, verify=False))
                wall, busy = time.perf_counter() - began, busy_time() - busy
                taken.setdefault(name, []).append((nodes.network.sent(nodes.upstream) - before) / model.size)
            print(f"    {name}: {taken[name][-1]:.2f} x the model from the upstream, {busy / wall:.1f} cores busy")
            return Measurement(wall=seconds, cpu=busy, memory=0, read=0, written=0, disk_read=0, disk_written=0)

        return Contender(name=name, run=pull)

    rows = race(bench, [*(contender(n, peers=True) for n in NODES), contender(NODES[-1], peers=False)])
    with_peers = rows[:-1]
    ten = taken.get(with_peers[-1].name)
    return Outcome(
        name=NAME,
        title=f"One model, many nodes: links of {MBIT} Mbit/s",
        rows=tuple(rows),
        targets=(
            *(ratio_target(f"{row.name} ÷ one", row, rows[0], 1.6) for row in with_peers[1:]),
            Target(
                what=f"bytes from the upstream with {NODES[-1]} nodes ÷ the model",
                value=max(ten) if ten else None,
                limit=1.1,
                unit="x",
            ),
        ),
        notes=(
            f"Each node is a process in a network namespace; its link and the upstream's take {MBIT} Mbit/s each way.",
            "Bytes are the upstream's interface counter, with all headers (about 4 %).",
            "All nodes hash, copy and send on this machine's cores: where those are busy, time says little of links.",
        ),
    )


def model_repositories(bench: Bench, model: Model) -> Path:
    """A folder that serves the model; made once."""
    root = bench.workspace.root / f"peers-{model.folder.name}"
    if root.exists():
        return root
    with bench.workspace.fresh() as folder:
        run = Run(bench=bench, folder=folder)
        with embedded_registry(folder, bench.registry_shim) as registry:
            ref = f"{registry.address}/{_REPOSITORY}:v1"
            run.prepare([bench.modelcar, "build", model.folder, "-t", ref, "--no-scan"])
            run.prepare([bench.modelcar, "push", ref])
        shutil.move(registry.root, root)
    return root
