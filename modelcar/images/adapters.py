"""An adapter's image says of which image it is an adapter: by name for people, by digest for whoever loads both."""

from __future__ import annotations

from typing import Final

from modelcar.checkpoint import Checkpoint
from modelcar.errors import UsageError
from modelcar.images.local import look_up
from modelcar.oci import Descriptor, Reference
from modelcar.packaging.fetch import RangedSource, RegistrySource, StoreSource
from modelcar.registry import Registry
from modelcar.store import LocalStore

__all__ = ["ADAPTER_BASE_DIGEST", "ADAPTER_BASE_NAME", "base_annotations", "find_base"]

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


def find_base(ref: Reference, store: LocalStore, registry: Registry) -> tuple[RangedSource, Descriptor]:
    """Where the image `ref` is, and what it is there: the local store if that has it, else its registry.

    The caller holds `store.session()`. What is returned reads exactly that image, wherever a tag has moved since.

    Raises:
        NotFound: it is in neither.
        RegistryError: the registry refuses or cannot be reached.
    """
    if (root := look_up(store, ref)) is not None:
        return StoreSource(store.content, root), root
    root = registry.resolve(ref)
    return RegistrySource(ref.with_digest(root.digest), registry), root
