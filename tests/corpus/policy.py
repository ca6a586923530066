"""The policy under which a specimen with a forbidden licence is malicious."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

__all__ = ["licence_policy"]


def licence_policy(denied: Sequence[str]) -> str:
    """A ModelPolicy that forbids these SPDX licences everywhere."""
    spec = {"images": [{"glob": "**"}], "licenses": {"denied": [*denied]}}
    header = {"apiVersion": "policy.modelcar.dev/v1alpha1", "kind": "ModelPolicy", "metadata": {"name": "licences"}}
    return yaml.safe_dump({**header, "spec": spec})
