"""A reader of ModelPack artifacts, written from the model specification v0.0.7 and nothing of ours.

It fetches a manifest by tag, as `modctl` does, and refuses whatever the specification does not allow.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.e2e.support.registries import get

__all__ = ["NotModelPack", "check_config", "unpack_artifact"]

_TYPE: Final = "application/vnd.cncf.model"
_LAYER = re.compile(
    r"application/vnd\.cncf\.model\.(weight|weight\.config|doc|code|dataset)\.v1\.(raw|tar|tar\+gzip|tar\+zstd)"
)
_ANNOTATIONS: Final = {
    "org.cncf.model.filepath",
    "org.cncf.model.file.metadata+json",
    "org.cncf.model.file.mediatype.untested",
}
_MODALITIES: Final = {"text", "image", "audio", "video", "embedding", "other"}
_PRECISIONS: Final = {
    *("float32", "float64", "float16", "bfloat16", "float8_e4m3", "float8_e5m2", "complex32", "complex64"),
    *("complex128", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"),
}
_TEXT = ("createdAt", "family", "name", "docURL", "sourceURL", "version", "revision", "vendor", "title", "description")
_DESCRIPTOR: Final[Mapping[str, type]] = {
    **dict.fromkeys(_TEXT, str),
    **dict.fromkeys(("authors", "datasetsURL", "licenses"), list),
}
_CONFIG: Final[Mapping[str, type]] = {
    **dict.fromkeys(("architecture", "format", "paramSize", "precision", "quantization"), str),
    "capabilities": dict,
}
_CAPABILITIES: Final[Mapping[str, type]] = {
    **dict.fromkeys(("inputTypes", "outputTypes", "languages"), list),
    **dict.fromkeys(("reasoning", "toolUsage", "reward"), bool),
    "knowledgeCutoff": str,
}


class NotModelPack(Exception):
    """Something that the specification does not allow."""


def unpack_artifact(address: str, repository: str, tag: str, target: Path) -> dict[str, Any]:
    """Fetch an artifact over plain HTTP and unpack its layers into `target`; returns its config, checked."""
    manifest = json.loads(get(address, f"{repository}/manifests/{tag}"))
    _expect(manifest.get("schemaVersion") == 2, "schemaVersion")
    _expect(manifest.get("mediaType") == "application/vnd.oci.image.manifest.v1+json", "mediaType")
    _expect(manifest.get("artifactType") == f"{_TYPE}.manifest.v1+json", "artifactType")
    _expect(manifest["config"].get("mediaType") == f"{_TYPE}.config.v1+json", "config.mediaType")
    config: dict[str, Any] = json.loads(_blob(address, repository, manifest["config"]))
    check_config(config)
    diff_ids = config["modelfs"]["diffIds"]
    _expect(len(diff_ids) == len(manifest["layers"]), "as many diffIds as layers")
    for layer, diff_id in zip(manifest["layers"], diff_ids, strict=True):
        _unpack_layer(layer, _blob(address, repository, layer), diff_id, target)
    return config


def check_config(config: Any) -> None:
    """Hold a model configuration against the specification: required members, types, and no others at any level."""
    _members(config, {"descriptor": dict, "config": dict, "modelfs": dict}, "", required=True)
    _members(config["descriptor"], _DESCRIPTOR, "descriptor.")
    _members(config["config"], _CONFIG, "config.")
    _members(config["modelfs"], {"type": str, "diffIds": list}, "modelfs.", required=True)
    _expect(config["modelfs"]["type"] == "layers", "modelfs.type")
    _expect(len(config["modelfs"]["diffIds"]) > 0, "modelfs.diffIds")
    _expect(config["descriptor"].get("name") != "", "descriptor.name")
    size = config["config"].get("paramSize", "1B")
    _expect(bool(re.fullmatch(r"\d+(\.\d)?[KMBTQkmbtq]", size)), "config.paramSize")
    precisions = config["config"].get("precision", "bool").split(",")
    _expect(_PRECISIONS.issuperset(precisions), "config.precision")
    _check_capabilities(config["config"].get("capabilities", {}))


def _check_capabilities(capabilities: dict[str, Any]) -> None:
    _members(capabilities, _CAPABILITIES, "config.capabilities.")
    for member in ("inputTypes", "outputTypes"):
        _expect(_MODALITIES.issuperset(capabilities.get(member, [])), f"config.capabilities.{member}")
    languages = capabilities.get("languages", [])
    _expect(all(re.fullmatch("[a-z]{2}", language) for language in languages), "config.capabilities.languages")


def _members(found: Any, allowed: Mapping[str, type], where: str, *, required: bool = False) -> None:
    _expect(isinstance(found, dict), where or "the config")
    for name, value in found.items():
        _expect(name in allowed, f"{where}{name} is not in the specification")
        _expect(isinstance(value, allowed[name]), f"{where}{name}")
        if isinstance(value, list):
            _expect(all(isinstance(v, str) for v in value), f"{where}{name}")
    _expect(not required or found.keys() == allowed.keys(), f"{where}: something is missing")


def _unpack_layer(layer: dict[str, Any], blob: bytes, diff_id: str, target: Path) -> None:
    kind = _LAYER.fullmatch(layer["mediaType"])
    _expect(kind is not None and kind[2] in ("raw", "tar"), f"layer media type {layer['mediaType']}")
    assert kind is not None
    annotations = layer.get("annotations", {})
    unknown = {a for a in annotations if a.startswith("org.cncf.model.")} - _ANNOTATIONS
    _expect(not unknown, f"annotations {unknown}")
    path = annotations.get("org.cncf.model.filepath")
    _expect(bool(path) and not path.startswith("/") and ".." not in path.split("/"), f"filepath {path}")
    _expect(f"sha256:{hashlib.sha256(blob).hexdigest()}" == diff_id, f"diff id of {path}")
    if kind[2] == "raw":
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_bytes(blob)
        return
    with tarfile.open(fileobj=io.BytesIO(blob), mode="r:") as tar:
        names = tar.getnames()
        _expect(names == sorted(names), f"{path}: entries in lexicographical order")
        _expect(all(m.isreg() or m.isdir() for m in tar), f"{path}: files and folders only")
        for member in tar:
            if (content := tar.extractfile(member)) is not None:
                (target / member.name).parent.mkdir(parents=True, exist_ok=True)
                (target / member.name).write_bytes(content.read())
    _expect((target / path).exists(), f"{path} is what the layer holds")


def _blob(address: str, repository: str, descriptor: dict[str, Any]) -> bytes:
    content = get(address, f"{repository}/blobs/{descriptor['digest']}")
    _expect(len(content) == descriptor["size"], f"size of {descriptor['digest']}")
    _expect(f"sha256:{hashlib.sha256(content).hexdigest()}" == descriptor["digest"], descriptor["digest"])
    return content


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise NotModelPack(what)
