"""Which objects contain pods, and where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Path", "Place", "holds_pods", "objects_in", "pods_in", "with_pods"]

Path = tuple[str | int, ...]
_TEMPLATE: Final = ("spec", "template")
# By group and kind, whatever the version: their templates have stood where they are since there are these kinds.
_PODS: Final[Mapping[tuple[str, str], tuple[Path, ...]]] = {
    ("", "Pod"): ((),),
    ("", "PodTemplate"): (("template",),),
    ("", "ReplicationController"): (_TEMPLATE,),
    ("apps", "DaemonSet"): (_TEMPLATE,),
    ("apps", "Deployment"): (_TEMPLATE,),
    ("apps", "ReplicaSet"): (_TEMPLATE,),
    ("apps", "StatefulSet"): (_TEMPLATE,),
    ("batch", "CronJob"): (("spec", "jobTemplate", "spec", "template"),),
    ("batch", "Job"): (_TEMPLATE,),
    ("argoproj.io", "Rollout"): (_TEMPLATE,),
    ("jobset.x-k8s.io", "JobSet"): (("spec", "replicatedJobs", "*", "template", "spec", "template"),),
    ("leaderworkerset.x-k8s.io", "LeaderWorkerSet"): (
        ("spec", "leaderWorkerTemplate", "leaderTemplate"),
        ("spec", "leaderWorkerTemplate", "workerTemplate"),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One object of a document, or one pod in it. `path` leads there from the document's root."""

    path: Path
    kind: str
    name: str
    namespace: str | None

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def holds_pods(kind: str) -> bool:
    """Whether there may be pods in an object of this kind."""
    return kind.endswith("List") or any(kind == known for _, known in _PODS)


def objects_in(document: Any, path: Path = ()) -> Iterator[tuple[Place, dict[str, Any]]]:
    """The objects of a document: itself, or the items of a list."""
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        return
    kind, items = document["kind"], document.get("items")
    if kind.endswith("List") and isinstance(items, list):
        for number, item in enumerate(items):
            if isinstance(item, dict) and "kind" not in item and kind != "List":  # DeploymentList: its items need none
                item = {"apiVersion": document.get("apiVersion"), "kind": kind.removesuffix("List"), **item}
            yield from objects_in(item, (*path, "items", number))
        return
    meta = document.get("metadata")
    meta = meta if isinstance(meta, dict) else {}
    name, namespace = meta.get("name") or meta.get("generateName"), meta.get("namespace")
    place = Place(
        path=path,
        kind=kind,
        name=name if isinstance(name, str) else "without a name",
        namespace=namespace if isinstance(namespace, str) else None,
    )
    yield place, document


def pods_in(item: Mapping[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The pods and pod templates of one object, each with the path to it."""
    group = str(item.get("apiVersion") or "").rpartition("/")[0]
    for pattern in _PODS.get((group, str(item.get("kind"))), ()):
        yield from _matching(item, pattern, ())


def _matching(value: Any, pattern: Path, path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    if not pattern:
        if isinstance(value, dict):
            yield path, value
        return
    step, rest = pattern[0], pattern[1:]
    if step == "*":
        for number, item in enumerate(value if isinstance(value, list) else ()):
            yield from _matching(item, rest, (*path, number))
    elif isinstance(value, dict) and step in value:
        yield from _matching(value[step], rest, (*path, step))


def with_pods(document: Any, pods: Mapping[Path, Any]) -> Any:
    """The document with other pods at these paths; what is not on the way to one is shared with the old one."""
    for path, pod in pods.items():
        document = _replaced(document, path, pod)
    return document


def _replaced(value: Any, path: Path, new: Any) -> Any:
    if not path:
        return new
    copy: Any = list(value) if isinstance(value, list) else dict(value)
    copy[path[0]] = _replaced(value[path[0]], path[1:], new)
    return copy
