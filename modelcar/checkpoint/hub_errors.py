"""Whatever the Hub's client raises, as one line and what to do. Its own texts hold signed URLs and are not shown."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelcar.errors import ModelcarError, SourceError, StorageError, WorldError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Wanted", "is_final", "translated", "without_credentials"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A model as somebody named it, and the Hub that is asked for it."""

    repo: str
    revision: str | None
    endpoint: str

    def __str__(self) -> str:
        return f"hf://{self.repo}" + (f"@{self.revision}" if self.revision else "")


def without_credentials(endpoint: str) -> str:
    """`https://user:secret@hub` as `https://hub`."""
    scheme, separator, rest = endpoint.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def is_final(error: Exception) -> bool:
    """Whether the Hub has answered, and what is in a cache is no other answer: there is no such revision."""
    from huggingface_hub.errors import RevisionNotFoundError

    return any(isinstance(cause, RevisionNotFoundError) for cause in _causes(error))


def translated(error: Exception, wanted: Wanted) -> ModelcarError:
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


def _refusal(status: int, wanted: Wanted, log_in: str) -> WorldError:
    if status in (401, 403):
        return WorldError(f"the Hub refuses {wanted} to these credentials (HTTP {status})", hint=log_in)
    if status == 429:
        return WorldError(f"the Hub asks to slow down (HTTP 429 for {wanted})", hint="try again later, or log in")
    return WorldError(f"the Hub does not serve {wanted} (HTTP {status})", hint="try again later")


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
