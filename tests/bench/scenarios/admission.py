"""Pods through the webhook: a process that has one core for itself, with verdicts that it has come to before."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate

from tests.bench.measure import Measurement
from tests.bench.race import Bench, Contender, Run, race
from tests.bench.results import Outcome, Target
from tests.bench.servers import Server, embedded_registry, webhook
from tests.support.authority import Authority
from tests.support.checkpoints import make_checkpoint

__all__ = ["NAME", "run"]

NAME: Final = "admission"
RATE: Final = 200  # requests a second
SECONDS: Final = 15
CONNECTIONS: Final = 8


def run(bench: Bench) -> Outcome:
    found: list[tuple[float, float]] = []

    def ask(run: Run) -> Measurement:
        with _webhook(run) as (server, authority, image):
            load = ("reviews", server.address, authority.ca_file, image, str(RATE), str(SECONDS), str(CONNECTIONS))
            measurement = run.program(*load, server=server)
        middle, late, _ = (run.folder / "output").read_text().splitlines()[-2].split()
        found.append((float(middle), float(late)))
        return measurement

    rows = race(
        bench,
        [
            Contender(name=f"{RATE} requests a second for {SECONDS} s, {CONNECTIONS} connections", run=ask),
            Contender(name="one pod, without a server", run=lambda run: run.program("rewriting")),
        ],
    )
    milliseconds = [[1000 * seconds for seconds in figures] for figures in zip(*found, strict=True)] or [[], []]
    return Outcome(
        name=NAME,
        title="Pods through the webhook",
        rows=tuple(rows),
        targets=(
            Target(what="half of the answers within", value=_middle(milliseconds[0]), limit=5, unit="ms"),
            Target(what="99 % of the answers within", value=_middle(milliseconds[1]), limit=10, unit="ms"),
            Target(
                what="rewriting of one pod, patch included",
                value=rows[1].wall * 1000 if rows[1].ran else None,
                limit=1,
                unit="ms",
            ),
        ),
        notes=("TLS, one core, policies enforced, verdicts cached; an answer is late from when its request was due.",),
    )


def _middle(figures: list[float]) -> float | None:
    return median(figures) if figures else None


@contextmanager
def _webhook(run: Run) -> Iterator[tuple[Server, Authority, str]]:
    """A webhook on the first core that enforces a policy, and a signed image in a registry."""
    with embedded_registry(run.folder, run.bench.registry_shim) as registry:
        image = f"{registry.address}/bench/llm:v1"
        model = make_checkpoint(run.folder / "checkpoint")
        authority = Authority(run.folder / "authority")
        signer, key = authority.issue_for_loopback("signer")
        run.prepare([run.bench.modelcar, "build", model, "-t", image, "--quiet"])
        run.prepare([run.bench.modelcar, "sign", image, "--key", key, "--quiet"])
        run.prepare([run.bench.modelcar, "push", image, "--quiet"])
        config = run.folder / "webhook.yaml"
        config.write_text(json.dumps(_settings(run.folder, signer, *authority.issue_for_loopback("webhook"))))
        with webhook(run.folder, run.bench.modelcar, config) as server:
            core = min(os.sched_getaffinity(0))
            for task in Path(f"/proc/{server.pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), {core})
            yield server, authority, image


def _settings(folder: Path, signer: Path, certificate: Path, key: Path) -> dict[str, object]:
    public = load_pem_x509_certificate(signer.read_bytes()).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    policy = {
        "apiVersion": "policy.sigstore.dev/v1beta1",
        "kind": "ClusterImagePolicy",
        "metadata": {"name": "signed"},
        "spec": {"images": [{"glob": "**"}], "authorities": [{"key": {"data": pem}}]},
    }
    (folder / "policy.yaml").write_text(json.dumps(policy))
    return {
        "trust": {"mode": "enforce", "policies": [str(folder / "policy.yaml")]},
        "server": {"registries": ["127.0.0.1:*"], "tls": {"certificate_file": str(certificate), "key_file": str(key)}},
    }
