"""Containers of pods as manifests have them, run by podman: what a kubelet does with a pod, for one that is on its own.

What a manifest says is done or refused, never passed over: a field that is not known here fails the test.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.e2e.support.commands import Done
from tests.e2e.support.networks import Network
from tests.e2e.support.podman import Podman

__all__ = ["Kubelet", "Node", "Pod", "Running"]

Object = dict[str, Any]
_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_MEMORY: Final = {"Mi": 1 << 20, "Gi": 1 << 30}
_POD: Final = {"securityContext", "containers", "initContainers", "volumes", "automountServiceAccountToken"}
# Of the cluster, and not of the pod once it runs.
_ELSEWHERE: Final = {
    *("serviceAccountName", "priorityClassName", "nodeSelector", "tolerations", "topologySpreadConstraints"),
    *("terminationGracePeriodSeconds", "hostNetwork", "dnsPolicy"),
}
_CONTAINER: Final = {
    *("name", "image", "command", "args", "env", "securityContext", "resources", "volumeMounts", "ports"),
    *("startupProbe", "livenessProbe", "readinessProbe"),
}


@dataclass(frozen=True, kw_only=True)
class Node:
    """Where pods run.

    Attributes:
        folder: for their volumes; the node's own paths are below `host` in it.
        network: of all pods.
        hosts: names to addresses, as all pods know them.
        api: port of an API server at 127.0.0.1, and the file of its authority.
    """

    folder: Path
    network: Network
    hosts: Mapping[str, str] = field(default_factory=dict)
    api: tuple[int, Path] | None = None
    name: str = "node-1"
    address: str = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Pod:
    """The spec of one, what it belongs to, and the namespace that it is in."""

    name: str
    namespace: str
    spec: Object

    def container(self, name: str) -> Object:
        (found,) = [c for c in (*self.spec.get("initContainers", ()), *self.spec["containers"]) if c["name"] == name]
        return dict(found)


@dataclass(frozen=True, kw_only=True)
class Running:
    """A container, and what asks after it."""

    engine: Podman
    node: Node
    id: str
    container: Object

    def log(self) -> str:
        done = self.engine("logs", self.id)
        return done.stdout + done.stderr

    def probe(self, kind: str) -> int:
        """The status with which it answers a probe of its manifest; 0 if nobody answers."""
        ask = dict(self.container[f"{kind}Probe"]["httpGet"])
        ports = {port["name"]: port["containerPort"] for port in self.container.get("ports", ())}
        port = ports.get(ask["port"], ask["port"])
        assert ask.keys() <= {"host", "port", "path", "scheme"}, ask
        host = ask.get("host", self.node.address)
        with self.node.network.entered():
            connection: http.client.HTTPConnection
            if ask.get("scheme") == "HTTPS":
                unchecked = ssl.create_default_context()
                unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE  # as a kubelet does
                connection = http.client.HTTPSConnection(host, port, timeout=5, context=unchecked)
            else:
                connection = http.client.HTTPConnection(host, port, timeout=5)
            try:
                connection.request("GET", ask["path"])
                return connection.getresponse().status
            except OSError:
                return 0
            finally:
                connection.close()

    def has_ended(self) -> bool:
        return self.engine.inspect(self.id, "{{.State.Running}}") == "false"

    def stop(self) -> int:
        return self.engine.stop(self.id)


class Kubelet:
    """Args: `objects`: of the cluster. `images`: those that manifests name, as podman knows them."""

    def __init__(self, engine: Podman, node: Node, objects: Sequence[Object], images: Mapping[str, str]) -> None:
        self._engine, self._node, self._objects, self._images = engine, node, objects, images

    def on(self, node: Node) -> Kubelet:
        """The same elsewhere."""
        return Kubelet(self._engine, node, self._objects, self._images)

    def pod(self, kind: str, name: str) -> Pod:
        """That of a workload."""
        found = self._object(kind, name)
        return Pod(name=name, namespace=found["metadata"]["namespace"], spec=found["spec"]["template"]["spec"])

    def start(self, pod: Pod, name: str) -> Running:
        """One of its containers, in the background."""
        container = pod.container(name)
        started = self._engine("run", "--detach", *self._options(pod, container))
        return Running(engine=self._engine, node=self._node, id=started.stdout.strip(), container=container)

    def run(self, pod: Pod, name: str) -> Done:
        """One of its containers, to its end."""
        return self._engine("run", "--rm", *self._options(pod, pod.container(name)), check=False)

    def _object(self, kind: str, name: str) -> Object:
        (found,) = [o for o in self._objects if (o["kind"], o["metadata"]["name"]) == (kind, name)]
        return found

    def _options(self, pod: Pod, container: Object) -> list[str]:
        assert pod.spec.keys() <= _POD | _ELSEWHERE, pod.spec.keys()
        assert container.keys() <= _CONTAINER, container.keys()
        variables = dict(self._variables(pod, container))
        command = [_expand(word, variables) for word in container["command"]]
        return [
            f"--network=ns:{self._node.network.path}",
            *(f"--add-host={name}:{address}" for name, address in self._node.hosts.items()),
            *_confined(pod.spec["securityContext"], container["securityContext"]),
            *_limited(container["resources"]),
            *(f"--env={name}={text}" for name, text in variables.items()),
            *(f"--volume={volume}" for volume in self._volumes(pod, container)),
            f"--entrypoint={json.dumps(command)}",
            self._images[container["image"]],
            *(_expand(word, variables) for word in container["args"]),
        ]

    def _variables(self, pod: Pod, container: Object) -> Iterator[tuple[str, str]]:
        if pod.spec.get("automountServiceAccountToken") and self._node.api is not None:
            yield "KUBERNETES_SERVICE_HOST", "127.0.0.1"
            yield "KUBERNETES_SERVICE_PORT", str(self._node.api[0])
        known = {"status.hostIP": self._node.address, "spec.nodeName": self._node.name}
        for variable in container.get("env", ()):
            yield variable["name"], known[variable["valueFrom"]["fieldRef"]["fieldPath"]]

    def _volumes(self, pod: Pod, container: Object) -> Iterator[str]:
        volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
        for mount in container["volumeMounts"]:
            assert mount.keys() <= {"name", "mountPath", "readOnly"}, mount
            folder = self._folder(pod, volumes[mount["name"]])
            yield f"{folder}:{mount['mountPath']}:{'ro' if mount.get('readOnly') else 'rw'}"
        if pod.spec.get("automountServiceAccountToken") and self._node.api is not None:
            account = self._node.folder / f"{pod.name}-account"
            authority = self._node.api[1].read_bytes()
            _write(account, {"token": b"a-token", "namespace": pod.namespace.encode(), "ca.crt": authority}, 0o644)
            yield f"{account}:{_ACCOUNT}:ro"

    def _folder(self, pod: Pod, volume: Object) -> Path:
        folder: Path = self._node.folder / pod.name / volume["name"]
        folder.parent.mkdir(exist_ok=True)
        match [key for key in volume if key != "name"]:
            case ["emptyDir"]:
                folder.mkdir(exist_ok=True)
                folder.chmod(0o777)
            case ["configMap"]:
                data = self._object("ConfigMap", volume["configMap"]["name"])["data"]
                _write(folder, {name: text.encode() for name, text in data.items()}, 0o644)
            case ["secret"]:
                secret = volume["secret"]
                data = self._object("Secret", secret["secretName"])["data"]
                _write(folder, data, secret.get("defaultMode", 0o644))
            case ["hostPath"]:
                path = str(volume["hostPath"]["path"])
                folder = self._node.folder / "host" / path.lstrip("/")
                folder.mkdir(parents=True, exist_ok=volume["hostPath"]["type"] in ("Directory", "DirectoryOrCreate"))
            case other:
                raise AssertionError(f"volumes of {other} are not known here")
        return folder


def _write(folder: Path, data: Mapping[str, bytes], mode: int) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in data.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(mode)


def _expand(word: str, variables: Mapping[str, str]) -> str:
    return re.sub(r"\$\((\w+)\)", lambda found: variables[found[1]], word)


def _confined(pod: Object, container: Object) -> list[str]:
    context = {**pod, **container}
    profile = context.pop("seccompProfile")  # podman's default is the runtime's
    options = ["--read-only-tmpfs=false", f"--user={context.pop('runAsUser')}:{context.pop('runAsGroup')}"]
    if context.pop("runAsNonRoot", False):
        assert not options[-1].startswith("--user=0:")
    expected = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert (context, profile) == (expected, {"type": "RuntimeDefault"})
    return [*options, "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges"]


def _limited(resources: Object) -> list[str]:
    limit = resources["limits"]["memory"]
    return [f"--memory={int(limit[:-2]) * _MEMORY[limit[-2:]]}"]
