"""The shim on every node, with the agent that makes it a part of the cluster; and what takes it away again."""

from __future__ import annotations

from typing import Any, Final

from modelcar.cluster.manifests import parts
from modelcar.cluster.manifests.certificates import peer_certificate
from modelcar.cluster.manifests.guards import node_guard
from modelcar.cluster.manifests.printing import to_yaml
from modelcar.cluster.manifests.settings import Installation
from modelcar.cluster.resources import MODEL_NODES, Object

__all__ = ["NAME", "shim", "unwire"]

NAME: Final = "registry-shim"
_ROOT: Final = "/var/lib/registry-shim"
_PEERS: Final = "/etc/registry-shim-peers"
_CONFIG: Final = "/etc/registry-shim"
_PORT: Final = 5000
_PEER_PORT: Final = 5443
_PAUSE: Final = "registry.k8s.io/pause:3.10"
_AS_ROOT: Final = {"runAsUser": 0, "runAsGroup": 0}  # what they write is root's; they have no capability


def shim(chosen: Installation) -> list[Object]:
    where = chosen.shim_namespace
    return [
        parts.namespace(where, "privileged"),  # the network and folders of the node
        parts.namespace(chosen.pull_secrets, "restricted"),
        parts.account(NAME, where),
        *_permissions(chosen),
        *node_guard(chosen),
        parts.config_map(NAME, where, {"config.yaml": to_yaml(_config(chosen))}),
        *([_service(where)] if chosen.peers else []),
        *(peer_certificate(f"{NAME}-peers", chosen) if chosen.peers and chosen.cert_manager else []),
        _daemon_set(
            NAME,
            where,
            [_wire(chosen.image, _wiring(chosen), readable_run=True)],
            [_server(chosen), _agent(chosen)],
            _volumes(peers=chosen.peers),
            account=NAME,
            grace=40,
        ),
    ]


def unwire(chosen: Installation) -> list[Object]:
    """Before the shim is deleted: every node pulls from the registries themselves again."""
    name = f"{NAME}-unwire"
    done = {
        "name": "done",
        "image": _PAUSE,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65535, **parts.CONFINED},
        "resources": _resources("10m", "16Mi", "16Mi"),
    }
    wiring = [volume for volume in _volumes(peers=False) if volume["name"] in ("containerd-config", "wiring")]
    undo = _wire(chosen.image, ["--uninstall"], readable_run=False) | {"name": "unwire"}
    return [_daemon_set(name, chosen.shim_namespace, [undo], [done], wiring)]


def _permissions(chosen: Installation) -> list[Object]:
    """Who the peers are; its own ModelNode, labels and the events of its pods (`guards` says which are its own)."""
    where, account = chosen.shim_namespace, (chosen.shim_namespace, NAME)
    node = f"{NAME}-node"
    secrets = f"{NAME}-pull-secrets"
    group = MODEL_NODES.group
    return [
        parts.role(NAME, where, parts.rule("discovery.k8s.io", ["endpointslices"], ["get", "list", "watch"])),
        parts.binding(NAME, where),
        parts.cluster_role(
            node,
            parts.rule(group, ["modelnodes"], ["list", "watch"]),
            parts.rule(group, ["modelnodes/status"], ["patch"]),
            parts.rule("", ["nodes"], ["get", "patch"]),
            parts.rule("", ["pods"], ["list", "watch"]),
            parts.rule("", ["events"], ["create", "patch"]),
        ),
        parts.cluster_binding(node, account),
        parts.role(secrets, chosen.pull_secrets, parts.rule("", ["secrets"], ["get"])),
        parts.binding(secrets, chosen.pull_secrets, account),
    ]


def _config(chosen: Installation) -> Object:
    """The shim's configuration, as docs/reference/shim-configuration.md has it."""
    upstreams = [{"registry": r, "docker_config": f"{_ROOT}/pull-secrets.json"} for r in chosen.registries]
    tls = {
        "certificate_file": f"{_PEERS}/tls.crt",
        "key_file": f"{_PEERS}/tls.key",
        "ca_file": f"{_PEERS}/ca.crt",
        "identity": f"{NAME}.peers",
    }
    return {
        "root": _ROOT,
        "listen": f"127.0.0.1:{_PORT}",
        "mirror": {"upstreams": upstreams},
        **({"peers": {"kubernetes": {"service": NAME}, "tls": tls}} if chosen.peers else {}),
        "space": {"high_percent": 85, "low_percent": 75},
        "log": {"format": "json"},
    }


def _service(where: str) -> Object:
    """Whose endpoints are the peers: nobody talks to the service itself."""
    selector = {"app.kubernetes.io/name": NAME}
    ports = [{"name": "peers", "port": _PEER_PORT}]
    return parts.made("v1", "Service", NAME, where, spec={"clusterIP": "None", "selector": selector, "ports": ports})


def _wiring(chosen: Installation) -> list[str]:
    return ["--engine", "containerd", *(word for registry in chosen.registries for word in ("--registry", registry))]


