"""What `mount`, `umount` and `status` do around the keeper."""

from __future__ import annotations

import fcntl
import os
import secrets
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import click

from modelcar.cache.origin import Origin
from modelcar.cli.output import Output, human_size
from modelcar.cli.preparing import FetchedFirst, saying_when_slow
from modelcar.cli.progress import progress
from modelcar.errors import ModelcarError, UsageError
from modelcar.mounts.keeping import await_keeper, lazy_root, socket_of, start_keeper
from modelcar.mounts.link.asking import ask
from modelcar.mounts.plan import MountPlan
from modelcar.mounts.plans import is_plain
from modelcar.mounts.preparing import needed_first
from modelcar.mounts.process.launch import start_mount
from modelcar.mounts.process.unmounting import mounted
from modelcar.mounts.ranked import Ranks
from modelcar.mounts.sources import network_of, origin_of_layout, origin_of_store
from modelcar.oci import Manifest
from modelcar.packaging.inspect import index_layer_of
from modelcar.packaging.locations import ArchiveLocation, LayoutLocation
from modelcar.registry import ClientSettings
from modelcar.signing.places import LayoutPlace, RegistryPlace
from modelcar.store import ArchiveStore, LocalStore, default_home
from modelcar.units import parse_size

__all__ = ["FolderToMount", "MountedImage", "Mounting", "byte_size", "place_of"]

_MOST_LINKS: Final = 40  # as the kernel follows
_PLANNING: Final = 86400.0  # seconds; an image without an index is fetched whole
_ENDING: Final = 5.0  # seconds that the end of a mount is told for


