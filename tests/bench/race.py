"""Contenders take turns: every round runs each of them once, starting with another one each time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from tests.bench.calm import Patience
from tests.bench.measure import CommandFailed, Measurement, measure, timed_by_itself
from tests.bench.model import Model
from tests.bench.peers import Peers
from tests.bench.results import Row
from tests.bench.servers import Server
from tests.bench.workspace import Workspace

__all__ = ["Bench", "Contender", "Run", "race"]

_PROBE: Final = Path(__file__).parent / "probe"
_PROGRAMS: Final = "tests.bench.programs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a scenario works with. `size` is of the model in bytes, `sparse_size` of the one that takes no disk."""

    workspace: Workspace
    peers: Peers
    model: Model
    size: int
    sparse_size: int
    repeats: int
    patience: Patience

    @property
    def modelcar(self) -> Path:
        return Path(sys.executable).with_name("modelcar")

    @property
    def registry_shim(self) -> Path:
        return Path(sys.executable).with_name("registry-shim")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of one contender, in a folder of its own."""

    bench: Bench
    folder: Path
    probed: bool = False

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def measure(
        self,
        command: Sequence[str | Path],
        *,
        server: Server | None = None,
        folder: Path | None = None,
        disk: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Measurement:
        """A command that counts; the model is in the page cache and nothing waits to be written out."""
        self.bench.workspace.settle(self.bench.model.files)
        count = self.folder / "hashed"
        count.unlink(missing_ok=True)
        measurement = measure(
            command,
            environment=self.bench.workspace.environment(self.folder) | self._probe(count) | dict(environment or {}),
            log=self.folder / "output",
            folder=folder,
            servers=[server.pid] if server else [],
            disk=disk,
        )
        return replace(measurement, hashed=int(count.read_text())) if count.exists() else measurement

    def program(
        self,
        name: str,
        *arguments: str | Path,
        server: Server | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Measurement:
        """One of our own programs, which prints how long its work took, without its start-up."""
        command = [sys.executable, "-m", f"{_PROGRAMS}.{name}", *arguments]
        more = {"PYTHONPATH": str(Path(__file__).parents[2]), **dict(environment or {})}
        return timed_by_itself(self.measure(command, server=server, environment=more), self.folder / "output")

    def prepare(self, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        """A command that does not count."""
        whole = self.bench.workspace.environment(self.folder) | dict(environment or {})
        measure(command, environment=whole, log=self.folder / "preparation")

    def warm(self, *files: Path) -> None:
        """Read more files than the model's into the page cache."""
        self.bench.workspace.settle(files)

    def _probe(self, count: Path) -> dict[str, str]:
        return {"PYTHONPATH": str(_PROBE), "BENCH_HASHED": str(count)} if self.probed else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A way to do the job. `run` prepares what does not count and returns what does.

    Attributes:
        needs: peers without which it cannot run.
        hashing: how its hashed bytes are found: counted inside Python in one more, untimed run (`part`: of one of its
            two tools), not at all, or known because hashing the model is all it does.
    """

    name: str
    run: Callable[[Run], Measurement]
    needs: Sequence[str] = ()
    hashing: Literal["counted", "part", "unknown", "model"] = "unknown"


def race(bench: Bench, contenders: Sequence[Contender]) -> list[Row]:
    """Run all of them `repeats` times in turns; one that fails drops out and its row says why.

    A run during which something else used the machine is thrown away and done again, as long as patience lasts.
    """
    rows = {c.name: Row(name=c.name, failure=_missing(bench, c)) for c in contenders}
    for turn in range(bench.repeats):
        first = turn % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            row = rows[contender.name]
            if row.failure is None:
                rows[contender.name] = _run(bench, contender, row)
    for contender in contenders:
        if rows[contender.name].failure is None:
            rows[contender.name] = _count_hashed(bench, contender, rows[contender.name])
    return [rows[c.name] for c in contenders]


def _run(bench: Bench, contender: Contender, row: Row) -> Row:
    try:
        while True:
            bench.patience.wait()
            with bench.workspace.fresh() as folder:
                measurement = contender.run(Run(bench=bench, folder=folder))
            if not bench.patience.forgives(measurement):
                break
            print(f"    {contender.name}: {measurement.wall:.2f} s, disturbed; again", flush=True)
    except (CommandFailed, OSError) as e:
        print(f"    {contender.name}: {e}", flush=True)
        return replace(row, failure=str(e).replace(str(bench.workspace.root), "…"))
    print(f"    {contender.name}: {measurement.wall:.2f} s", flush=True)
    return replace(row, runs=(*row.runs, measurement))


def _count_hashed(bench: Bench, contender: Contender, row: Row) -> Row:
    if contender.hashing == "model":
        return replace(row, hashed=sum(f.stat().st_size for f in bench.model.shards))
    if contender.hashing == "unknown":
        return row
    with bench.workspace.fresh() as folder:
        measurement = contender.run(Run(bench=bench, folder=folder, probed=True))
    return replace(row, hashed=measurement.hashed, hashed_partly=contender.hashing == "part")


def _missing(bench: Bench, contender: Contender) -> str | None:
    missing = [name for name in contender.needs if not bench.peers.has(name)]
    return f"not installed: {', '.join(missing)}" if missing else None
