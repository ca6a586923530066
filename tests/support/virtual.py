"""An artifact of virtual layers in a store that takes recipes."""

from __future__ import annotations

from pathlib import Path

from modelcar.layers.hashing import hash_layer
from modelcar.layers.tar import build_tar
from modelcar.oci import Descriptor, Manifest, media_types
from modelcar.store import OciLayout, write_document
from tests.support.trees import entries_of, random_tree

__all__ = ["VirtualImage"]


class VirtualImage:
    """Two layers of one shard each, under `folder/model`; `tree` has the sources to tamper with."""

    def __init__(self, folder: Path, store: OciLayout, *, size: int = 300_000) -> None:
        self.store = store
        self.tree = random_tree(folder / "model", {f"models/shard{i}": size for i in range(2)})
        self.layers = []
        for path, source in self.tree.items():
            tar = build_tar(entries_of({path: source}))
            digest = hash_layer(tar).digest
            store.add_recipe(digest, tar.content)
            self.layers.append(Descriptor(media_type=media_types.LAYER_TAR, digest=digest, size=tar.content.size))
        manifest = Manifest(config=Descriptor.of(media_types.EMPTY, b"{}"), layers=tuple(self.layers))
        write_document(store, b"{}")
        write_document(store, manifest.content)
        self.root = manifest.descriptor
