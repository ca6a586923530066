"""The service `containerd.services.snapshots.v1.Snapshots`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Final

from modelcar.errors import AlreadyExists, InvalidDocument, ModelcarError, NotFound, Refused, UsageError
from registry_shim.snapshotter import messages
from registry_shim.snapshotter.grpc import Handler, Status
from registry_shim.snapshotter.messages import Committing, Key, Listing, Preparing, Updating
from registry_shim.snapshotter.snapshotter import Snapshotter

__all__ = ["explain", "handlers"]

_SERVICE: Final = "/containerd.services.snapshots.v1.Snapshots/"
_BATCH: Final = 100  # snapshots in one message of a listing
_STATUS: Final[tuple[tuple[type[ModelcarError], Status], ...]] = (
    (NotFound, Status.NOT_FOUND),
    (AlreadyExists, Status.ALREADY_EXISTS),
    (UsageError, Status.INVALID_ARGUMENT),
    (InvalidDocument, Status.INVALID_ARGUMENT),
    (Refused, Status.FAILED_PRECONDITION),
    (ModelcarError, Status.UNAVAILABLE),
)
_log = logging.getLogger(__name__)


def handlers(snapshotter: Snapshotter) -> Mapping[str, Handler]:
    """The methods, by their full names."""
    service = _Service(snapshotter)
    methods: dict[str, Handler] = {
        "Prepare": service.prepare,
        "View": service.view,
        "Mounts": service.mounts,
        "Commit": service.commit,
        "Remove": service.remove,
        "Stat": service.stat,
        "Update": service.update,
        "List": service.list,
        "Usage": service.usage,
        "Cleanup": service.cleanup,
    }
    return {f"{_SERVICE}{name}": method for name, method in methods.items()}


def explain(error: Exception) -> tuple[Status, str]:
    """For the caller, in a line; what nobody expected goes to the log."""
    if not isinstance(error, ModelcarError):
        _log.error("internal error: %s: %s", type(error).__name__, error, exc_info=error)
        return Status.UNKNOWN, f"internal error: {type(error).__name__}"
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    return status, f"{error} ({error.hint})" if error.hint else str(error)


class _Service:
    def __init__(self, snapshotter: Snapshotter) -> None:
        self._snapshotter = snapshotter

    def prepare(self, request: bytes) -> Iterator[bytes]:
        yield messages.mounts(self._snapshotter.prepare(Preparing.parse(request)))

    def view(self, request: bytes) -> Iterator[bytes]:
        yield messages.mounts(self._snapshotter.view(Preparing.parse(request)))

    def mounts(self, request: bytes) -> Iterator[bytes]:
        yield messages.mounts(self._snapshotter.mounts(Key.parse(request).key))

    def commit(self, request: bytes) -> Iterator[bytes]:
        self._snapshotter.commit(Committing.parse(request))
        yield b""

    def remove(self, request: bytes) -> Iterator[bytes]:
        self._snapshotter.remove(Key.parse(request).key)
        yield b""

    def stat(self, request: bytes) -> Iterator[bytes]:
        yield messages.info(self._snapshotter.stat(Key.parse(request).key))

    def update(self, request: bytes) -> Iterator[bytes]:
        yield messages.info(self._snapshotter.update(Updating.parse(request)))

    def list(self, request: bytes) -> Iterator[bytes]:
        found = self._snapshotter.list(Listing.parse(request).filters)
        for at in range(0, len(found), _BATCH):
            yield messages.infos(found[at : at + _BATCH])

    def usage(self, request: bytes) -> Iterator[bytes]:
        used = self._snapshotter.usage(Key.parse(request).key)
        yield messages.usage(used.size, used.inodes)

    def cleanup(self, _request: bytes) -> Iterator[bytes]:
        self._snapshotter.cleanup()
        yield b""
