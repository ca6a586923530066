"""The containers that we add: sidecars that publish a model, and one that checks that it can be read."""

from __future__ import annotations

from typing import Any, Final

from modelcar.admission.pinning import default_pull_policy
from modelcar.admission.rewrite.lists import Object
from modelcar.admission.rewrite.placement import Placement
from modelcar.admission.rewrite.publishers import check_command, publish_command, ready_command, ready_hook
from modelcar.admission.settings import Rewriting

__all__ = ["check", "legacy_sidecar", "native_sidecar"]

_PROBE_SECONDS: Final = 10  # for one: a model that is fetched on demand may take a while to open


def native_sidecar(placement: Placement, rewriting: Rewriting) -> Object:
    """An init container that stays: what comes after it waits for its startup probe, and a Job ends without it."""
    return _container(placement.name, placement, rewriting, _publishing(placement, rewriting, restartPolicy="Always"))


def legacy_sidecar(placement: Placement, rewriting: Rewriting) -> Object:
    """An ordinary container, to be put first: a kubelet starts the next one when its postStart hook is done."""
    hook = {"postStart": {"exec": {"command": ready_hook(placement.publisher, placement.to, placement.link)}}}
    return _container(placement.name, placement, rewriting, _publishing(placement, rewriting, lifecycle=hook))


def check(placement: Placement, rewriting: Rewriting) -> Object:
    """An init container that is who the server is, in a container of its own, and reads what the sidecar published."""
    does = {"command": check_command(placement.publisher, placement.to, placement.link)}
    container = _container(placement.check_name, placement, rewriting, does)
    container["volumeMounts"][0]["readOnly"] = True
    return container


def _publishing(placement: Placement, rewriting: Rewriting, **more: Any) -> Object:
    publisher, to, link = placement.publisher, placement.to, placement.link
    probe = {
        "exec": {"command": ready_command(publisher, to, link)},
        "failureThreshold": rewriting.startup_seconds,
        "periodSeconds": 1,
        "timeoutSeconds": _PROBE_SECONDS,
    }
    return {"command": publish_command(publisher, to, link), **more, "startupProbe": probe}


def _container(name: str, placement: Placement, rewriting: Rewriting, does: Object) -> Object:
    amounts = {"cpu": rewriting.requests.cpu, "memory": rewriting.requests.memory}
    return {
        "name": name,
        "image": placement.image,
        "imagePullPolicy": placement.pull_policy or default_pull_policy(placement.image),
        **does,
        "resources": {"limits": dict(amounts), "requests": dict(amounts)},
        "securityContext": placement.identity.security_context(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": placement.volume, "mountPath": placement.mount_in_sidecar}],
    }
