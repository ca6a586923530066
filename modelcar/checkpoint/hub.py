"""hf://org/name[@revision]: a snapshot in the Hub's cache, downloaded by the Hub's own client."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelcar.checkpoint.formats.reader import printable
from modelcar.errors import ModelcarError, SourceError, StorageError, WorldError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["HubOptions", "download_snapshot", "is_hub_name"]

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_SOURCE = re.compile(rf"(?P<repo>{_NAME}/{_NAME})(?:@(?P<revision>[A-Za-z0-9][A-Za-z0-9._/-]{{0,254}}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubOptions:
    """How to talk to the Hub. `None` means what its own tools do: `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_CACHE`, ….

    `bars` draws the client's own progress bars on stderr.
    """

    endpoint: str | None = None
    token: str | None = field(default=None, repr=False)
    cache: Path | None = None
    offline: bool = False
    bars: bool = False


def download_snapshot(name: str, options: HubOptions) -> tuple[Path, str]:
    """Bring `org/name[@revision]` into the Hub's cache; returns the snapshot's folder and the endpoint that was asked.

    The revision is resolved to a commit once, so a branch that moves meanwhile is no matter.

    Raises:
        SourceError: no such model or revision, or no such name.
        WorldError: no access, no network, no room.
    """
    match = _SOURCE.fullmatch(name)
    if match is None or not is_hub_name(name):
        raise SourceError(
            f"{printable('hf://' + name)} names no model", hint="write hf://org/name or hf://org/name@revision"
        )
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when the library is imported
    import huggingface_hub
    from huggingface_hub import constants

    endpoint = _without_credentials(options.endpoint or constants.ENDPOINT)
    wanted = _Wanted(repo=match["repo"], revision=match["revision"], endpoint=endpoint)
    try:
        folder = huggingface_hub.snapshot_download(
            wanted.repo,
            revision=wanted.revision,
            endpoint=options.endpoint,
            token=options.token,
            cache_dir=options.cache,
            local_files_only=options.offline,
            library_name="modelcar",
            tqdm_class=None if options.bars else _silent_bar(),
        )
    except Exception as e:  # the one boundary behind which none of the client's many exceptions gets
        raise _translated(e, wanted) from e
    return Path(folder).resolve(), wanted.endpoint


def is_hub_name(name: str) -> bool:
    """Whether the Hub could have a model called `name`: `org/name[@revision]`."""
    match = _SOURCE.fullmatch(name)
    return match is not None and "--" not in match["repo"] and ".." not in name


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    repo: str
    revision: str | None
    endpoint: str

    def __str__(self) -> str:
        return f"hf://{self.repo}" + (f"@{self.revision}" if self.revision else "")


def _without_credentials(endpoint: str) -> str:
    """`https://user:secret@hub` as `https://hub`."""
    scheme, separator, rest = endpoint.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def _silent_bar() -> Any:
    """A progress bar class that draws nothing."""
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined, unused-ignore]

    class SilentBar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call, unused-ignore]

    return SilentBar


def _translated(error: Exception, wanted: _Wanted) -> ModelcarError:
    """One line, and what to do, for whatever the client raised. Its own texts hold signed URLs and are not shown."""
    from huggingface_hub import errors

    log_in = "log in with `hf auth login`, or set HF_TOKEN to a token that may read it"
    for cause in _causes(error):
        if isinstance(cause, errors.GatedRepoError):
            page = f"{wanted.endpoint}/{wanted.repo}"
            return WorldError(f"{wanted} is gated", hint=f"ask for access at {page}, then {log_in}")
        if isinstance(cause, errors.RepositoryNotFoundError):
            return SourceError(
                f"there is no model {wanted}, or it is private", hint=f"check the name; if it is private, {log_in}"
            )
        if isinstance(cause, errors.RevisionNotFoundError):
            return SourceError(
                f"{wanted.repo} has no revision {wanted.revision}", hint="name a branch, a tag or a commit"
            )
        if isinstance(cause, errors.HFValidationError):
            return SourceError(f"{wanted} names no model", hint="write hf://org/name or hf://org/name@revision")
        if isinstance(cause, errors.DisabledRepoError):
            return WorldError(f"the Hub has disabled {wanted}", hint="see the model's page for the reason")
        if isinstance(cause, errors.OfflineModeIsEnabled):
            break
        if isinstance(cause, errors.HfHubHTTPError):
            return _refusal(cause.response.status_code, wanted, log_in)
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            return StorageError(
                f"cannot store {wanted} in the Hub's cache: {cause.strerror}",
                hint="make room there, or set HF_HUB_CACHE",
            )
    if isinstance(error, errors.LocalEntryNotFoundError) and not _is_network_error(error):
        return WorldError(
            f"{wanted} is not in the Hub's cache, or not all of it, and downloads are off",
            hint="download it while there is a network, or unset HF_HUB_OFFLINE",
        )
    reason = type(_root_cause(error)).__name__
    return WorldError(
        f"cannot download {wanted} from {wanted.endpoint} ({reason})",
        hint="check the network and HF_ENDPOINT, then try again",
    )


def _refusal(status: int, wanted: _Wanted, log_in: str) -> WorldError:
    if status in (401, 403):
        return WorldError(f"the Hub refuses {wanted} to these credentials (HTTP {status})", hint=log_in)
    if status == 429:
        return WorldError(f"the Hub asks to slow down (HTTP 429 for {wanted})", hint="try again later, or log in")
    return WorldError(f"the Hub failed to serve {wanted} (HTTP {status})", hint="try again later")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """`error` and what it was raised from."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__


def _root_cause(error: BaseException) -> BaseException:
    return list(_causes(error))[-1]


def _is_network_error(error: BaseException) -> bool:
    """Whether a request was made at all: offline mode raises a cause of its own, or none."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    root = _root_cause(error)
    return root is not error and not isinstance(root, OfflineModeIsEnabled)
