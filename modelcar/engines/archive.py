"""One image as an archive that every engine takes: an OCI layout and what `docker save` writes, in one tar.

podman and Docker 25 and later read `index.json`; Docker before that reads `manifest.json`. Both name the same blobs, so
the weights are in it once; the bytes are ranges of the files that they lie in, and nothing is copied to make it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from modelcar.layers.bytemap import ByteMap
from modelcar.oci import Digest, Manifest, Reference, compact_json
from modelcar.progress import SILENT, Progress
from modelcar.store import Layout, OciLayout
from modelcar.store.archiving import Part, gather_archive
from modelcar.store.names import REF_NAME

__all__ = ["engine_archive", "pieces_of"]

_FULL_NAME: Final = "io.containerd.image.name"  # podman and Docker take the whole name of an image from it
_PIECE: Final = 1 << 20  # bytes


def engine_archive(layout: Layout, manifest: Manifest, name: Reference, *, progress: Progress = SILENT) -> ByteMap:
    """The archive of one image (not an index) in `layout`, which the engine will call `name`.

    `progress` expects its bytes. What does not lie in the user's own store is hashed first.

    Raises:
        SourceChanged: a weight file is not what it was when the image was built.
        InvalidContent: the image is not what its digests say.
    """
    whole_name = f"{name.name}:{name.tag}"
    entry = manifest.descriptor.annotated({REF_NAME: name.tag or "", _FULL_NAME: whole_name})
    saved = {
        "Config": _path(manifest.config.digest),
        "RepoTags": [whole_name],
        "Layers": [_path(layer.digest) for layer in manifest.layers],
    }
    own = isinstance(layout, OciLayout) and layout.has_recipes
    return gather_archive(
        [Part(entry=entry, store=layout, trusted=own)],
        others={"manifest.json": compact_json([saved])},
        progress=progress,
    )


def pieces_of(content: ByteMap, progress: Progress = SILENT) -> Iterator[bytes]:
    """All bytes in order, at most 1 MiB at a time. Raises `SourceChanged`."""
    progress.start("archive", "image", content.size)
    with content.open() as reader:
        while piece := reader.read(_PIECE):
            yield piece
            progress.advance("archive", len(piece))
    progress.finish("archive")


def _path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"
