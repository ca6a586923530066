"""Pods that read a model out of lazy layers."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.e2e.conftest import Published

__all__ = ["READ", "pod", "sums"]

READ = "cd /models && sha256sum *.safetensors config.json"


def pod(image: str, *command: str, restart: str = "Never", root: bool = False) -> dict[str, Any]:
    """As the image's own user, or as root."""
    container: dict[str, Any] = {"name": "server", "image": image, "command": list(command)}
    if root:
        container["securityContext"] = {"runAsUser": 0, "runAsGroup": 0}
    return {"metadata": {"name": "server"}, "spec": {"restartPolicy": restart, "containers": [container]}}


def sums(model: Published) -> str:
    names = [*sorted(name for name in model.files if name.endswith(".safetensors")), "config.json"]
    return "".join(f"{hashlib.sha256(model.files[name]).hexdigest()}  {name}\n" for name in names)
