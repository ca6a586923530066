"""CustomResourceDefinitions: ModelCache, which people write, and ModelNode, which controller and nodes write.

docs/formats/model-cache.md describes both.
"""

from __future__ import annotations

from typing import Any, Final

from modelcar.cluster.manifests.schemas import Schema, array, choice, count, integer, mapping, record, text, yes_or_no
from modelcar.cluster.names import MANAGED_BY, NodePhase
from modelcar.cluster.resources import MODEL_CACHES, MODEL_NODES, Object, Resource

__all__ = ["model_cache", "model_node"]

_PHASES: Final = tuple(str(phase) for phase in NodePhase)
_IMAGE_RULES: Final = [
    {"rule": "self == oldSelf", "message": "the image of a ModelCache stays; make another ModelCache for another one"},
    {"rule": "!self.contains('://')", "message": "the image is written without a scheme: ghcr.io/acme/llm:v1"},
]


def model_cache() -> Object:
    columns = [
        _column("Image", ".spec.image", "string"),
        _column("Ready", ".status.summary.ready", "string"),
        _column("Size", ".status.summary.size", "string"),
        _column("Progress", ".status.summary.progress", "string"),
        _column("Phase", ".status.phase", "string", priority=1),
        _column("Age", ".metadata.creationTimestamp", "date"),
    ]
    spec = record(
        "What to keep on which nodes.",
        {
            "image": _image("The image, as containers name theirs: ghcr.io/acme/llm:v1, or with a digest."),
            "nodeSelector": _selector(),
            "priority": integer(
                "What has more comes first, and where there is no room for all, stays.",
                default=0,
                minimum=-1_000_000,
                maximum=1_000_000,
            ),
            "pin": yes_or_no(
                "Keep it whatever else needs room. Without, it gives way to what is pulled.", default=True
            ),
            "pullSecret": _pull_secret(),
            "refreshSeconds": integer("Look so often whether the tag has moved.", minimum=60, maximum=31_536_000),
        },
        required=("image",),
    )
    return _definition(MODEL_CACHES, "modelcache", ["mdc"], columns, spec, _cache_status())


def model_node() -> Object:
    columns = [
        _column("Ready", ".status.summary.ready", "string"),
        _column("Used", ".status.summary.used", "string"),
        _column("Problem", ".status.problem", "string"),
        _column("Age", ".metadata.creationTimestamp", "date"),
    ]
    model = record(
        "An image that this node shall have.",
        {
            "image": text("As its ModelCaches name it.", most=512),
            "priority": integer("The highest of its ModelCaches."),
            "pin": yes_or_no("Keep it whatever else needs room."),
            "caches": array("The ModelCaches that want it.", text("A name.", most=253), most=1000),
            "pullSecret": _pull_secret(),
            "refreshSeconds": count("Look so often whether the tag has moved."),
            "mostBytes": count("Do not fetch it if it has more."),
        },
        required=("image",),
    )
    spec = record(
        "The controller's: what this node shall have.",
        {
            "models": array("The most urgent first.", model, most=1000, key="image"),
            "limit": count("Bytes that all of them may come to; from the node's annotation modelcar.dev/cache-limit."),
        },
    )
    return _definition(MODEL_NODES, "modelnode", ["mdn"], columns, spec, _node_status())


def _definition(
    resource: Resource, singular: str, short: list[str], columns: list[Object], spec: Schema, status: Schema
) -> Object:
    schema = record(
        f"A {resource.kind}; see docs/formats/model-cache.md.",
        {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
        required=("spec",),
    )
    version = {
        "name": resource.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
    }
    names = {"plural": resource.plural, "singular": singular, "kind": resource.kind, "shortNames": short}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.group}", "labels": dict(MANAGED_BY)},
        "spec": {
            "group": resource.group,
            "names": {**names, "listKind": f"{resource.kind}List", "categories": ["modelcar"]},
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "versions": [version],
        },
    }


def _column(name: str, path: str, kind: str, **more: Any) -> Object:
    return {"name": name, "jsonPath": path, "type": kind, **more}


