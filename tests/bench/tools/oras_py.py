"""oras-py: pushes files as they are, an artifact and not an image that a pod can mount."""

from __future__ import annotations

from pathlib import Path

from tests.bench.measure import Measurement
from tests.bench.race import Run
from tests.bench.servers import Server

__all__ = ["push"]

_PROGRAM = Path(__file__).parents[1] / "programs" / "oras_push.py"


def push(run: Run, server: Server) -> Measurement:
    """`OrasClient.push`."""
    target = f"{server.address}/bench/model:v1"
    return run.measure([run.bench.peers.bin / "python", _PROGRAM, target, *run.bench.model.files], server=server)
