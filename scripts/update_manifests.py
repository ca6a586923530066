"""Keep examples/kubernetes/base equal to what `modelcar manifests` prints: `python -m scripts.update_manifests`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from modelcar.cluster.manifests.bundle import PARTS, bundle
from modelcar.cluster.manifests.printing import stream, to_yaml
from modelcar.cluster.manifests.settings import Installation

BASE = Path(__file__).parents[1] / "examples/kubernetes/base"
_OPTIONAL = ("monitoring", "unwire")


def files() -> Mapping[str, str]:
    """The files of the base by name."""
    chosen = Installation(monitoring=True)
    pages = {f"{part}.yaml": stream(bundle(chosen, (part,))) for part in PARTS}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{part}.yaml" for part in PARTS if part not in _OPTIONAL],
    }
    return {"kustomization.yaml": to_yaml(kustomization), **pages}


def main() -> None:
    for name, text in files().items():
        (BASE / name).write_text(text)


if __name__ == "__main__":
    main()
