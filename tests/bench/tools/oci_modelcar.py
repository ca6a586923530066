"""oci-modelcar: takes a model from the Hub, writes a tar a file, pushes it.

It only knows the Hub as a source. For `build_and_push` a loopback hub has the metadata, and the files lie in its spool
folder already (hard links), where it looks before it downloads: so that downloading, which the others do not do, costs
it nothing.
"""

from __future__ import annotations

from pathlib import Path

from tests.bench.measure import Measurement
from tests.bench.race import Run
from tests.bench.servers import Server, model_hub

__all__ = ["build_and_push", "push"]


def build_and_push(run: Run, server: Server) -> Measurement:
    """`push` of files that lie there already."""
    spool = run.folder / "spool"
    (spool / "sources").mkdir(parents=True)
    for file in run.bench.model.files:
        (spool / "sources" / file.name).hardlink_to(file)
    with model_hub(run.folder, run.bench.model.folder) as hub:
        return push(run, "bench/model", hub, server, spool)


def push(run: Run, repository: str, hub: Server, server: Server, spool: Path) -> Measurement:
    """`oci-modelcar push`, two files at a time, with its files in `spool`."""
    command: list[str | Path] = [
        run.bench.peers.bin / "oci-modelcar",
        "push",
        "--hf-repo",
        repository,
        "--no-reuse-records",
    ]
    options = ["--target-repo", "bench/model", "--target-tag", "v1", "--workers", "2", "--allow-patterns", "*"]
    where = ["--hf-endpoint", f"http://{hub.address}", "--registry", f"http://{server.address}"]
    return run.measure([*command, *options, *where, "--spool-dir", spool], server=server, disk=[spool])
