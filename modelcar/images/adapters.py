"""An adapter's image says of which image it is an adapter: by name for people, by digest for whoever loads both."""

from __future__ import annotations

from typing import Final

from modelcar.checkpoint import Checkpoint
from modelcar.errors import UsageError
from modelcar.oci import Descriptor

__all__ = ["ADAPTER_BASE_DIGEST", "ADAPTER_BASE_NAME", "base_annotations"]

# Not `org.opencontainers.image.base.*`: that is the image whose layers come first in this one, and here none do.
ADAPTER_BASE_NAME: Final = "dev.modelcar.adapter.base.name"
ADAPTER_BASE_DIGEST: Final = "dev.modelcar.adapter.base.digest"


def base_annotations(checkpoint: Checkpoint, name: str, base: Descriptor) -> dict[str, str]:
    """What an image of `checkpoint` says of the image `base`, which was found as `name`.

    Raises:
        UsageError: `checkpoint` is no adapter.
        MalformedFile: its headers cannot be read.
    """
    if not checkpoint.is_adapter:
        raise UsageError(
            "--adapter-of is for adapters, and these are the weights of a whole model",
            hint="adapters have adapter_model.* or pytorch_lora_weights.*; leave the option out",
        )
    return {ADAPTER_BASE_NAME: name, ADAPTER_BASE_DIGEST: str(base.digest)}
