"""Is an image what it says it was made of? Its files against those that the Hub lists at the commit that it names.

The image's own word for its files is the model index, which its digest covers; that index and layers agree over all
bytes is what `modelcar scan` finds out, and nodes when a layer completes. No weight is read here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelcar.checkpoint.hub import HubOptions, parse_hub_name
from modelcar.checkpoint.hub_source import HubSource, open_hub
from modelcar.checkpoint.remote import RemoteFile, read_range
from modelcar.errors import NotVerified, WorldError
from modelcar.layers.index import IndexedFile, IndexedLayer, ModelIndex
from modelcar.oci import Digest

__all__ = ["VerifiedSource", "verify_source"]

_REPO: Final = "dev.modelcar.source.repo"
_REVISION: Final = "dev.modelcar.source.revision"
_MOST_READ: Final = 64 << 20  # bytes; the Hub publishes the sha256 of every file of more than 10 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedSource:
    """`layers`: the files in each, by the layer's digest. `left_out`: what lies at the commit and not in the image."""

    repo: str
    revision: str
    layers: Mapping[Digest, tuple[str, ...]]
    left_out: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "repo": self.repo,
            "revision": self.revision,
            "layers": {str(digest): list(paths) for digest, paths in self.layers.items()},
            "leftOut": list(self.left_out),
        }


def verify_source(
    model: ModelIndex, annotations: Mapping[str, str], name: str, options: HubOptions | None = None
) -> VerifiedSource:
    """Check every file of the image called `name` against the Hub.

    Raises:
        NotVerified: it does not say where it came from, or has other files than lie there; all of them are told.
        SourceError: there is no such model or commit any more.
        WorldError: the Hub refuses or cannot be reached.
    """
    repo, revision = annotations.get(_REPO), annotations.get(_REVISION)
    if not repo or not revision:
        raise NotVerified(
            f"{name} does not say which commit on the Hub it was made of", hint="images of hf:// sources do"
        )
    options = options or HubOptions()
    wanted = parse_hub_name(f"{repo}@{revision}", options)
    source = open_hub(wanted, options)
    if not isinstance(source, HubSource) or source.provenance.revision != revision:
        raise WorldError(f"{wanted.endpoint} does not list {wanted} now", hint="check the network, then try again")
    listed = {file.path: file for file in source.files}
    reasons = tuple(_differences(model, listed, source))
    if reasons:
        raise NotVerified(
            f"{name} is not what {wanted} holds", reasons=reasons, hint=f"`modelcar build {wanted}` makes one that is"
        )
    return VerifiedSource(
        repo=repo,
        revision=revision,
        layers={layer.digest: tuple(file.path for file in layer.files) for layer in model.layers},
        left_out=tuple(sorted(listed.keys() - {file.path for _, file in _files(model)})),
    )


def _files(model: ModelIndex) -> Iterator[tuple[IndexedLayer, IndexedFile]]:
    for layer in model.layers:
        for file in layer.files:
            yield layer, file


def _differences(model: ModelIndex, listed: Mapping[str, RemoteFile], source: HubSource) -> Iterator[str]:
    for _, file in _files(model):
        there = listed.get(file.path)
        if there is None:
            yield f"{file.path} does not lie there"
        elif there.size != file.size:
            yield f"{file.path} has {file.size} bytes, and {there.size} there"
        elif file.digest is None:
            yield f"the image does not record the digest of {file.path}: it was built of a copy"
        elif file.digest.hex != (promised := there.sha256 or _hashed(source, there)):
            yield f"{file.path} hashes to {file.digest.short}…, and to {promised[:12]}… there"


def _hashed(source: HubSource, file: RemoteFile) -> str:
    if file.size > _MOST_READ:
        raise WorldError(f"the Hub does not say what {file.path} hashes to, and it is too large to be read for that")
    return hashlib.sha256(read_range(source, file, 0, file.size)).hexdigest()
