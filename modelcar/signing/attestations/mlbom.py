"""CycloneDX 1.6 ML-BOM: the model with its card, and its files as components."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from modelcar import __version__
from modelcar.checkpoint.facts import modalities_of
from modelcar.checkpoint.licenses import is_listed
from modelcar.layers.index import IndexedFile, IndexedLayer
from modelcar.signing.attestations.files import content_digest, files_of
from modelcar.signing.attestations.image import AttestedImage

__all__ = ["mlbom"]

_HUB: Final = "https://huggingface.co"
_REPO: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
_SERIAL: Final = uuid.UUID("9b0c7d1e-6b0c-5a0e-9c39-5f0a2c6f7f4d")  # namespace of our serial numbers
_MODEL: Final = "model"


def mlbom(image: AttestedImage, *, timestamp: datetime | None = None) -> dict[str, Any]:
    """The predicate, a valid CycloneDX document. A function of its arguments: no clock is read.

    Its serial number is a function of the image's digest, so one image has one BOM.
    """
    files = [_file(file, layer) for file, layer in files_of(image.model)]
    metadata = {
        "timestamp": timestamp.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if timestamp else None,
        "lifecycles": [{"phase": "post-build"}],
        "tools": {"components": [{"type": "application", "name": "modelcar", "version": __version__}]},
        "component": _model(image),
    }
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_SERIAL, str(image.root.digest))}",
        "version": 1,
        "metadata": _known(metadata),
        "components": files,
        "dependencies": [{"ref": _MODEL, "dependsOn": [file["bom-ref"] for file in files]}],
    }


def _model(image: AttestedImage) -> dict[str, Any]:
    facts = image.annotations
    standard = "org.opencontainers.image."
    repo, revision = facts.get("dev.modelcar.source.repo"), facts.get("dev.modelcar.source.revision")
    vendor = facts.get(f"{standard}vendor")
    return _known(
        {
            "type": "machine-learning-model",
            "bom-ref": _MODEL,
            "name": image.name,
            "version": facts.get(f"{standard}version") or revision or str(image.root.digest),
            "description": facts.get(f"{standard}description"),
            "supplier": {"name": vendor} if vendor else None,
            "authors": [{"name": facts[f"{standard}authors"]}] if facts.get(f"{standard}authors") else None,
            "licenses": _licenses(facts.get(f"{standard}licenses", "")),
            "purl": _purl(repo, revision),
            "externalReferences": _references(image, repo),
            "pedigree": _pedigree(image),
            "modelCard": _card(image),
            "properties": _properties(image),
        }
    )


def _card(image: AttestedImage) -> dict[str, Any]:
    task = image.card.text("pipeline_tag")
    inputs, outputs = modalities_of(task)
    family = image.config.get("model_type")
    parameters = {
        "task": task,
        "architectureFamily": family if isinstance(family, str) else None,
        "modelArchitecture": image.annotations.get("dev.modelcar.model.architecture"),
        "datasets": [_dataset(name) for name in dict.fromkeys(image.card.texts("datasets"))],
        "inputs": [{"format": kind} for kind in inputs],
        "outputs": [{"format": kind} for kind in outputs],
    }
    return _known({"modelParameters": _known(parameters)})


def _dataset(name: str) -> dict[str, Any]:
    contents = {"url": f"{_HUB}/datasets/{name}"} if _REPO.fullmatch(name) else None
    return _known({"type": "dataset", "name": name, "contents": contents})


def _pedigree(image: AttestedImage) -> dict[str, Any]:
    """The models that this one was made from."""
    ancestors = [
        _known({"type": "machine-learning-model", "name": name, "purl": _purl(name, None)})
        for name in dict.fromkeys(image.card.texts("base_model"))
    ]
    return {"ancestors": ancestors} if ancestors else {}


def _properties(image: AttestedImage) -> list[dict[str, str]]:
    ours = "dev.modelcar.model."
    values = {"modelcar:image": str(image.root.digest)}
    values |= {f"modelcar:{key.removeprefix(ours)}": v for key, v in image.annotations.items() if key.startswith(ours)}
    dtypes: Counter[str] = Counter()
    for file, _ in files_of(image.model):
        dtypes.update(tensor.dtype for tensor in file.tensors)
    values |= {f"modelcar:tensors:{dtype}": str(count) for dtype, count in sorted(dtypes.items())}
    if languages := image.card.texts("language"):
        values["modelcar:languages"] = ",".join(languages)
    if library := image.card.text("library_name"):
        values["modelcar:library"] = library
    return [{"name": name, "value": value} for name, value in values.items()]


def _file(file: IndexedFile, layer: IndexedLayer) -> dict[str, Any]:
    digest = content_digest(file, layer)
    properties = {
        "modelcar:size": str(file.size),
        "modelcar:role": file.role,
        "modelcar:format": file.format,
        "modelcar:layer": str(layer.listed_as),
        "modelcar:tensors": str(len(file.tensors)) if file.tensors else None,
    }
    return _known(
        {
            "type": "data" if file.role == "weight" else "file",
            "bom-ref": f"file:{file.path}",
            "name": file.path,
            "hashes": _hash(digest.algorithm, digest.hex) if digest else None,
            "properties": [{"name": name, "value": value} for name, value in properties.items() if value],
        }
    )


def _licenses(expression: str) -> list[dict[str, Any]]:
    """SPDX identifiers one by one; names for what SPDX does not list; anything more complicated as it stands."""
    parts = expression.split(" AND ") if expression else []
    if any(" " in part for part in parts):
        return [{"expression": expression}]
    return [{"license": {"id": part} if is_listed(part) else {"name": part}} for part in parts]


def _references(image: AttestedImage, repo: str | None) -> list[dict[str, Any]]:
    references: list[dict[str, Any]] = []
    if url := image.annotations.get("org.opencontainers.image.url"):
        references.append({"type": "website", "url": url})
    if repo and _REPO.fullmatch(repo):
        references.append({"type": "model-card", "url": f"{_HUB}/{repo}"})
    if image.repository:
        digest = image.root.digest
        hashes = _hash(digest.algorithm, digest.hex)
        references.append({"type": "distribution", "url": f"oci://{image.repository}@{digest}", "hashes": hashes})
    return references


def _purl(repo: str | None, revision: str | None) -> str | None:
    """The package URL of a model on the Hub (purl type `huggingface`: version in lower case)."""
    if not repo or not _REPO.fullmatch(repo):
        return None
    version = f"@{quote(revision.lower(), safe='')}" if revision else ""
    return f"pkg:huggingface/{repo}{version}"


def _hash(algorithm: str, content: str) -> list[dict[str, str]]:
    return [{"alg": {"sha256": "SHA-256", "sha512": "SHA-512"}[algorithm], "content": content}]


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, "", [], {})}
