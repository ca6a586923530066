"""Objects as YAML: the same bytes for the same objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from modelcar.cluster.resources import Object

__all__ = ["stream", "to_yaml"]


class _Dumper(yaml.SafeDumper):
    """Lists are indented, texts of several lines are blocks, and nothing is written by reference."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # PyYAML's signature
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002  # PyYAML's signature
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(value: Object) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000_000)


def stream(objects: Iterable[Object]) -> str:
    """Several documents."""
    return "".join(f"---\n{to_yaml(each)}" for each in objects)
