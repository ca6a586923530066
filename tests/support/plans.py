"""Plans of mounts for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelcar.mounts.plan import MountedFile, MountedLink, MountPlan
from modelcar.oci import Descriptor, Digest, media_types

__all__ = ["plan_of"]


def plan_of(
    blobs: Sequence[int], files: Mapping[str, tuple[int, int, int]], links: Mapping[str, str] | None = None
) -> MountPlan:
    """`blobs` are sizes; a file is the number of its blob, its offset and its size."""
    return MountPlan(
        reference="registry.test/acme/model:v1",
        digest=Digest.of(b"manifest"),
        blobs=tuple(
            Descriptor(media_type=media_types.LAYER_TAR, digest=Digest.of(b"%d" % n), size=size)
            for n, size in enumerate(blobs)
        ),
        files=tuple(
            MountedFile(path=path, blob=blob, offset=offset, size=size)
            for path, (blob, offset, size) in sorted(files.items())
        ),
        links=tuple(MountedLink(path=path, target=target) for path, target in sorted((links or {}).items())),
    )
