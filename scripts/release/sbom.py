"""What is in the image, as CycloneDX 1.6: every wheel with its hash and licence, by architecture, and the base.

Source: https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from scripts.release.base import BaseLock
from scripts.release.wheels import Wheel

__all__ = ["to_cyclonedx"]


def to_cyclonedx(ours: Wheel, wheels: Mapping[str, Sequence[Wheel]], base: BaseLock, epoch: int) -> dict[str, Any]:
    """The document; nothing in it depends on clock or machine."""
    found: dict[str, tuple[Wheel, list[str]]] = {}
    for architecture in sorted(wheels):
        for wheel in wheels[architecture]:
            found.setdefault(wheel.path.name, (wheel, []))[1].append(architecture)
    components = [_component(wheel, architectures) for _, (wheel, architectures) in sorted(found.items())]
    components.append(_base(base))
    program = {**_component(ours, ()), "type": "application"}
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": "",
        "version": 1,
        "metadata": {
            "timestamp": f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "component": program,
        },
        "components": components,
        "dependencies": [
            {"ref": program["bom-ref"], "dependsOn": sorted({each["bom-ref"] for each in components})},
        ],
    }
    name = json.dumps(document, sort_keys=True)
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, name)}"
    return document


def _component(wheel: Wheel, architectures: Sequence[str]) -> dict[str, Any]:
    name = re.sub(r"[-_.]+", "-", wheel.name).lower()
    result: dict[str, Any] = {
        "type": "library",
        "bom-ref": wheel.path.name,
        "name": name,
        "version": wheel.version,
        "hashes": [{"alg": "SHA-256", "content": wheel.sha256}],
        "purl": f"pkg:pypi/{name}@{quote(wheel.version)}?file_name={quote(wheel.path.name)}",
    }
    if licence := wheel.metadata.get("License-Expression"):
        result["licenses"] = [{"expression": licence}]
    elif (text := wheel.metadata.get("License", "")) and "\n" not in text and len(text) <= 100:
        result["licenses"] = [{"license": {"name": text}}]
    properties = [{"name": "modelcar:architecture", "value": each} for each in architectures]
    return {**result, "properties": properties} if properties else result


def _base(base: BaseLock) -> dict[str, Any]:
    repository, _, digest = base.image.partition("@")
    return {
        "type": "container",
        "bom-ref": base.image,
        "name": repository,
        "version": digest,
        "hashes": [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}],
        "purl": f"pkg:oci/{repository.rpartition('/')[2]}@{quote(digest)}?repository_url={quote(repository, safe='')}",
        "properties": [{"name": "modelcar:tag", "value": base.tag}],
    }
