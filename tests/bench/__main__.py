"""`python -m tests.bench`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.bench.calm import Patience
from tests.bench.model import random_model
from tests.bench.peers import CACHE, Peers, find_peers, kernel_version, python_version
from tests.bench.race import Bench
from tests.bench.report import Conditions, insert, to_json, to_markdown
from tests.bench.results import Outcome
from tests.bench.scenarios import PARTS, SCENARIOS
from tests.bench.workspace import NotReady, Workspace

MIB: Final = 1 << 20
PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "benchmarks.md"
DISK_FACTOR: Final = 7  # models on disk at once, at worst: the source, buildah's copies, the registry's
SPARSE_FACTOR: Final = 8
_ELSEWHERE: Final = "gpu"  # the part that most machines cannot run: only where it is asked for


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.write and (options.only or options.quick):
        parser.error("--write takes whole parts, without --only and --quick")
    parts = options.part or [part for part in PARTS if part != _ELSEWHERE]
    names = options.only or [name for part in parts for name in PARTS[part]]
    size = (options.size or (256 if options.quick else 2048)) * MIB
    repeats = options.repeats or (1 if options.quick else 3)
    workspace, peers = Workspace(CACHE), find_peers()
    try:
        with workspace.claimed(DISK_FACTOR * size):
            patience = Patience(0 if options.quick else options.patience * 60)
            bench = _bench(workspace, peers, size, repeats, patience)
            outcomes = {name: _run(name, bench) for name in names}
    except NotReady as e:
        print(f"bench: {e}", file=sys.stderr)
        return 3
    conditions = _conditions(arguments, bench)
    (CACHE / "results.json").write_text(to_json(conditions, list(outcomes.values())))
    print(f"\n{to_markdown(conditions, list(outcomes.values()))}\nevery run: {os.path.relpath(CACHE / 'results.json')}")
    for part in parts if options.write else ():
        insert(PAGE, part, to_markdown(conditions, [outcomes[name] for name in PARTS[part]]))
    return 0


def _run(name: str, bench: Bench) -> Outcome:
    print(f"{name} (load {os.getloadavg()[0]:.1f})", flush=True)
    return SCENARIOS[name](bench)


def _bench(workspace: Workspace, peers: Peers, size: int, repeats: int, patience: Patience) -> Bench:
    print(f"model: {size // MIB} MiB", flush=True)
    return Bench(
        workspace=workspace,
        peers=peers,
        model=random_model(workspace.models / f"random-{size // MIB}", size),
        size=size,
        sparse_size=SPARSE_FACTOR * size,
        repeats=repeats,
        patience=patience,
    )


def _conditions(arguments: Sequence[str] | None, bench: Bench) -> Conditions:
    given = sys.argv[1:] if arguments is None else arguments
    shown = [a for a in given if a != "--write"]
    return Conditions(
        day=datetime.now(UTC).date().isoformat(),
        command=f"make bench{f' ARGS={shlex.quote(shlex.join(shown))}' if shown else ''}",
        model=bench.model.size,
        repeats=bench.repeats,
        cores=os.cpu_count() or 1,
        kernel=kernel_version(),
        python=python_version(),
        peers=bench.peers.versions,
        missing=tuple(bench.peers.missing),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Benchmarks beside other tools.")
    parser.add_argument("--only", action="append", choices=list(SCENARIOS), help="this scenario; may be repeated")
    parser.add_argument("--part", action="append", choices=list(PARTS), help="its scenarios; may be repeated")
    parser.add_argument("--quick", action="store_true", help="256 MiB, once: whether it works, not how fast it is")
    parser.add_argument("--size", type=int, metavar="MIB", help="of the model (default: 2048)")
    parser.add_argument("--repeats", type=int, metavar="N", help="runs of each contender (default: 3)")
    waiting = "waiting for an idle machine and repeating disturbed runs, in all (default: 10)"
    parser.add_argument("--patience", type=float, default=10, metavar="MINUTES", help=waiting)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/explanation/benchmarks.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
