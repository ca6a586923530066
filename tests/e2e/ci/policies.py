"""Policies about keys of a pipeline."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.e2e.ci.conftest import Bench

__all__ = ["policy_of"]


def policy_of(bench: Bench, key: str) -> Path:
    document = {
        "apiVersion": "policy.sigstore.dev/v1beta1",
        "kind": "ClusterImagePolicy",
        "metadata": {"name": "signed-by-ci"},
        "spec": {
            "images": [{"glob": "**"}],
            "authorities": [{"name": "ci", "key": {"data": (bench.keys / f"{key}.pub").read_text()}}],
        },
    }
    file = bench.folder / f"{key}.yaml"
    file.write_text(yaml.safe_dump(document))
    return file
