"""Towards nodes that have the models already: added to what the pod says of nodes, never in its place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from modelcar.admission.names import AFFINITY, NODE_MODEL_READY, node_label
from modelcar.admission.rewrite.lists import Object
from modelcar.admission.settings import Affinity
from modelcar.errors import Denied
from modelcar.oci import Digest

__all__ = ["with_affinity"]

_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_LARGEST: Final = 100


def with_affinity(
    spec: Object, wanted: Affinity, models: Sequence[tuple[str, Digest | None]], former: Iterable[Digest]
) -> Object:
    """`spec.affinity` with what is `wanted` for `models` (names and digests), and without what was for `former` ones.

    Raises:
        Denied: it is required, and a digest is not known.
    """
    affinity = dict(spec.get("affinity") or {})
    node = dict(affinity.get("nodeAffinity") or {})
    labels = _labels(wanted, models)
    stale = {node_label(str(digest)) for digest in former}
    preferred = labels if wanted is Affinity.PREFERRED else []
    required = labels if wanted is Affinity.REQUIRED else []
    _set(node, _PREFERRED, _preferring(node.get(_PREFERRED) or [], preferred, stale.difference(preferred)))
    _set(node, _REQUIRED, _requiring(node.get(_REQUIRED) or {}, required, stale.difference(required)))
    _set(affinity, "nodeAffinity", node)
    return affinity


def _set(fields: Object, name: str, value: Any) -> None:
    """What is empty and was not there does not appear."""
    if value or fields.get(name) == value:
        fields[name] = value
    else:
        fields.pop(name, None)


def _labels(wanted: Affinity, models: Sequence[tuple[str, Digest | None]]) -> list[str]:
    if wanted is Affinity.NONE:
        return []
    for name, digest in models:
        if digest is None and wanted is Affinity.REQUIRED:
            raise Denied(
                f"{AFFINITY} is required, and the digest of model {name!r} is not known",
                hint=f"pin it (oci://repository@sha256:...), use --resolve, or set {AFFINITY} to preferred",
            )
    return list(dict.fromkeys(node_label(str(digest)) for _, digest in models if digest is not None))


def _expression(label: str) -> Object:
    return {"key": label, "operator": "In", "values": [NODE_MODEL_READY]}


def _preferring(terms: list[Object], labels: list[str], stale: set[str]) -> list[Object]:
    """Below what the pod itself prefers least, all together."""
    going = [{"matchExpressions": [_expression(label)]} for label in stale]
    kept = [term for term in terms if term.get("preference") not in going]
    there = [term.get("preference") for term in kept]
    missing = [each for label in labels if (each := {"matchExpressions": [_expression(label)]}) not in there]
    least = min((term.get("weight", 1) for term in kept), default=_LARGEST + 1)
    weight = max(1, (least - 1) // max(1, len(missing)))
    return [*kept, *({"preference": each, "weight": weight} for each in missing)]


def _requiring(required: Object, labels: list[str], stale: set[str]) -> Object:
    """Terms are alternatives, so each gets it; one without any expression matches nothing and is left so."""
    going = [_expression(label) for label in stale]
    terms = [_less(term, going) for term in required.get("nodeSelectorTerms") or ()]
    kept = [
        term for term, before in zip(terms, required.get("nodeSelectorTerms") or (), strict=True) if term or not before
    ]
    wanted = [_expression(label) for label in labels]
    if labels:
        kept = [_with(term, wanted) for term in kept] if kept else [{"matchExpressions": wanted}]
    return required | {"nodeSelectorTerms": kept} if kept else {}


def _with(term: Object, wanted: list[Object]) -> Object:
    there = term.get("matchExpressions") or []
    missing = [each for each in wanted if each not in there]
    matches_some = there or term.get("matchFields")
    return term | {"matchExpressions": [*there, *missing]} if matches_some and missing else term


def _less(term: Object, going: list[Object]) -> Object:
    there = term.get("matchExpressions") or []
    left = [each for each in there if each not in going]
    if len(left) == len(there):
        return term
    rest = {key: value for key, value in term.items() if key != "matchExpressions"}
    return rest | ({"matchExpressions": left} if left else {})
