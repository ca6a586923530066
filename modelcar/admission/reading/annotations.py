"""Our own annotations, read strictly: a typing error is a line for its author, not a pod without its model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from modelcar.admission import names
from modelcar.admission.reading.entries import PULL_POLICIES, Entry, check_image, check_name, choice, split_names
from modelcar.admission.settings import Affinity, Link, Mode
from modelcar.admission.shape import shown
from modelcar.errors import Denied, UsageError
from modelcar.signing.policy.documents import parse_documents

__all__ = ["FIELDS", "KNOWN", "MOST_MODELS", "affinity_of", "defaults_of", "entries_of", "is_wanted"]

MOST_MODELS: Final = 10
_LONGEST_LIST: Final = 64 << 10  # characters
_SINGLE: Final = "model"

_SAID: Final = {"mode": names.MODE, "link": names.LINK, "container": names.CONTAINER, "pull-policy": names.PULL_POLICY}
FIELDS: Final = ("name", "image", "path", *_SAID)
"""What an entry of the list may have."""
KNOWN: Final = frozenset(
    (names.MODEL, names.MODELS, names.PATH, *_SAID.values(), names.AFFINITY, names.INJECT, names.DONE, names.DIGESTS)
) | {names.STATUS}

Annotations = Mapping[str, str]


def is_wanted(annotations: Annotations, labels: Annotations) -> bool:
    """Whether the pod may be rewritten, by annotation or label."""
    for values in (annotations, labels):
        value = values.get(names.INJECT, "true")
        if value not in ("true", "false"):
            raise Denied(f"{names.INJECT} is {shown(value)}", hint='"true" or "false"')
        if value == "false":
            return False
    return True


def affinity_of(annotations: Annotations, default: Affinity) -> Affinity:
    text = annotations.get(names.AFFINITY)
    return default if text is None else choice(Affinity, text, names.AFFINITY)


def entries_of(annotations: Annotations) -> list[Entry]:
    """The models of `modelcar.dev/model` or `modelcar.dev/models`.

    Raises:
        Denied: naming annotation, entry and field.
    """
    if names.MODEL in annotations and names.MODELS in annotations:
        raise Denied(f"{names.MODEL} and {names.MODELS} are both there", hint="put all models into the list")
    if names.MODEL in annotations:
        fields = {"name": _SINGLE, "image": annotations[names.MODEL]}
        fields |= {"path": annotations[names.PATH]} if names.PATH in annotations else {}
        return [_entry(fields | _said(annotations), names.MODEL, _WHERE_SINGLE)]
    if names.PATH in annotations:
        missing = "each model of the list has its own" if names.MODELS in annotations else f"{names.MODEL} is missing"
        raise Denied(f"{names.PATH} is there: {missing}", hint=f"remove {names.PATH}")
    if names.MODELS not in annotations:
        return []
    return _list(annotations[names.MODELS], _said(annotations))


def defaults_of(annotations: Annotations) -> Entry:
    """What the annotations say of models that KServe names: everything but name, image and path."""
    return _entry({"name": _SINGLE, "image": "oci://none", **_said(annotations)}, names.MODEL, _WHERE_SINGLE)


_WHERE_SINGLE: Final = {"image": names.MODEL, "path": names.PATH, **_SAID}


def _said(annotations: Annotations) -> dict[str, str]:
    return {field: annotations[name] for field, name in _SAID.items() if name in annotations}


def _list(text: str, defaults: dict[str, str]) -> list[Entry]:
    if len(text) > _LONGEST_LIST:
        raise Denied(f"{names.MODELS} has {len(text)} characters; it has at most {_LONGEST_LIST}")
    try:
        documents = parse_documents(text.encode(errors="replace"), names.MODELS)
    except UsageError as e:
        raise Denied(str(e), hint=e.hint) from None
    listed: Any = documents[0] if len(documents) == 1 else None
    if not isinstance(listed, list) or not listed:
        raise Denied(f"{names.MODELS} is not a list", hint="a YAML list of {name, image, path}")
    if len(listed) > MOST_MODELS:
        raise Denied(f"{names.MODELS} has {len(listed)} models; a pod has at most {MOST_MODELS}")
    return [_listed(fields, f"{names.MODELS}[{number}]", defaults) for number, fields in enumerate(listed)]


def _listed(fields: Any, where: str, defaults: dict[str, str]) -> Entry:
    if not isinstance(fields, dict):
        raise Denied(f"{where} is {shown(fields)}, and not an object", hint="{name, image, path}")
    for field, value in fields.items():
        if field not in FIELDS:
            raise Denied(f"{where}: {shown(field)} is not known", hint=f"one of {', '.join(FIELDS)}")
        if not isinstance(value, str):
            raise Denied(f"{where}.{field} is {shown(value)}, and not text", hint="put it in quotes")
    for field in ("name", "image"):
        if field not in fields:
            raise Denied(f"{where}: {field} is missing")
    return _entry(defaults | fields, where, {field: f"{where}.{field}" for field in FIELDS})


def _entry(fields: Mapping[str, str], where: str, at: Mapping[str, str]) -> Entry:
    pull_policy = fields.get("pull-policy")
    if pull_policy not in (None, *PULL_POLICIES):
        raise Denied(f"{at['pull-policy']} is {shown(pull_policy)}", hint=f"it is one of {', '.join(PULL_POLICIES)}")
    return Entry(
        where=where,
        name=check_name(fields["name"], at.get("name", where)),
        image=check_image(fields["image"], at["image"]),
        path=fields.get("path"),
        mode=choice(Mode, fields["mode"], at["mode"]) if "mode" in fields else None,
        link=choice(Link, fields["link"], at["link"]) if "link" in fields else None,
        containers=split_names(fields["container"], at["container"]) if "container" in fields else None,
        pull_policy=pull_policy,
    )
