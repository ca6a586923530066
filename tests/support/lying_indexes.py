"""Images whose model index is not as it should be, or whose blobs are not as the index says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from modelcar.layers.bytemap import ByteMap, Literal
from modelcar.layers.index import INDEX_PATH
from modelcar.layers.tar import Entry, build_tar
from modelcar.oci import Descriptor, Digest, Index, Manifest, parse_manifest
from modelcar.packaging.inspect import index_layer_of, parse_index_layer
from modelcar.store import Store, read_document, write_document
from modelcar.store.memory import MemoryStore

__all__ = ["LyingImage", "first_manifest", "lie"]


class _Gullible(MemoryStore):
    def take(self, digest: Digest, content: bytes) -> None:
        """Whatever it is called."""
        self._blobs[digest] = ByteMap([Literal(content)])


@dataclass(frozen=True, kw_only=True)
class LyingImage:
    """An image in memory, by its manifest."""

    root: Descriptor
    store: MemoryStore


def first_manifest(store: Store, root: Descriptor) -> Descriptor:
    """The manifest of the first platform of an image index."""
    index = parse_manifest(read_document(store, root), root.media_type)
    assert isinstance(index, Index)
    return index.manifests[0]


def lie(
    store: Store,
    image: Descriptor,
    *,
    index: Callable[[Any], None] = lambda _: None,
    blob: Callable[[bytearray, int], None] = lambda _blob, _number: None,
    rehash: bool = False,
) -> LyingImage:
    """A copy of the image manifest `image`, signed by whoever signs lies.

    Args:
        index: edits the index document.
        blob: edits the bytes of the layer with this number, and not how many they are.
        rehash: manifest and index name the digest of the edited bytes; the chunks are what they were all the same.
    """
    copy = _Gullible()
    manifest = parse_manifest(read_document(store, image), image.media_type)
    assert isinstance(manifest, Manifest)
    named = index_layer_of(manifest)
    assert named is not None
    document = json.loads(parse_index_layer(read_document(store, named)).to_json())
    layers = []
    for number, layer in enumerate(manifest.layers):
        if layer == named:
            layers.append(layer)
            continue
        with store.open(layer.digest) as reader:
            content = bytearray(reader.read())
        blob(content, number)
        digest = Digest.of(bytes(content)) if rehash else layer.digest
        for entry in document["layers"]:
            if entry["digest"] == str(layer.digest):
                entry["digest"] = str(digest)
        copy.take(digest, bytes(content))
        layers.append(replace(layer, digest=digest))
    index(document)
    with build_tar([Entry(path=INDEX_PATH, content=Literal(json.dumps(document).encode()))]).content.open() as reader:
        written = reader.read()
    write_document(copy, written)
    place = manifest.layers.index(named)
    layers[place] = replace(named, digest=Digest.of(written), size=len(written))
    changed = Manifest(config=manifest.config, layers=tuple(layers), annotations=dict(manifest.annotations))
    write_document(copy, read_document(store, manifest.config))
    write_document(copy, changed.content)
    return LyingImage(root=changed.descriptor, store=copy)
