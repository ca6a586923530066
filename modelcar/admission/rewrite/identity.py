"""Who runs a sidecar: whoever runs the containers that read its model.

The kernel opens `/proc/PID/root` to the same UID and GID alone; SELinux and AppArmor want the same label and profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelcar.admission.asked import Model
from modelcar.admission.facts import Facts, ImageFact, User
from modelcar.admission.rewrite.lists import Object
from modelcar.errors import Denied

__all__ = ["APPARMOR", "Identity", "identity_of"]

APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
"""Annotations that named profiles, by container, before there was a field for it."""

_UNKNOWN: Final = ImageFact()
_BOTH: Final = "set runAsUser and runAsGroup in the securityContext of the container or of the pod"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who reads a model. `selinux` and `apparmor` are fields of a container's security context, `profile` the
    annotation that stands for the latter; `None` for what the pod or the runtime says."""

    user: User
    selinux: Mapping[str, Any] | None = None
    apparmor: Mapping[str, Any] | None = None
    profile: str | None = None

    def security_context(self) -> Object:
        """Of a container that is this, and may do nothing else: within Kubernetes' restricted profile unless root."""
        context: Object = {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsGroup": self.user.gid,
            "runAsUser": self.user.uid,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        context |= {"runAsNonRoot": True} if self.user.uid else {}
        context |= {"seLinuxOptions": dict(self.selinux)} if self.selinux is not None else {}
        return context | ({"appArmorProfile": dict(self.apparmor)} if self.apparmor is not None else {})


def identity_of(model: Model, spec: Object, annotations: Mapping[str, str], facts: Facts) -> Identity:
    """Who runs the containers that see `model`.

    Raises:
        Denied: it is not known, or they are run by several.
    """
    first: tuple[str, Identity] | None = None
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        if container["name"] not in model.containers:
            continue
        identity = _of(container, spec, annotations, facts)
        if first is None:
            first = container["name"], identity
        elif identity != first[1]:
            raise _differ(model, first, (container["name"], identity))
    if first is None:
        raise Denied(f"no container sees model {model.name!r}")
    return first[1]


def _of(container: Object, spec: Object, annotations: Mapping[str, str], facts: Facts) -> Identity:
    own, pods = container.get("securityContext") or {}, spec.get("securityContext") or {}

    def effective(field: str) -> Any:
        return own[field] if own.get(field) is not None else pods.get(field)

    image = container.get("image") or ""
    fact = facts.get(image, _UNKNOWN)
    user = fact.run_as(effective("runAsUser"), effective("runAsGroup"))
    if user is None:
        raise _not_known(container["name"], image, effective("runAsUser"), fact)
    selinux, profile = effective("seLinuxOptions"), effective("appArmorProfile")
    return Identity(
        user=user,
        selinux=selinux if selinux != pods.get("seLinuxOptions") else None,
        apparmor=profile if profile != pods.get("appArmorProfile") else None,
        profile=annotations.get(APPARMOR + container["name"]),
    )


def _not_known(name: str, image: str, uid: int | None, fact: ImageFact) -> Denied:
    what = "the group" if uid is not None else "the user"
    why = fact.problem or f"it depends on {image or 'its image'}, which was not looked into"
    return Denied(f"container {name!r}: {what} that runs it is not known: {why}", hint=_BOTH)


def _differ(model: Model, one: tuple[str, Identity], other: tuple[str, Identity]) -> Denied:
    (name, identity), (other_name, other_identity) = one, other
    both = f"containers {name!r} and {other_name!r} see model {model.name!r}"
    if identity.user != other_identity.user:
        user, others = identity.user, other_identity.user
        return Denied(
            f"{both}, run as {user.uid}:{user.gid} and {others.uid}:{others.gid}: the kernel shows it to one of them",
            hint="set the same runAsUser and runAsGroup in the securityContext of both or of the pod",
        )
    return Denied(
        f"{both} and differ in seLinuxOptions or appArmorProfile: the kernel shows it to one of them",
        hint="set the same in the securityContext of both or of the pod",
    )
