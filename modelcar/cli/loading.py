"""`--engine`, and what is said of an image that an engine has taken."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

import click

from modelcar.cli.output import Output, human_size
from modelcar.cli.progress import progress
from modelcar.images.local import find_local
from modelcar.oci import Descriptor, Platform, Reference
from modelcar.store import Layout, LocalStore

if TYPE_CHECKING:
    from modelcar.engines.find import EngineChoice

__all__ = ["ENGINES", "load_and_say", "load_built"]

ENGINES = click.Choice(["auto", "docker", "podman"])


def load_and_say(
    layout: Layout,
    root: Descriptor,
    name: Reference,
    output: Output,
    *,
    engine: str = "auto",
    platform: Platform | None = None,
) -> dict[str, object]:
    """Load the image into the engine that `engine`, one of `ENGINES`, means, and say so; returns fields for JSON."""
    from modelcar.engines.find import open_engine  # not for every build
    from modelcar.engines.load import load_image

    began = time.monotonic()
    with open_engine(cast("EngineChoice", engine)) as chosen, progress(output, "load") as report:
        loaded = load_image(chosen, layout, root, name, platform=platform, progress=report)
    seconds = time.monotonic() - began
    output.line(f"loaded {loaded.name} ({human_size(loaded.size)}) into {chosen.name} in {seconds:.1f} s")
    return {
        "engine": chosen.name,
        "name": loaded.name,
        "manifest": str(loaded.manifest),
        "engineId": loaded.engine_id,
        "size": loaded.size,
        "seconds": round(seconds, 3),
    }


def load_built(store: LocalStore, ref: Reference, output: Output) -> dict[str, object]:
    """Load what was just built as `ref` into the engine of this machine; says so as `load_and_say`."""
    with store.session():
        return load_and_say(store.content, find_local(store, ref), ref, output)