def _wire(image: str, options: list[str], *, readable_run: bool) -> Object:
    """At each start, as the node may have been set up anew. Not undone when the pod ends: that would open the gate."""
    mounts: list[Object] = [
        {"name": "containerd-config", "mountPath": "/host/etc/containerd"},
        {"name": "wiring", "mountPath": "/host/var/lib/modelcar-wiring"},
    ]
    if readable_run:  # which containerd runs
        mounts.append({"name": "containerd-run", "mountPath": "/host/run/containerd", "readOnly": True})
    return {
        "name": "wire",
        "image": image,
        "command": ["registry-shim"],
        "args": ["hosts-toml", "--root", "/host", *options],
        "securityContext": {**_AS_ROOT, **parts.CONFINED},
        "resources": _resources("50m", "64Mi", "256Mi"),
        "volumeMounts": mounts,
    }


def _server(chosen: Installation) -> Object:
    peers, mounts = (_peers() if chosen.peers else {}), [{"name": "config", "mountPath": _CONFIG, "readOnly": True}]
    if chosen.peers:
        mounts.append({"name": "peers", "mountPath": _PEERS, "readOnly": True})
    healthy: dict[str, Any] = {"host": "127.0.0.1", "port": _PORT, "path": "/healthz"}
    return {
        "name": "shim",
        "image": chosen.image,
        "command": ["registry-shim"],
        "args": ["serve", "--config", f"{_CONFIG}/config.yaml", *peers.pop("args", [])],
        **peers,
        "securityContext": {**_AS_ROOT, **parts.CONFINED},
        # After an unclean boot the cache is checked first.
        "startupProbe": {"httpGet": healthy, "periodSeconds": 2, "failureThreshold": 60},
        "livenessProbe": {"httpGet": healthy, "periodSeconds": 20, "timeoutSeconds": 5, "failureThreshold": 6},
        "readinessProbe": {"httpGet": healthy | {"path": "/readyz"}, "periodSeconds": 5, "timeoutSeconds": 3},
        "resources": _resources("250m", "256Mi", "2Gi"),  # much of it is page cache
        "volumeMounts": [
            *mounts,
            {"name": "content", "mountPath": _ROOT},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # its own
        ],
    }


def _peers() -> Object:
    return {
        "args": ["--peers-listen", f"$(NODE_IP):{_PEER_PORT}"],
        "env": [_field("NODE_IP", "status.hostIP")],
        "ports": [{"name": "peers", "containerPort": _PEER_PORT}],
    }


def _agent(chosen: Installation) -> Object:
    """It speaks to the shim over the socket in its folder, and to the API server."""
    return {
        "name": "node",
        "image": chosen.image,
        "command": ["registry-shim"],
        "args": ["node", "--root", _ROOT],
        "env": [_field("NODE_NAME", "spec.nodeName")],
        "securityContext": {**_AS_ROOT, **parts.CONFINED},
        "resources": _resources("20m", "96Mi", "256Mi"),
        "volumeMounts": [
            {"name": "content", "mountPath": _ROOT},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # its own
        ],
    }


def _field(name: str, path: str) -> Object:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _volumes(*, peers: bool) -> list[Object]:
    def host(name: str, path: str, kind: str) -> Object:
        return {"name": name, "hostPath": {"path": path, "type": kind}}

    return [
        {"name": "config", "configMap": {"name": NAME}},
        *([{"name": "peers", "secret": {"secretName": f"{NAME}-peers", "defaultMode": 0o400}}] if peers else []),
        {"name": "tmp", "emptyDir": {}},
        host("content", _ROOT, "DirectoryOrCreate"),
        host("containerd-config", "/etc/containerd", "Directory"),
        host("wiring", "/var/lib/modelcar-wiring", "DirectoryOrCreate"),
        host("containerd-run", "/run/containerd", "Directory"),
    ]


def _daemon_set(
    name: str,
    where: str,
    initial: list[Object],
    containers: list[Object],
    volumes: list[Object],
    *,
    account: str | None = None,
    grace: int | None = None,
) -> Object:
    pod: Object = {
        **({"serviceAccountName": account} if account else {}),
        "automountServiceAccountToken": account is not None,
        # 127.0.0.1 of the node and nobody else's: a hostPort would be open to other pods.
        **({"hostNetwork": True, "dnsPolicy": "Default"} if account else {}),
        "priorityClassName": "system-node-critical",
        **({"terminationGracePeriodSeconds": grace} if grace else {}),
        "tolerations": [{"operator": "Exists"}],
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "initContainers": initial,
        "containers": containers,
        "volumes": volumes,
    }
    meta = {"labels": parts.labels(name), "annotations": {"prometheus.io/scrape": "false"}}  # it listens on loopback
    spec = {
        "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
        "template": {"metadata": meta, "spec": pod},
    }
    return parts.made("apps/v1", "DaemonSet", name, where, spec=spec)


def _resources(cpu: str, memory: str, most: str) -> Object:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": most}}
