"""Look into the model of an image without pulling it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from modelcar.images.reader import ModelReader
from modelcar.oci import Platform, Reference
from modelcar.packaging.fetch import LayoutSource, RegistrySource
from modelcar.packaging.locations import StoredLocation, parse_location
from modelcar.registry import ClientSettings, Registry

__all__ = ["open_model"]

_DEFAULTS: Final = ClientSettings()


@contextmanager
def open_model(
    ref: str | Reference, *, platform: str | Platform | None = None, settings: ClientSettings = _DEFAULTS
) -> Iterator[ModelReader]:
    """The model in an image, to be read by ranges; weights are not touched until they are asked for.

    >>> with open_model("ghcr.io/org/my-model:v1") as model:                 # doctest: +SKIP
    ...     model.read_tensor("lm_head.weight")

    Args:
        ref: a reference, `oci:DIR[:TAG]` or `oci-archive:FILE[:TAG]`.
        platform: of an image for several platforms, take this one; models are the same in all of them.

    Raises:
        NotFound: there is no such image, or it has no model index.
        UsageError: its layers are compressed, or it is not for `platform`.
        InvalidContent: it is not what it says.
        WorldError: the registry refuses or cannot be reached, or the disk fails.
    """
    location = parse_location(ref) if isinstance(ref, str) else ref
    chosen = Platform.parse(platform) if isinstance(platform, str) else platform
    with Registry(settings) as registry:
        source = LayoutSource(location) if isinstance(location, StoredLocation) else RegistrySource(location, registry)
        yield ModelReader(source, source.resolve(), chosen)
