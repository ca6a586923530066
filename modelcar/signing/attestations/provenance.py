"""SLSA provenance v1 (https://slsa.dev/spec/v1.1/provenance): from what an image was made, by whom, and how."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from modelcar import __version__
from modelcar.signing.attestations.files import content_digest, files_of
from modelcar.signing.attestations.image import AttestedImage
from modelcar.signing.attestations.invocation import Invocation

__all__ = ["BUILD_TYPE", "provenance"]

BUILD_TYPE: Final = "https://modelcar.dev/build-types/image/v1"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


def provenance(
    image: AttestedImage,
    invocation: Invocation,
    *,
    builder: str | None = None,
    finished_on: datetime | None = None,
) -> dict[str, Any]:
    """The predicate. A function of its arguments: no clock is read.

    Args:
        builder: overrides `invocation.builder`.
        finished_on: when the build ended, if that is to be said.
    """
    details: dict[str, Any] = {"builder": {"id": builder or invocation.builder, "version": {"modelcar": __version__}}}
    metadata = {
        "invocationId": invocation.id,
        "finishedOn": finished_on.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if finished_on else None,
    }
    if known := _known(metadata):
        details["metadata"] = known
    definition: dict[str, Any] = {"buildType": BUILD_TYPE, "externalParameters": _parameters(image, invocation)}
    if invocation.variables:
        definition["internalParameters"] = {"environment": dict(sorted(invocation.variables.items()))}
    definition["resolvedDependencies"] = [*_sources(image), *_pipeline(invocation), *_base(image), *_files(image)]
    return {"buildDefinition": definition, "runDetails": details}


def _parameters(image: AttestedImage, invocation: Invocation) -> dict[str, Any]:
    repository, revision = _source(image)
    at = f"@{revision}" if revision else ""
    pipeline = _known({"repository": invocation.repository, "ref": invocation.ref})
    return _known(
        {
            "source": f"hf://{repository}{at}" if repository else None,
            "repository": repository,
            "revision": revision,
            "image": _known(
                {
                    "name": image.repository,
                    "platforms": list(image.platforms),
                    "base": "image" if image.base else "holder" if image.has_holder else "scratch",
                    "root": image.model.root,
                    "modelLayers": len(image.model.layers),
                }
            ),
            "pipeline": pipeline,
        }
    )


def _source(image: AttestedImage) -> tuple[str | None, str | None]:
    return image.annotations.get("dev.modelcar.source.repo"), image.annotations.get("dev.modelcar.source.revision")


def _sources(image: AttestedImage) -> list[dict[str, Any]]:
    repository, revision = _source(image)
    if not repository:
        return []
    digest = {"gitCommit": revision} if revision and _COMMIT.fullmatch(revision) else None
    return [_known({"name": "source", "uri": f"https://huggingface.co/{repository}", "digest": digest})]


def _pipeline(invocation: Invocation) -> list[dict[str, Any]]:
    if not invocation.repository:
        return []
    ref = f"@{invocation.ref}" if invocation.ref else ""
    digest = {"gitCommit": invocation.commit} if invocation.commit else None
    return [_known({"name": "pipeline", "uri": f"{invocation.repository}{ref}", "digest": digest})]


def _base(image: AttestedImage) -> list[dict[str, Any]]:
    return [
        {"name": "base layer", "digest": {layer.digest.algorithm: layer.digest.hex}, "mediaType": layer.media_type}
        for layer in image.base
    ]


def _files(image: AttestedImage) -> list[dict[str, Any]]:
    """Each file by its content's digest, or where that was not recorded by its place in a layer."""
    entries = []
    for file, layer in files_of(image.model):
        entry: dict[str, Any] = {"name": f"{image.model.root}/{file.path}"}
        annotations: dict[str, Any] = {"size": file.size}
        if digest := content_digest(file, layer):
            entry["digest"] = {digest.algorithm: digest.hex}
        else:
            annotations["layer"] = str(layer.listed_as)
            if layer.blob is None:
                annotations["offset"] = file.offset
        entries.append({**entry, "annotations": annotations})
    return entries


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, "", [], {})}
