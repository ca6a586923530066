"""What KServe's injection leaves in a pod, recognised by its form and not by names alone (v0.15 to v0.20).

- modelcar: containers `modelcar[-N]` that link `/proc/$$/root/models`, init containers `modelcar-init[-N]`, volumes
  `kserve-provision-location[-N]`;
- native: a volume of the kind `image` with the image of KServe's annotation;
- fetch, or KServe without modelcars: the init container `storage-initializer` with pairs of URI and path.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from modelcar.admission.reading.entries import SCHEME
from modelcar.errors import Denied

__all__ = ["Injected", "Injection", "find_injection", "take_away"]

_SIDECAR: Final = re.compile(r"modelcar(|-[1-9][0-9]?)")
_LINKING: Final = re.compile(r".*ln -sf /proc/\$+/root/models (?P<path>.+) && sleep infinity", re.DOTALL)
_INIT: Final = "modelcar-init"
_VOLUME: Final = "kserve-provision-location"
_FETCHER: Final = "storage-initializer"
_FETCHER_VOLUMES: Final = ("kserve-oci-fetch-docker-config", "cabundle-cert")
_WAITING: Final = {
    "name": "MODEL_INIT_MODE",
    "value": "async",
}  # with the link there before the server, nothing to wait for

Spec = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """One model. `suffix` is `""`, `"-1"`, …"""

    where: str
    suffix: str
    image: str
    path: str
    containers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """The models, and what has to go: names of containers and volumes."""

    models: tuple[Injected, ...] = ()
    containers: frozenset[str] = frozenset()
    volumes: frozenset[str] = frozenset()


def find_injection(spec: Spec, source: str | None, ours: frozenset[str]) -> Injection:
    """What KServe injected; `source` is the image of its annotation, `ours` are volumes of a former pass.

    Raises:
        Denied: its init container fetches images and other things in one go, which cannot be told apart.
    """
    parts = [*_sidecars(spec), *_native(spec, source, ours), *_fetched(spec)]
    return Injection(
        models=tuple(model for part in parts for model in part.models),
        containers=frozenset().union(*(part.containers for part in parts)),
        volumes=frozenset().union(*(part.volumes for part in parts)),
    )


def take_away(spec: Spec, injection: Injection) -> None:
    """Remove it all from `spec`, in place; lists that get shorter are made anew."""
    if not injection.containers and not injection.volumes:
        return
    for field in ("containers", "initContainers"):
        if spec.get(field):
            spec[field] = [
                _without(each, injection) for each in spec[field] if each["name"] not in injection.containers
            ]
    if spec.get("volumes"):
        spec["volumes"] = [each for each in spec["volumes"] if each["name"] not in injection.volumes]
    for field in ("initContainers", "volumes"):
        if not spec.get(field, True):
            del spec[field]


def _without(container: Spec, injection: Injection) -> Spec:
    seen_by = {name for model in injection.models for name in model.containers}
    mounts = container.get("volumeMounts") or []
    kept = [each for each in mounts if each.get("name") not in injection.volumes]
    changed = dict(container)
    if len(kept) != len(mounts):
        changed["volumeMounts"] = kept
    if container["name"] in seen_by and _WAITING in (container.get("env") or []):
        changed["env"] = [each for each in container["env"] if each != _WAITING]
    return {key: value for key, value in changed.items() if value != [] or container.get(key) == []}


def _sidecars(spec: Spec) -> Iterator[Injection]:
    for container in spec["containers"]:
        name = _SIDECAR.fullmatch(container["name"])
        words = [*(container.get("command") or ()), *(container.get("args") or ())]
        linking = _LINKING.fullmatch(words[2]) if len(words) == 3 and words[:2] == ["sh", "-c"] else None
        if not name or not linking:
            continue
        volume = _VOLUME + name[1]
        model = Injected(
            where=f"container {container['name']!r} of KServe",
            suffix=name[1],
            image=container.get("image") or "",
            path=_unquoted(linking["path"]),
            containers=_mounting(spec, {volume}, but=container["name"]),
        )
        yield Injection(
            models=(model,),
            containers=frozenset((container["name"], _INIT + name[1])),
            volumes=frozenset((volume,)),
        )


def _native(spec: Spec, source: str | None, ours: frozenset[str]) -> Iterator[Injection]:
    for volume in spec.get("volumes") or ():
        if source is None or volume["name"] in ours or (volume.get("image") or {}).get("reference") != source:
            continue
        mounts = [each for container in spec["containers"] for each in container.get("volumeMounts") or ()]
        path = next((each.get("mountPath") for each in mounts if each.get("name") == volume["name"]), None)
        if path is None:
            continue
        model = Injected(
            where=f"volume {volume['name']!r} of KServe",
            suffix="",
            image=source,
            path=path,
            containers=_mounting(spec, {volume["name"]}),
        )
        yield Injection(models=(model,), volumes=frozenset((volume["name"],)))


def _fetched(spec: Spec) -> Iterator[Injection]:
    fetcher = next((each for each in spec.get("initContainers") or () if each["name"] == _FETCHER), None)
    words = (fetcher or {}).get("args") or []
    pairs = list(zip(words[::2], words[1::2], strict=False))
    images = [(uri.removeprefix(SCHEME), path) for uri, path in pairs if uri.startswith(SCHEME)]
    if fetcher is None or not images:
        return
    if len(images) < len(pairs):
        raise Denied(
            f"init container {_FETCHER!r} of KServe fetches an image and something else",
            hint="give the model by modelcar.dev/models instead",
        )
    models, volumes = [], set()
    for number, (image, path) in enumerate(images):
        here = {each.get("name", "") for each in fetcher.get("volumeMounts") or () if each.get("mountPath") == path}
        volumes |= here
        models.append(
            Injected(
                where=f"init container {_FETCHER!r} of KServe",
                suffix=f"-{number}" if number else "",
                image=image,
                path=path,
                containers=_mounting(spec, here, but=_FETCHER),
            )
        )
    yield Injection(
        models=tuple(models), containers=frozenset((_FETCHER,)), volumes=frozenset(volumes).union(_FETCHER_VOLUMES)
    )


def _mounting(spec: Spec, volumes: set[str], but: str = "") -> tuple[str, ...]:
    """The containers that mount one of `volumes`."""
    containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
    return tuple(
        each["name"]
        for each in containers
        if each["name"] != but and any(mount.get("name") in volumes for mount in each.get("volumeMounts") or ())
    )


def _unquoted(text: str) -> str:
    """The one word that `text` is to a shell."""
    try:
        words = shlex.split(text)
    except ValueError:
        words = []
    return words[0] if len(words) == 1 else text
