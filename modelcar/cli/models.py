"""From what a person typed, a folder or an image, to what the model in it consists of."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Final

from modelcar.checkpoint.source import REMOTE_SCHEMES
from modelcar.cli.output import Output
from modelcar.cli.places import image_source, open_place
from modelcar.cli.source import Wishes, open_source
from modelcar.images.described import DescribedModel, describe_checkpoint, describe_image
from modelcar.images.reader import ModelReader
from modelcar.packaging.locations import parse_location
from modelcar.registry import ClientSettings

__all__ = ["describe", "is_source"]

_OF_SOURCES: Final = (*REMOTE_SCHEMES, "/", "./", "../", "~")


def is_source(target: str) -> bool:
    """Whether SOURCE|REF is a source: something on this machine, a model on the Hub, or in an object store."""
    return target.startswith(_OF_SOURCES) or target in (".", "..") or os.path.lexists(target)


def describe(
    target: str, *, remote: bool, settings: ClientSettings, output: Output, wishes: Wishes | None = None
) -> DescribedModel:
    """What the model in SOURCE|REF consists of; no weights are read.

    Raises:
        SourceError: there is nothing to describe there.
        NotFound: there is no such image, or it has no model index.
        InvalidContent: the image is not what it says.
        WorldError: it cannot be read now.
    """
    if is_source(target):
        model = describe_checkpoint(open_source(target, output, wishes or Wishes()))
    else:
        with ExitStack() as stack:
            place, root = open_place(parse_location(target), remote=remote, settings=settings, stack=stack)
            model = describe_image(ModelReader(image_source(place, root), root))
    for path in model.copies:
        output.aside(f"note: passed over, as it is another copy of the same model: {path}")
    return model
