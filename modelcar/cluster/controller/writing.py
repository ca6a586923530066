"""A plan carried out: only what differs is written, and nothing that fails keeps the rest from being done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from modelcar.cluster.api import Cluster
from modelcar.cluster.names import FINALIZER, MANAGED_BY, by_name, spec_of, status_of
from modelcar.cluster.patching import replacing
from modelcar.cluster.plan import Plan, View
from modelcar.cluster.resources import MODEL_CACHES, MODEL_NODES, Object, name_of, version_of
from modelcar.errors import ClusterError, Conflict, ObjectNotFound
from modelcar.registry.cancel import CancelScope, current_scope

__all__ = ["carry_out"]

_AT_ONCE: Final = 8


def carry_out(cluster: Cluster, view: View, plan: Plan) -> list[ClusterError]:
    """Returns what failed. What changed meanwhile is none of that: the next pass sees it.

    A ModelCache is let go only after every node was told to forget its image.
    """
    caches, nodes, reports = (by_name(list(items)) for items in (view.caches, view.nodes, view.model_nodes))
    failures = _done(
        [partial(_set_finalizers, cluster, caches[name], [*_finalizers(caches[name]), FINALIZER]) for name in plan.hold]
    )
    work: list[Callable[[], object]] = []
    for name, spec in plan.specs.items():
        if name not in reports:
            work.append(partial(cluster.create, MODEL_NODES, _model_node(nodes[name], spec)))
        elif spec_of(reports[name]) != spec:
            work.append(partial(cluster.patch, MODEL_NODES, name, {"spec": replacing(spec_of(reports[name]), spec)}))
    work += [partial(cluster.delete, MODEL_NODES, name) for name in plan.gone]
    for name, status in plan.statuses.items():
        if status_of(caches[name]) != status and name not in plan.release:
            change = {"status": replacing(status_of(caches[name]), status)}
            work.append(partial(cluster.patch, MODEL_CACHES, name, change, subresource="status"))
    failures += _done(work)
    for name in () if failures else plan.release:
        rest = [each for each in _finalizers(caches[name]) if each != FINALIZER]
        failures += _done([partial(_set_finalizers, cluster, caches[name], rest)])
    return failures


def _done(work: Sequence[Callable[[], object]]) -> list[ClusterError]:
    """What failed, of work that is done several at a time. Raises `Cancelled` if nobody wants it any more."""
    scope = current_scope() or CancelScope()

    def attempt(action: Callable[[], object]) -> ClusterError | None:
        try:
            with scope.active():
                action()
        except (Conflict, ObjectNotFound):
            return None
        except ClusterError as e:
            return e
        return None

    with ThreadPoolExecutor(min(_AT_ONCE, len(work) or 1)) as pool:
        return [failure for failure in pool.map(attempt, work) if failure is not None]


def _finalizers(item: Object) -> list[str]:
    return list(item["metadata"].get("finalizers") or [])


def _set_finalizers(cluster: Cluster, cache: Object, finalizers: list[str]) -> Object:
    """Others have some too: nothing is overwritten that we have not seen."""
    meta = {"finalizers": finalizers, "resourceVersion": version_of(cache)}
    return cluster.patch(MODEL_CACHES, name_of(cache), {"metadata": meta})


def _model_node(node: Object, spec: dict[str, Any]) -> Object:
    owner = {"apiVersion": "v1", "kind": "Node", "name": name_of(node), "uid": str(node["metadata"].get("uid") or "")}
    return {
        "apiVersion": MODEL_NODES.api_version,
        "kind": MODEL_NODES.kind,
        "metadata": {"name": name_of(node), "labels": MANAGED_BY, "ownerReferences": [owner]},
        "spec": spec,
    }
