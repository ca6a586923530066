"""What the cluster wants of this node, as files that the shim follows: a list of images, and logins for them. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from modelcar.admission.resolve.logins import Keyring, PullSecret
from modelcar.cluster.resources import Object
from modelcar.errors import InvalidReference
from modelcar.oci import Reference, compact_json
from registry_shim.cluster.seen import full_name

__all__ = ["SecretName", "image_list", "logins", "models_of", "pull_secrets"]

SecretName = tuple[str, str]
"""Namespace and name."""


def models_of(model_node: Object | None) -> list[dict[str, Any]]:
    """`spec.models`, of a ModelNode that may not be there."""
    models = ((model_node or {}).get("spec") or {}).get("models") or []
    return [model for model in models if isinstance(model, dict) and isinstance(model.get("image"), str)]


def image_list(models: Iterable[Mapping[str, Any]]) -> bytes:
    """The content of a list in the shim's `precache.d`. What is no image is left out: it would spoil the others."""
    images: list[dict[str, Any]] = []
    for model in models:
        reference = full_name(model["image"])
        if reference is not None and all(image["reference"] != reference for image in images):
            image = {"reference": reference, "priority": int(model.get("priority") or 0), "pin": bool(model.get("pin"))}
            image |= {"refresh": model["refreshSeconds"]} if model.get("refreshSeconds") else {}
            image |= {"most": model["mostBytes"]} if model.get("mostBytes") else {}
            images.append(image)
    return json.dumps({"images": images}, indent=1).encode() + b"\n"


def pull_secrets(models: Iterable[Mapping[str, Any]]) -> dict[str, SecretName]:
    """By image the secret with its logins."""
    found = {}
    for model in models:
        secret = model.get("pullSecret")
        if isinstance(secret, dict) and secret.get("namespace") and secret.get("name"):
            found[str(model["image"])] = (str(secret["namespace"]), str(secret["name"]))
    return found


def logins(secrets: Mapping[str, PullSecret]) -> tuple[bytes, dict[str, str]]:
    """A Docker configuration with a login for each repository, and for no more than that; and what is wrong, by image.

    Args:
        secrets: by image.
    """
    auths: dict[str, dict[str, str]] = {}
    problems: dict[str, str] = {}
    for image, secret in sorted(secrets.items()):
        try:
            reference = Reference.parse(image)
        except InvalidReference:
            continue
        keyring = Keyring.of([secret])
        found = keyring.logins(reference)
        if found:
            pair = f"{found[0].username}:{found[0].password}".encode()
            auths[f"{reference.registry}/{reference.repository}"] = {"auth": base64.b64encode(pair).decode()}
        else:
            reason = f"the pull secret {secret.name} has no login for {reference.registry}/{reference.repository}"
            problems[image] = next(iter(keyring.problems), reason)
    return compact_json({"auths": auths}), problems
