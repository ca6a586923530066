"""Which models this node has, as labels that the scheduler sees. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from modelcar.admission.names import NODE_MODEL_PREFIX, NODE_MODEL_READY, node_label
from registry_shim.cluster.seen import ShownImage

__all__ = ["MOST", "changes"]

MOST: Final = 50
"""Labels on one node; what was used longest ago has none."""


def changes(labels: Mapping[str, str], images: Iterable[ShownImage], wanted: Collection[str]) -> dict[str, str | None]:
    """A merge patch for `labels`: `ready` for each image that is whole and may be served, `None` for what is gone.

    Args:
        labels: of the node, as they are.
        wanted: digests of what ModelCaches keep here: these come first.
    """
    here = [image for image in images if image.whole and image.refused is None]
    here.sort(key=lambda image: (image.digest not in wanted, not image.pinned, -image.used, image.digest))
    shall = {node_label(image.digest): NODE_MODEL_READY for image in here[:MOST]}
    gone = {key for key in labels if key.startswith(NODE_MODEL_PREFIX)} - shall.keys()
    return {key: value for key, value in shall.items() if labels.get(key) != value} | dict.fromkeys(sorted(gone))
