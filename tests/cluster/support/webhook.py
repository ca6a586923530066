"""The webhook as `modelcar manifests` installs it, its replicas being processes on this machine.

Everything is from the manifests: configuration, account, role, Service name. But the Service leads to loopback, as an
`ExternalName`: an API server takes its port from the webhook configuration then.
"""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.support.service import Service
from tests.e2e.support.commands import BIN, run, serving
from tests.support.kubernetes import Kubernetes
from tests.support.waiting import eventually

__all__ = ["NAMESPACE", "Replica", "Webhook", "install"]

NAMESPACE: Final = "modelcar-system"
ACCOUNT: Final = "modelcar-webhook"


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One process. `address` is where it answers the API server, `operations` where it answers others."""

    name: str
    address: tuple[str, int]
    operations: str
    process: subprocess.Popen[bytes]
    log: Path

    def count(self, metric: str, **labels: str) -> int:
        """The sum of a metric over all labels that are not given."""
        with urllib.request.urlopen(f"http://{self.operations}/metrics", timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            samples = [s for f in families for s in f.samples if s.name == f"modelcar_admission_{metric}"]
        return int(sum(s.value for s in samples if labels.items() <= s.labels.items()))


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """An installation; `replica` runs it."""

    cluster: Kubernetes
    folder: Path
    service: Service
    kubeconfig: Path

    @property
    def config(self) -> Path:
        return self.folder / "webhook.yaml"

    def configure(self, **changes: Any) -> None:
        """What the ConfigMap says, and `changes` over it."""
        said = self.cluster.get("-n", NAMESPACE, "configmap", ACCOUNT)["data"]["webhook.yaml"]
        here = {"server": {"drain_seconds": 0.2, "registries": ["*"]}}  # registries of tests are on loopback
        settings = _merged(yaml.safe_load(said), here)
        aside = self.config.with_suffix(".new")
        aside.write_text(yaml.safe_dump(_merged(settings, changes)))
        aside.rename(self.config)

    @contextmanager
    def replica(self, name: str = "one") -> Iterator[Replica]:
        """A replica behind the Service, for the length of the block. Its log has no traceback."""
        ready, log = self.folder / f"{name}.ready", self.folder / f"{name}.log"
        ready.unlink(missing_ok=True)
        command: list[str | Path] = ["admission", "serve", "--config", self.config, "--kubeconfig", self.kubeconfig]
        listen: list[str | Path] = [
            "--listen",
            "127.0.0.1:0",
            "--operations-listen",
            "127.0.0.1:0",
            "--ready-file",
            ready,
        ]
        with ExitStack() as stack:
            process = stack.enter_context(serving(log, BIN / "modelcar", *command, *listen))
            eventually(lambda: ready.exists() or process.poll() is not None, "the webhook starts", within=60)
            assert process.poll() is None, log.read_text()
            address, operations = ready.read_text().split()
            host, _, port = address.rpartition(":")
            found = Replica(name=name, address=(host, int(port)), operations=operations, process=process, log=log)
            self.service.replicas.append(found.address)
            stack.callback(self.service.cut)
            stack.callback(self.service.replicas.remove, found.address)
            yield found
        assert "Traceback" not in log.read_text()

    @contextmanager
    def running(self, *names: str) -> Iterator[list[Replica]]:
        """Replicas of which the API server knows."""
        with ExitStack() as stack:
            replicas = [stack.enter_context(self.replica(name)) for name in names or ("one",)]
            eventually(self.answers, "the API server trusts it", within=60)
            yield replicas

    def answers(self) -> bool:
        """Whether the API server gets an answer; the pod that it asks about asks for a model without a name."""
        meta = {"name": "probe", "annotations": {"modelcar.dev/model": "nonsense"}}
        pod = {"metadata": meta, "spec": {"containers": [{"name": "server", "image": "server"}]}}
        status, told, _ = self.cluster.request("POST", "/api/v1/namespaces/default/pods?dryRun=All", pod)
        return status == 403 and "modelcar.dev/model is 'nonsense'" in told["message"]


def install(cluster: Kubernetes, folder: Path, service: Service) -> Webhook:
    """The definitions, permissions and the webhook, as the command prints them; nothing runs yet."""
    folder.mkdir()
    image = ("--image", "registry.internal/modelcar:1.0")
    printed = run(BIN / "modelcar", "manifests", *image, "--registry", "registry.example").stdout
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=printed)
    cluster.kubectl("-n", NAMESPACE, "delete", "service", ACCOUNT)
    meta = {"name": ACCOUNT, "namespace": NAMESPACE}
    outside = {"type": "ExternalName", "externalName": "localhost"}
    cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": outside})
    port = [{"op": "replace", "path": "/webhooks/0/clientConfig/service/port", "value": service.port}]
    cluster.kubectl("patch", "mutatingwebhookconfiguration", "modelcar", "--type=json", "-p", json.dumps(port))
    kubeconfig = cluster.config_for(NAMESPACE, ACCOUNT)
    made = Webhook(cluster=cluster, folder=folder, service=service, kubeconfig=kubeconfig)
    made.configure()
    return made


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    both = {key: _merged(one[key], other[key]) for key in one.keys() & other.keys() if isinstance(one[key], dict)}
    return {**one, **other, **both}
