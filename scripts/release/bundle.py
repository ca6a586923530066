"""The installation as a folder for kustomize, its image by its digest."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from modelcar.cluster.manifests.bundle import bundle
from modelcar.cluster.manifests.printing import stream, to_yaml
from modelcar.cluster.manifests.settings import Installation
from modelcar.layers.bytemap import Literal
from modelcar.layers.tar import Entry, build_tar

__all__ = ["PLACE", "bundle_files", "write_bundle"]

# Where nodes get it without the shim, which gates public registries: kustomize's `images` gives it the name of yours.
PLACE: Final = "registry.example/modelcar/modelcar"
_PARTS = ("definitions", "system", "controller", "shim", "webhook")
_COMPONENTS = ("monitoring",)


def bundle_files(image: str) -> dict[str, str]:
    """The files by name: a base, and a component with what needs the Prometheus operator.

    Raises:
        UsageError: the image comes from a registry that the shim gates.
    """
    base = Installation(image=image)
    more = Installation(image=image, monitoring=True)
    pages = {f"base/{part}.yaml": stream(bundle(base, (part,))) for part in _PARTS}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{part}.yaml" for part in _PARTS],
    }
    components = {
        f"components/{part}/kustomization.yaml": to_yaml(
            {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component", "resources": [f"{part}.yaml"]}
        )
        for part in _COMPONENTS
    }
    monitoring = {f"components/{part}/{part}.yaml": stream(bundle(more, (part,))) for part in _COMPONENTS}
    return {"base/kustomization.yaml": to_yaml(kustomization), **pages, **components, **monitoring}


def write_bundle(file: Path, image: str) -> None:
    """Write a tar of it, the same bytes for the same image. Raises `UsageError` as `bundle_files`."""
    entries = [Entry(path=name, content=Literal(text.encode())) for name, text in bundle_files(image).items()]
    with build_tar(entries).content.open() as reader:
        file.write_bytes(reader.read())
