"""Models that KServe names: in the annotation of its controller, or in what its webhook or controller injected.

| scheme | we make of it |
|---|---|
| `oci://` | the cluster's mode |
| `oci+modelcar://` | a sidecar |
| `oci+native://` | an image volume |
| `oci+fetch://` | the cluster's mode: the model appears where a copy would have been, without one |

Other schemes (`s3://`, `hf://` …) are KServe's own affair.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from modelcar.admission.names import KSERVE_SOURCE, OURS
from modelcar.admission.reading.containers import kserve_containers
from modelcar.admission.reading.entries import SCHEME, Entry, check_image
from modelcar.admission.reading.injection import Injected, Injection, find_injection
from modelcar.admission.settings import Mode
from modelcar.errors import Denied

__all__ = ["KSERVE_PATH", "entries_of_kserve", "kserve_injection", "parse_source"]

KSERVE_PATH: Final = "/mnt/models"
_NAME: Final = "kserve"
_MODES: Final = {"": None, "modelcar": Mode.SIDECAR, "native": Mode.IMAGE_VOLUME, "fetch": None}
_SOURCE: Final = re.compile(r"oci(?:\+([^:/]*))?://(.*)", re.DOTALL)


def parse_source(uri: str, where: str) -> tuple[str, Mode | None] | None:
    """Image and mode of a storage URI; `None` if it is not about images.

    Raises:
        Denied: a mode that KServe has not, or no image.
    """
    match = _SOURCE.fullmatch(uri)
    if match is None:
        return None
    mode = match[1] or ""
    if mode not in _MODES:
        raise Denied(
            f"{where} begins with oci+{mode}://", hint="oci://, oci+modelcar://, oci+native:// or oci+fetch://"
        )
    return check_image(SCHEME + match[2], where), _MODES[mode]


def kserve_injection(spec: dict[str, Any], annotations: Mapping[str, str], *, done: bool) -> Injection:
    """What KServe's webhook or controller already did to the pod; `done`: after a former pass of ours."""
    source = parse_source(annotations.get(KSERVE_SOURCE, ""), KSERVE_SOURCE)
    volumes = [each["name"] for each in spec.get("volumes") or ()]
    ours = frozenset(name for name in volumes if done and name.startswith(OURS))
    return find_injection(spec, source[0] if source else None, ours)


def entries_of_kserve(
    spec: dict[str, Any], annotations: Mapping[str, str], injection: Injection, recorded: tuple[Entry, ...]
) -> list[Entry]:
    """The models that KServe wants in the pod: those `recorded` by a former pass of ours, else those that it injected,
    else that of its annotation.

    Raises:
        Denied: the annotation is malformed, or the pod has no container that could see the model.
    """
    if recorded:
        return list(recorded)
    source = parse_source(annotations.get(KSERVE_SOURCE, ""), KSERVE_SOURCE)
    named = _named(source, spec) if source else None
    injected = [_injected(model, named) for model in injection.models]
    if named is None or (injected and [_essence(each) for each in injected] != [_essence(named)]):
        return injected
    return [_with_containers(named)]


def _essence(entry: Entry) -> tuple[object, ...]:
    return entry.image, entry.path, entry.containers


def _named(source: tuple[str, Mode | None], spec: dict[str, Any]) -> Entry:
    containers = kserve_containers(each["name"] for each in spec["containers"])
    image, mode = source
    return Entry(where=KSERVE_SOURCE, name=_NAME, image=image, path=KSERVE_PATH, mode=mode, containers=containers)


def _with_containers(entry: Entry) -> Entry:
    if not entry.containers:
        raise Denied(
            f"{KSERVE_SOURCE}: the pod has neither kserve-container nor worker-container",
            hint="name the server's container so",
        )
    return entry


def _injected(model: Injected, named: Entry | None) -> Entry:
    image = check_image(SCHEME + model.image, model.where)
    return Entry(
        where=model.where,
        name=f"{_NAME}{model.suffix}",
        image=image,
        path=model.path,
        mode=named.mode if named and named.image == image else None,
        containers=model.containers,
        found=True,
    )
