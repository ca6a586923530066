"""An adapter's image says of which image it is an adapter, and may have that one's model beneath its own files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from modelcar.checkpoint import Checkpoint
from modelcar.errors import UsageError
from modelcar.images.local import look_up
from modelcar.oci import Descriptor, Reference
from modelcar.packaging.annotations import ADAPTER_BASE_DIGEST, ADAPTER_BASE_NAME
from modelcar.packaging.fetch import RangedSource, RegistrySource, StoreSource
from modelcar.packaging.model_base import ModelBase, read_model_base
from modelcar.registry import Registry
from modelcar.store import LocalStore

__all__ = ["NO_ADAPTER", "Adapter", "AdapterRequest", "note_base", "prepare_adapter"]

_FOLDER: Final = "adapters"
_MODEL: Final = "dev.modelcar.model."
_LICENSES: Final = "org.opencontainers.image.licenses"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterRequest:
    """What an image shall say, and have, of the model that its files are an adapter of.

    Attributes:
        base: that model's image.
        with_base: whether the image has the base's layers, too.
        name: its files lie in `adapters/NAME/`; without, at the top, or with the base in the folder of `default_name`.
        default_name: for an image with its base.
    """

    base: Reference | None
    with_base: bool = False
    name: str | None = None
    default_name: str = "adapter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """What `build_image` takes of it. Attributes: folder: where in the model the files go, "" for its top."""

    annotations: Mapping[str, str] = field(default_factory=dict)
    beneath: ModelBase | None = None
    folder: str = ""


NO_ADAPTER: Final = Adapter()


def prepare_adapter(
    request: AdapterRequest, checkpoint: Checkpoint, store: LocalStore | None, registry: Registry
) -> Adapter:
    """Find the base, and read what its documents say of its layers; no layer is fetched, and nothing is written.

    Raises:
        UsageError: `checkpoint` is no adapter, or the request or the base makes no sense.
        InvalidContent: the base's documents disagree, or a header of the checkpoint cannot be read.
        NotFound: there is no such base.
        RegistryError: the registry refuses or cannot be reached.
    """
    name = request.name if request.name is not None else request.default_name if request.with_base else None
    if request.with_base and request.base is None:
        raise UsageError("nothing says which base the image shall have", hint="name it with --adapter-of")
    if name is not None and not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be an adapter's name",
            hint="it has letters, digits and . _ -, and begins with no . _ -",
        )
    if request.base is None and name is None:
        return NO_ADAPTER
    if not checkpoint.is_adapter:
        option = "--adapter-of" if request.base is not None else "--adapter-name"
        raise UsageError(
            f"{option} is for adapters, and these are the weights of a whole model",
            hint="adapters have adapter_model.* or pytorch_lora_weights.*; leave the option out",
        )
    folder = f"{_FOLDER}/{name}" if name is not None else ""
    if request.base is None:
        return Adapter(folder=folder)
    source, root = _find_base(request.base, store, registry)
    annotations = {ADAPTER_BASE_NAME: str(request.base), ADAPTER_BASE_DIGEST: str(root.digest)}
    if not request.with_base:
        return Adapter(annotations=annotations, folder=folder)
    beneath = read_model_base(source, root, str(request.base))
    return Adapter(annotations={**_of_both(checkpoint, beneath), **annotations}, beneath=beneath, folder=folder)


def note_base(adapter: Adapter, base: Reference | None, store: LocalStore) -> None:
    """Note of the base's layers that are not in `store` that they are where the base is. The caller holds
    `store.session()`."""
    if adapter.beneath is None or base is None:
        return
    for layer in adapter.beneath.layers:
        if layer.digest not in store.content and store.content.elsewhere(layer.digest) is None:
            store.content.note_elsewhere(layer.digest, base.name)


def _of_both(checkpoint: Checkpoint, base: ModelBase) -> dict[str, str]:
    """What an image with base and adapter says of its model: that is the base's, and its licences are both's. Where one
    of the two has none, nobody can say what holds for the image, and it says nothing."""
    model = {key: value for key, value in base.annotations.items() if key.startswith(_MODEL)}
    found = [base.annotations.get(_LICENSES), checkpoint.facts().annotations().get(_LICENSES)]
    known = list(dict.fromkeys(words for words in found if words))
    together = " AND ".join(f"({words})" if " " in words and len(known) > 1 else words for words in known)
    return {**model, _LICENSES: together if all(found) else ""}


def _find_base(ref: Reference, store: LocalStore | None, registry: Registry) -> tuple[RangedSource, Descriptor]:
    """Reads exactly the image that `ref` is now: in the local store if that has it, else in its registry."""
    if store is not None and (root := look_up(store, ref)) is not None:
        return StoreSource(store.content, root), root
    root = registry.resolve(ref)
    return RegistrySource(ref.with_digest(root.digest), registry), root
