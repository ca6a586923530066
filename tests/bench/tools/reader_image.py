"""A ModelCar whose base has one more program, which reads the model as servers do, and the sandbox that it runs in."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.bench.measure import CommandFailed
from tests.bench.model import Model
from tests.bench.race import Bench, Run
from tests.bench.servers import embedded_registry
from tests.e2e.support.bases import HERE
from tests.e2e.support.cri import PAUSE
from tests.e2e.support.servers import publish_server

__all__ = ["MODEL", "SANDBOX", "first_tensor", "read_command", "reader_repositories"]

MODEL: Final = "org/model"
SANDBOX: Final = "org/sandbox"
_SOURCE: Final = Path(__file__).parents[1] / "programs" / "read_mapped.c"
_PROGRAM: Final = "bin/read-mapped"
_TARGETS: Final = {"amd64": "x86_64-linux-musl", "arm64": "aarch64-linux-musl"}


def reader_repositories(bench: Bench) -> Path:
    """A folder that serves both, each with the tag `v1`; made once."""
    root = bench.workspace.root / f"reader-{bench.model.folder.name}"
    if root.exists():
        return root
    with bench.workspace.fresh() as folder:
        run = Run(bench=bench, folder=folder)
        with embedded_registry(folder, bench.registry_shim) as registry:
            publish_server(folder / "sandbox", f"{registry.address}/{SANDBOX}:v1", command=tuple(PAUSE), passwd=None)
            program = {_PROGRAM: _compiled(folder)}
            base = publish_server(folder / "base", f"{registry.address}/org/base:v1", files=program, passwd=None)
            ref = f"{registry.address}/{MODEL}:v1"
            run.prepare([bench.modelcar, "build", bench.model.folder, "-t", ref, "--base", base, "--no-scan"])
            run.prepare([bench.modelcar, "push", ref])
        shutil.move(registry.root, root)
    return root


def first_tensor(model: Model) -> int:
    """Where it ends in the first shard, in bytes."""
    with model.shards[0].open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    return 8 + int(size) + min(int(tensor["data_offsets"][1]) for tensor in header.values())


def read_command(model: Model) -> list[str]:
    """What a container of the image runs."""
    return [f"/{_PROGRAM}", str(first_tensor(model)), *(f"/models/{shard.name}" for shard in model.shards)]


def _compiled(folder: Path) -> bytes:
    output = folder / "read-mapped"
    caches = {f"ZIG_{which}_CACHE_DIR": str(folder / "tmp" / which) for which in ("GLOBAL", "LOCAL")}
    command = [sys.executable, "-m", "ziglang", "cc", "-target", _TARGETS[HERE], "-O2", "-static", "-s"]
    done = subprocess.run(
        [*command, "-o", str(output), str(_SOURCE)], env={**os.environ, **caches}, capture_output=True, text=True
    )
    if done.returncode:
        raise CommandFailed(f"the reader does not compile: {done.stderr.strip()[-500:]}")
    return output.read_bytes()