def byte_size(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:  # noqa: ARG001  # click's signature
    """A size as people type it."""
    return None if text is None else parse_size(text)


def place_of(folder: Path) -> Path:
    """An absolute path without links, found without a look at what is mounted there, whose server may be dead.

    Raises `UsageError` for one that leads nowhere, or whose name is not UTF-8.
    """
    try:
        os.fspath(folder).encode()
        place = folder.absolute()
        for _ in range(_MOST_LINKS):
            place = Path(os.path.realpath(place.parent)) / place.name if place.name != ".." else place.resolve()
            try:
                place = place.parent / place.readlink()
            except OSError:  # no link
                return place
    except UnicodeEncodeError:
        raise UsageError(f"{folder}: the folder's name is not UTF-8", hint="mount at another") from None
    except OSError as e:
        raise UsageError(f"{folder}: {e.strerror}") from None
    raise UsageError(f"{folder}: too many levels of symbolic links")


class FolderToMount:
    """An empty folder: made if it is not there, and removed again if nothing gets mounted. Nobody else mounts at it
    meanwhile."""

    def __init__(self, folder: Path) -> None:
        """Raises `UsageError` unless it is empty, or can be made."""
        self.path = place_of(folder)
        self._refuse_mounted(folder)
        self._made = False
        self._lock: int | None = None
        try:
            if not self.path.exists():
                self.path.mkdir(parents=True)
                self._made = True
            elif any(self.path.iterdir()):
                raise UsageError(f"{folder} is not empty", hint="mount at a new or empty folder")
            self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._refuse_mounted(folder)  # somebody may have done so before we had the lock
        except BlockingIOError:
            self._unlock()
            raise UsageError(f"somebody is mounting at {folder} right now", hint="mount at another folder") from None
        except OSError as e:
            self._unlock()
            raise UsageError(f"cannot mount at {folder}: {e.strerror}") from None
        except BaseException:
            self._unlock()
            raise

    def _refuse_mounted(self, folder: Path) -> None:
        if (other := mounted(self.path)) is not None:
            raise UsageError(
                f"something is mounted at {folder} already ({other.kind})", hint=f"`modelcar umount {folder}` first"
            )

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def keep(self) -> None:
        self._made = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._unlock()
        if self._made:
            with suppress(OSError):
                self.path.rmdir()


@dataclass(slots=True, kw_only=True)
class MountedImage:
    """What the keeper made of an image."""

    id: str
    plan: MountPlan
    front: str = ""

    @property
    def files(self) -> int:
        return len(self.plan.files) + len(self.plan.links)

    @property
    def size(self) -> int:
        return self.plan.size


class Mounting:
    """One mount. The keeper starts while the image is still looked up."""

    def __init__(self, target: Path, output: Output) -> None:
        """Raises `StorageError`."""
        self._target, self._output = target, output
        self._root = lazy_root(default_home())
        self._id = secrets.token_hex(6)
        start_keeper(self._root)

    def ask(
        self,
        reference: str,
        place: RegistryPlace | LayoutPlace,
        manifest: Manifest,
        settings: ClientSettings,
        *,
        budget: int | None,
        ranks: Ranks | None,
    ) -> MountedImage:
        """Let the keeper make a plan of an image, and begin to fetch it, first what `ranks` need. Raises what it
        says."""
        origin = _origin(place)
        socket = self._await_keeper()
        request: dict[str, Any] = {
            "id": self._id,
            "target": str(self._target),
            "registry": origin.registry,
            "repository": origin.repository,
            "supervisor": [],
            "front": "",
            "network": dict(network_of(settings)),
            "reference": reference,
            "digest": str(manifest.digest),
            "manifest": manifest.content.decode(),
            "mediaType": manifest.media_type,
            "budget": budget,
        }
        if ranks is not None:
            request["ranks"] = ranks.to_dict()
        self._say_what_comes_first(manifest)
        try:
            with progress(self._output, "fetch") as report:
                fetched = FetchedFirst(socket, self._id, report, self._output)
                answer = ask(socket, "mount", request, within=_PLANNING, meanwhile=fetched)
                fetched.end()
        except BaseException:
            self.over()  # or it would go on being fetched for nobody
            raise
        plan = MountPlan.parse(Path(answer["plan"]).read_bytes())
        return MountedImage(id=self._id, plan=plan)

    def begin(self, image: MountedImage, wanted: Literal["auto", "erofs", "fuse"]) -> subprocess.Popen[bytes]:
        """Show it. Raises `WorldError`; then there is no mount."""
        from modelcar.mounts.erofs.support import choose

        try:
            image.front = choose(wanted, plan=image.plan, folder=self._root)
            with saying_when_slow(self._output, f"waiting for {self._target}: its process begins to show the model"):
                process = start_mount(
                    image.plan,
                    front=image.front,
                    socket=socket_of(self._root),
                    mount=image.id,
                    target=self._target,
                    log=self._root / "mounts.log",
                )
            started = {"id": image.id, "pid": process.pid, "front": image.front}
            with suppress(ModelcarError):  # the keeper died just now: the next one sees that somebody is connected
                ask(socket_of(self._root), "started", started)
        except BaseException:
            self.over()
            raise
        return process

    def over(self) -> None:
        """There is no mount, or no more."""
        with suppress(ModelcarError):
            ask(socket_of(self._root), "remove", {"id": self._id}, within=_ENDING)

    def _await_keeper(self) -> Path:
        with saying_when_slow(self._output, "waiting for the process that fetches for mounts to start"):
            return await_keeper(self._root)

    def _say_what_comes_first(self, manifest: Manifest) -> None:
        layers = needed_first(manifest)
        if index_layer_of(manifest) is None and all(map(is_plain, layers)):
            size = sum(layer.size for layer in layers)
            self._output.aside(f"the image has no model index: all of it ({human_size(size)}) has to be here first")


def _origin(place: RegistryPlace | LayoutPlace) -> Origin:
    if isinstance(place, RegistryPlace):
        return Origin(registry=place.ref.registry, repository=place.ref.repository)
    layout = place.layout
    if isinstance(layout, ArchiveStore):
        return origin_of_layout(ArchiveLocation(layout.root))
    if getattr(layout, "has_recipes", False):
        return origin_of_store(LocalStore(default_home()))
    return origin_of_layout(LayoutLocation(layout.root))
