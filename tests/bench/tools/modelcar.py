"""modelcar, as it is installed beside this Python."""

from __future__ import annotations

from pathlib import Path

from tests.bench.measure import Measurement
from tests.bench.model import Model
from tests.bench.race import Run
from tests.bench.servers import Server

__all__ = [
    "build",
    "build_and_push",
    "build_without_scan",
    "export",
    "prepare_build",
    "prepare_build_and_push",
    "prepare_push",
    "push",
]

_NAME = "bench/model:v1"


def build(run: Run, model: Model | None = None, server: Server | None = None) -> Measurement:
    """`modelcar build`; its extra disk is all that appears in the home folder, which holds the store."""
    return run.measure(_build(run, model, server), disk=[run.home])


def build_without_scan(run: Run) -> Measurement:
    """The same with `--no-scan`."""
    return run.measure([*_build(run, None, None), "--no-scan"], disk=[run.home])


def build_packed(run: Run, packing: str) -> Measurement:
    """The same for another snapshotter: `estargz` or `soci`."""
    return run.measure([*_build(run, None, None), f"--{packing}"], disk=[run.home])


def prepare_build_and_push(run: Run, server: Server) -> str:
    """`modelcar build --push`, which does not count; returns the image's name."""
    run.prepare([*_build(run, None, server), "--push"])
    return _name(server)


def prepare_build(run: Run, model: Model | None = None, server: Server | None = None) -> None:
    run.prepare(_build(run, model, server))


def push(run: Run, server: Server) -> Measurement:
    """`modelcar push` of what was built for this server."""
    return run.measure(_push(run, server), server=server)


def prepare_push(run: Run, server: Server) -> None:
    run.prepare(_push(run, server))


def build_and_push(run: Run, server: Server) -> Measurement:
    """`modelcar build --push`, one command."""
    return run.measure([*_build(run, None, server), "--push"], server=server, disk=[run.home])


def export(run: Run) -> Path:
    """Preparation: the image as an OCI layout, for a tool that needs its own copy of the bytes."""
    prepare_build(run)
    layout = run.folder / "layout"
    run.prepare([run.bench.modelcar, "export", _name(None), "-o", layout, "--quiet"])
    return layout


def _push(run: Run, server: Server) -> list[str | Path]:
    return [run.bench.modelcar, "push", _name(server), "--quiet"]


def _build(run: Run, model: Model | None, server: Server | None) -> list[str | Path]:
    return [run.bench.modelcar, "build", (model or run.bench.model).folder, "-t", _name(server), "--quiet"]


def _name(server: Server | None) -> str:
    return f"{server.address if server else 'localhost:5000'}/{_NAME}"
