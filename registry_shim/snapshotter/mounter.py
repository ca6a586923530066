"""Who mounts the lazy layers of an image."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from modelcar.oci import Digest
from registry_shim.snapshotter.records import ModelImage

__all__ = ["LayerMounter"]


class LayerMounter(Protocol):
    """Safe to use from several threads; mounts outlive this process."""

    def check(self, image: ModelImage, layer: Digest) -> None:
        """Raise `ModelcarError` if the layer cannot be shown lazily, so that it is to be pulled as any other: the image
        has no index, the node does not mirror its registry, a policy says no. May ask a registry; bounded in time."""

    def mount(self, image: ModelImage, target: Path) -> None:
        """Mount the lazy layers of the image at `target`, a folder for each (`mounts.layered.folder_name`), read-only,
        readable for everybody; nothing, if they are. Bounded in time.

        Raises:
            ModelcarError: they cannot be now.
        """

    def recover(self, target: Path) -> None:
        """When the snapshotter starts: take down what is mounted at `target` if nobody serves it any more.

        Raises:
            ModelcarError: it does not go.
        """

    def unmount(self, target: Path) -> None:
        """Whatever is mounted at `target` goes, at once for who looks and later for who has it open; nothing, if
        nothing is.

        Raises:
            ModelcarError: it does not go.
        """
