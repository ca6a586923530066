"""hf://org/name[@revision]: what the name means, how to ask for it, and what is in the Hub's cache already."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from modelcar.checkpoint.formats.reader import printable
from modelcar.checkpoint.hub_errors import Wanted, translated, without_credentials
from modelcar.errors import SourceError

__all__ = ["HubOptions", "cached_snapshot", "is_hub_name", "is_wanted", "parse_hub_name", "silent_bar"]

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_SOURCE = re.compile(rf"(?P<repo>{_NAME}/{_NAME})(?:@(?P<revision>[A-Za-z0-9][A-Za-z0-9._/-]{{0,254}}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubOptions:
    """How to talk to the Hub. `None` means what its own tools do: `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_CACHE`, ….

    Attributes:
        allow_patterns: only files that match one of them, as the Hub's own tools match: `*` takes slashes, too.
        ignore_patterns: no file that matches one of them.
    """

    endpoint: str | None = None
    token: str | None = field(default=None, repr=False)
    cache: Path | None = None
    offline: bool = False
    allow_patterns: tuple[str, ...] = ()
    ignore_patterns: tuple[str, ...] = ()


def parse_hub_name(name: str, options: HubOptions) -> Wanted:
    """`org/name[@revision]`, to be asked of the Hub that `options` or the environment name.

    Raises:
        SourceError: that is no model's name.
    """
    match = _SOURCE.fullmatch(name)
    if "@" in name.partition("/")[0]:  # never shown: it may be a password
        raise SourceError("hf:// takes no credentials in its name", hint="log in with `hf auth login`, or set HF_TOKEN")
    if match is None or not is_hub_name(name):
        raise SourceError(
            f"{printable('hf://' + name)} names no model", hint="write hf://org/name or hf://org/name@revision"
        )
    # Both are read when the library is imported. What it would log of failures shows URLs with all that is in them.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    from huggingface_hub import constants

    endpoint = without_credentials(options.endpoint or constants.ENDPOINT)
    return Wanted(repo=match["repo"], revision=match["revision"], endpoint=endpoint)


def is_wanted(path: str, options: HubOptions) -> bool:
    """Whether the patterns leave the file at `path` in."""
    from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined, unused-ignore]  # exported lazily, which some versions do not declare

    allow, ignore = list(options.allow_patterns) or None, list(options.ignore_patterns) or None
    return any(filter_repo_objects([path], allow_patterns=allow, ignore_patterns=ignore))


def cached_snapshot(wanted: Wanted, options: HubOptions) -> Path:
    """The folder of the snapshot in the Hub's cache, if all that is wanted of it is there. No request is made.

    Raises:
        WorldError: it is not.
    """
    import huggingface_hub

    try:
        folder = huggingface_hub.snapshot_download(
            wanted.repo,
            revision=wanted.revision,
            endpoint=options.endpoint,
            token=options.token,
            cache_dir=options.cache,
            allow_patterns=list(options.allow_patterns) or None,
            ignore_patterns=list(options.ignore_patterns) or None,
            local_files_only=True,
            library_name="modelcar",
            tqdm_class=silent_bar(),
        )
    except Exception as e:  # the one boundary behind which none of the client's many exceptions gets
        raise translated(e, wanted) from e
    return Path(folder).resolve()


def is_hub_name(name: str) -> bool:
    """Whether the Hub could have a model called `name`: `org/name[@revision]`."""
    match = _SOURCE.fullmatch(name)
    return match is not None and "--" not in match["repo"] and ".." not in name


@cache
def silent_bar() -> Any:
    """A progress bar class that draws nothing."""
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined, unused-ignore]  # exported lazily, which some versions do not declare

    class SilentBar(tqdm):
        monitor_interval = 0  # else each process gets a thread that looks after bars, for good

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call, unused-ignore]  # tqdm's has no types in some versions

    return SilentBar
