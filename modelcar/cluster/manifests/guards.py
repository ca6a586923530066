"""What holds a node to itself: RBAC cannot say `your own`, a ValidatingAdmissionPolicy can (Kubernetes 1.30)."""

from __future__ import annotations

from typing import Final

from modelcar.admission.names import NODE_MODEL_PREFIX
from modelcar.cluster.manifests import parts
from modelcar.cluster.manifests.settings import Installation
from modelcar.cluster.resources import MODEL_NODES, Object

__all__ = ["node_guard"]

_NAME: Final = "registry-shim-node"
_CLAIM: Final = "authentication.kubernetes.io/node-name"


def node_guard(chosen: Installation) -> list[Object]:
    """A shim's account writes what carries its own node's name; and of a Node, no more than our labels."""
    who = f"system:serviceaccount:{chosen.shim_namespace}:registry-shim"
    rules = [
        _rule("", ["nodes"]),
        _rule(MODEL_NODES.group, ["modelnodes", "modelnodes/status"]),
    ]
    same_labels = (
        f"{{left}}.all(k, k.startsWith('{NODE_MODEL_PREFIX}') || (k in {{right}} && {{left}}[k] == {{right}}[k]))"
    )
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": rules},
        "matchConditions": [{"name": "a-shim", "expression": f"request.userInfo.username == '{who}'"}],
        "variables": [
            _part("new", "object", "labels", "{}"),
            _part("old", "oldObject", "labels", "{}"),
            _part("notes", "object", "annotations", "{}"),
            _part("noted", "oldObject", "annotations", "{}"),
            _part("holds", "object", "finalizers", "[]"),
            _part("held", "oldObject", "finalizers", "[]"),
            _part("owners", "object", "ownerReferences", "[]"),
            _part("owned", "oldObject", "ownerReferences", "[]"),
        ],
        "validations": [
            {
                "expression": f"'{_CLAIM}' in request.userInfo.extra"
                f" && request.userInfo.extra['{_CLAIM}'][0] == object.metadata.name",
                "message": "the shim of a node writes to what is named after that node",
            },
            {
                "expression": "request.resource.resource != 'nodes' || ("
                + " && ".join(
                    [
                        same_labels.format(left="variables.new", right="variables.old"),
                        same_labels.format(left="variables.old", right="variables.new"),
                        "variables.notes == variables.noted",
                        "variables.holds == variables.held",
                        "variables.owners == variables.owned",
                        "object.spec == oldObject.spec",
                    ]
                )
                + ")",
                "message": f"the shim of a node changes its labels {NODE_MODEL_PREFIX}… and nothing else of it",
            },
        ],
    }
    api = "admissionregistration.k8s.io/v1"
    bound = {"policyName": _NAME, "validationActions": ["Deny"]}
    return [
        parts.made(api, "ValidatingAdmissionPolicy", _NAME, spec=spec),
        parts.made(api, "ValidatingAdmissionPolicyBinding", _NAME, spec=bound),
    ]


def _part(name: str, whose: str, part: str, none: str) -> Object:
    """A variable: a part of the metadata, or `none` where there is none of it."""
    return {"name": name, "expression": f"has({whose}.metadata.{part}) ? {whose}.metadata.{part} : {none}"}


def _rule(group: str, resources: list[str]) -> Object:
    kinds = {"apiGroups": [group], "apiVersions": ["*"], "resources": resources, "scope": "Cluster"}
    return {**kinds, "operations": ["UPDATE"]}
