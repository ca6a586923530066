"""The two sides of a comparison."""

from __future__ import annotations

import hashlib

from modelcar.checkpoint.formats.header import Tensor
from modelcar.images.described import DescribedModel
from modelcar.images.differences import Side
from modelcar.layers.index import IndexedFile
from modelcar.oci import Descriptor, Digest

__all__ = ["TAR", "A", "B", "file", "side"]

TAR = "application/vnd.oci.image.layer.v1.tar"


def _digest(content: str) -> Digest:
    return Digest("sha256", hashlib.sha256(content.encode()).hexdigest())


def file(path: str, content: str, *tensors: tuple[str, int, str]) -> IndexedFile:
    """With a digest of `content`; a tensor is its name, bytes and dtype."""
    found = tuple(
        Tensor(name=name, dtype=dtype, shape=(2, size // 8), offset=0, size=size) for name, size, dtype in tensors
    )
    size = sum(t.size for t in found) or len(content)
    return IndexedFile(path=path, offset=0, size=size, role="weight", digest=_digest(content), tensors=found)


def side(*files: IndexedFile, image: bool = True) -> Side:
    """An image with a layer a file."""
    layers = {f.path: Descriptor(media_type=TAR, digest=f.digest, size=f.size) for f in files if f.digest and image}
    return Side(model=DescribedModel(files=files, config={}, layers=layers))


A = (
    file("one.safetensors", "same", ("w.0", 800, "F32"), ("w.1", 80, "F32")),
    file("two.safetensors", "before", ("w.2", 400, "F32"), ("w.3", 400, "F32"), ("gone", 40, "F32")),
    file("old.json", "old"),
)


B = (
    file("one.safetensors", "same", ("w.0", 800, "F32"), ("w.1", 80, "F32")),
    file("two.safetensors", "after", ("w.2", 400, "F32"), ("w.3", 200, "BF16")),
    file("new.json", "newer"),
)