def _image(what: str) -> Schema:
    pattern = r"^[A-Za-z0-9][A-Za-z0-9._/:@\[\]-]*$"
    return text(what, most=512, minLength=1, pattern=pattern) | {"x-kubernetes-validations": _IMAGE_RULES}


def _selector() -> Schema:
    expression = record(
        "A condition on a label.",
        {
            "key": text("The label.", most=317),
            "operator": choice("How it is compared.", "In", "NotIn", "Exists", "DoesNotExist"),
            "values": array("What with.", text("A value.", most=63), most=100),
        },
        required=("key", "operator"),
    )
    return record(
        "The nodes, by their labels; without it all that run Linux.",
        {
            "matchLabels": mapping("Labels that a node has.", most=50),
            "matchExpressions": array("Conditions that hold, too.", expression, most=50),
        },
    )


def _pull_secret() -> Schema:
    name = {"minLength": 1, "pattern": r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"}
    return record(
        "A secret of type kubernetes.io/dockerconfigjson, which the nodes must be allowed to get.",
        {
            "namespace": text("Where it lies.", most=63, **name),
            "name": text("What it is called.", most=253, **name),
        },
        required=("namespace", "name"),
    )


def _cache_status() -> Schema:
    node = record(
        "One node.",
        {
            "node": text("Its name.", most=253),
            "phase": choice("How far it is.", *_PHASES),
            "progress": text("In percent.", most=8),
            "reason": text("Why it is not further.", most=500),
        },
        required=("node", "phase"),
    )
    copies = {name: count(f"Nodes: {name}.") for name in ("wanted", *(phase.lower() for phase in _PHASES))}
    summary = {name: text(f"For people: {name}.", most=32) for name in ("ready", "size", "progress")}
    return record(
        "The controller's: how far it is.",
        {
            "observedGeneration": count("The generation that this is about."),
            "phase": choice("Of all copies together.", *_PHASES, "Deleting"),
            "digest": text("What the image is on most nodes.", most=140),
            "size": count("Bytes of one copy."),
            "copies": record("How many nodes.", copies),
            "summary": record("What kubectl shows.", summary),
            "nodes": array("One by one, those with a problem first; at most a hundred.", node, most=100, key="node"),
            "nodesLeftOut": count("Nodes that are not among them."),
            "conditions": array("Ready, and DeletionBlocked while a pod holds it.", _condition(), most=8, key="type"),
        },
    )


def _condition() -> Schema:
    return record(
        "As Kubernetes has conditions.",
        {
            "type": text("Which one.", most=316),
            "status": choice("Whether it holds.", "True", "False", "Unknown"),
            "reason": text("In one word.", most=1024),
            "message": text("For people.", most=4096),
            "lastTransitionTime": {"type": "string", "format": "date-time", "description": "Since when."},
            "observedGeneration": count("The generation that it is about."),
        },
        required=("type", "status", "reason", "message", "lastTransitionTime"),
    )


def _node_status() -> Schema:
    model = record(
        "One of the images in the spec.",
        {
            "image": text("As in the spec.", most=512),
            "phase": choice("How far it is.", *_PHASES),
            "digest": text("What its name was resolved to.", most=140),
            "done": count("Bytes that are here."),
            "size": count("Bytes in all; 0 or absent while nobody knows."),
            "rate": count("Bytes a second that arrive."),
            "reason": text("Why it is not further.", most=500),
        },
        required=("image", "phase"),
    )
    summary = {name: text(f"For people: {name}.", most=48) for name in ("ready", "used")}
    return record(
        "The node's: what it has.",
        {
            "observedGeneration": count("The generation of the spec that this is about."),
            "models": array("As in the spec.", model, most=1000, key="image"),
            "capacity": count("Bytes that its shim has for models."),
            "used": count("Bytes that its shim takes."),
            "problem": text("Why nothing can be fetched at the moment: the shim does not answer, say.", most=500),
            "summary": record("What kubectl shows.", summary),
        },
    )
