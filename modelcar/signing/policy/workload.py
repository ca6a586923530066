"""`match`: the kinds of Kubernetes objects, and their labels, to which a policy is confined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from modelcar.signing.policy.fields import ClosedFields

__all__ = ["ResourceMatch", "Workload", "parse_match"]

# What policy-controller admits; it refuses a policy for anything else, too.
_RESOURCES: Final = ("pods", "replicasets", "deployments", "statefulsets", "daemonsets", "jobs", "cronjobs")
_OPERATORS: Final = ("In", "NotIn", "Exists", "DoesNotExist")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The object that wants to run an image: known to an admission webhook, to nobody else."""

    group: str
    version: str
    resource: str  # plural: `pods`
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Requirement:
    key: str
    operator: str
    values: tuple[str, ...] = ()

    def met(self, labels: Mapping[str, str]) -> bool:
        there, value = self.key in labels, labels.get(self.key)
        if self.operator == "In":
            return there and value in self.values
        if self.operator == "NotIn":
            return value not in self.values
        return there if self.operator == "Exists" else not there


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceMatch:
    """One entry of `match`: group and resource are compared as they are, version may be `*`."""

    group: str
    version: str
    resource: str
    labels: tuple[_Requirement, ...] = ()

    def matches(self, workload: Workload) -> bool:
        return (
            (self.group, self.resource) == (workload.group, workload.resource)
            and self.version in (workload.version, "*")
            and all(requirement.met(workload.labels) for requirement in self.labels)
        )


def parse_match(fields: ClosedFields) -> tuple[ResourceMatch, ...]:
    """`match` of a policy; empty if it is for everything."""
    return tuple(_match(each) for each in fields.objects("match", ("group", "version", "resource", "selector")))


def _match(fields: ClosedFields) -> ResourceMatch:
    selector = fields.optional_object("selector", ("matchLabels", "matchExpressions"))
    return ResourceMatch(
        group=fields.optional_text("group") or "",
        version=fields.text("version"),  # without one it would match nothing, ever
        resource=fields.choice("resource", _RESOURCES),
        labels=_requirements(selector) if selector else (),
    )


def _requirements(selector: ClosedFields) -> tuple[_Requirement, ...]:
    exact = [
        _Requirement(key=key, operator="In", values=(value,)) for key, value in selector.text_map("matchLabels").items()
    ]
    return (*exact, *map(_expression, selector.objects("matchExpressions", ("key", "operator", "values"))))


def _expression(fields: ClosedFields) -> _Requirement:
    operator = fields.choice("operator", _OPERATORS)
    values = fields.texts("values")
    if bool(values) != (operator in ("In", "NotIn")):
        raise fields.fail("values", f"{'are missing' if not values else 'exclude'} {operator}")
    return _Requirement(key=fields.text("key"), operator=operator, values=values)
