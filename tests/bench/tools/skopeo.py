"""`skopeo copy` from an OCI layout to a registry.

With `--preserve-digests`: without it, skopeo gzips the layers, which changes every digest and voids signatures.
"""

from __future__ import annotations

from pathlib import Path

from tests.bench.measure import Measurement
from tests.bench.race import Run
from tests.bench.servers import Server

__all__ = ["push"]


def push(run: Run, layout: Path, tag: str, server: Server) -> Measurement:
    """Copy everything under `tag` from `layout`."""
    target = f"docker://{server.address}/bench/model:v1"
    command = ["skopeo", "copy", "--quiet", "--all", "--preserve-digests", "--dest-tls-verify=false"]
    return run.measure([*command, f"oci:{layout}:{tag}", target], server=server)
