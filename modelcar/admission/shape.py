"""The shape of a pod, checked once: everything that is read or changed has the type that Kubernetes gives it.

An API server never sends anything else; a file may hold what it likes. What nobody here touches is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from modelcar.errors import Denied

__all__ = ["Pod", "check_shape", "shown"]

Pod = dict[str, Any]
Check = Callable[[Any, str], None]

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_ANY: Final = re.compile(r".+", re.DOTALL)  # of volumes: KServe makes names that are none, and they are taken away
_KINDS: Final = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number"}
_LONGEST: Final = 60
_LONGEST_IMAGE: Final = 512
_LARGEST_ID: Final = 2**31 - 1


def shown(value: object) -> str:
    """A stranger's value in one short line."""
    text = repr(value) if isinstance(value, str | int | float | None) else type(value).__name__
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]}...{text[-1]}"


def check_shape(pod: object) -> None:
    """Nothing, if `pod` (metadata and spec; of a pod or of a template) can be worked on.

    Raises:
        Denied: naming the field.
    """
    _POD(pod, "pod")


def _is(kind: type) -> Check:
    def check(value: Any, where: str) -> None:
        if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
            raise Denied(f"{where} is {shown(value)}, and not {_KINDS[kind]}")

    return check


def _object(**fields: Check) -> Check:
    def check(value: Any, where: str) -> None:
        _AN_OBJECT(value, where)
        for name, check_field in fields.items():
            if value and value.get(name) is not None:
                check_field(value[name], f"{where}.{name}" if where != "pod" else name)

    return check


def _list(check_entry: Check) -> Check:
    def check(value: Any, where: str) -> None:
        _A_LIST(value, where)
        for number, entry in enumerate(value or ()):
            if entry is None:
                raise Denied(f"{where}[{number}] is null")
            check_entry(entry, f"{where}[{number}]")

    return check


def _named(check_entry: Check, pattern: re.Pattern[str]) -> Check:
    """A list of objects that have a name each, none twice."""
    check_all = _list(check_entry)

    def check(value: Any, where: str) -> None:
        check_all(value, where)
        seen: set[str] = set()
        for number, entry in enumerate(value or ()):
            name = entry.get("name")
            if not isinstance(name, str) or not pattern.fullmatch(name):
                raise Denied(f"{where}[{number}].name is {shown(name)}, and not a name")
            if name in seen:
                raise Denied(f"{where}[{number}].name {shown(name)} is there twice")
            seen.add(name)

    return check


def _texts(value: Any, where: str) -> None:
    _AN_OBJECT(value, where)
    for key, text in (value or {}).items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise Denied(f"{where}: {shown(key)} is {shown(text)}, and not text", hint="put it in quotes")


def _image(value: Any, where: str) -> None:
    """It is repeated in messages and annotations."""
    _TEXT(value, where)
    if len(value) > _LONGEST_IMAGE or not value.isprintable():
        raise Denied(f"{where} is {shown(value)}, and no image")


def _id(value: Any, where: str) -> None:
    _A_NUMBER(value, where)
    if not 0 <= value <= _LARGEST_ID:
        raise Denied(f"{where} is {shown(value)}, and not between 0 and {_LARGEST_ID}")


_AN_OBJECT: Final = _is(dict)
_A_LIST: Final = _is(list)
_TEXT: Final = _is(str)
_A_NUMBER: Final = _is(int)
_FLAG: Final = _is(bool)

_SECURITY: Final = _object(
    runAsUser=_id,
    runAsGroup=_id,
    seLinuxOptions=_AN_OBJECT,
    appArmorProfile=_AN_OBJECT,
    windowsOptions=_AN_OBJECT,
)
_MOUNT: Final = _object(name=_TEXT, mountPath=_TEXT, subPath=_TEXT, subPathExpr=_TEXT)
_CONTAINER: Final = _object(
    image=_image,
    command=_list(_TEXT),
    args=_list(_TEXT),
    env=_list(_object(name=_TEXT)),
    restartPolicy=_TEXT,
    securityContext=_SECURITY,
    volumeMounts=_list(_MOUNT),
    volumeDevices=_list(_object(devicePath=_TEXT)),
)
_TERM: Final = _object(matchExpressions=_list(_object(key=_TEXT)), matchFields=_A_LIST)
_NODE_AFFINITY: Final = _object(
    preferredDuringSchedulingIgnoredDuringExecution=_list(_object(weight=_A_NUMBER, preference=_TERM)),
    requiredDuringSchedulingIgnoredDuringExecution=_object(nodeSelectorTerms=_list(_TERM)),
)
_SPEC: Final = _object(
    containers=_named(_CONTAINER, _LABEL),
    initContainers=_named(_CONTAINER, _LABEL),
    volumes=_named(_object(image=_object(reference=_image)), _ANY),
    securityContext=_SECURITY,
    affinity=_object(nodeAffinity=_NODE_AFFINITY),
    nodeSelector=_texts,
    os=_object(name=_TEXT),
    restartPolicy=_TEXT,
    shareProcessNamespace=_FLAG,
    hostPID=_FLAG,
)
_POD_FIELDS: Final = _object(metadata=_object(annotations=_texts, labels=_texts), spec=_SPEC)


def _POD(value: Any, where: str) -> None:  # noqa: N802  # reads as the others
    if not isinstance(value, dict):
        raise Denied(f"a pod is an object, and not {shown(value)}")
    _POD_FIELDS(value, where)
    spec = value.get("spec") or {}
    if not spec.get("containers"):
        raise Denied("spec.containers is empty")
    _check_names_differ(spec)


def _check_names_differ(spec: dict[str, Any]) -> None:
    names = {each["name"] for each in spec["containers"]}
    for number, each in enumerate(spec.get("initContainers") or ()):
        if each["name"] in names:
            raise Denied(f"spec.initContainers[{number}].name {each['name']!r} is a container's, too")
