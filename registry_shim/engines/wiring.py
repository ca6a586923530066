"""Settings to files: looks at the node, asks each engine's module what it wants, and says what a person should know."""

from __future__ import annotations

import tomllib
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

from modelcar.errors import WorldError
from modelcar.programs import run_program
from modelcar.store.disk import explain
from registry_shim.engines import containerd, containers, docker, snapshotter
from registry_shim.engines.cri import SOCKETS, Cri
from registry_shim.engines.files import HEADER, PlannedFile
from registry_shim.engines.install import Installer
from registry_shim.engines.manifest import Wired
from registry_shim.engines.settings import BOOT_REGISTRIES, Engine, WiringSettings

__all__ = ["Wiring", "containerd_files", "containerd_version", "engines_of", "wiring_of"]

_TRACES: Final = {
    Engine.CONTAINERD: ("etc/containerd", "usr/bin/containerd", "usr/local/bin/containerd"),
    Engine.CRIO: ("etc/crio", "usr/bin/crio"),
    Engine.PODMAN: ("usr/bin/podman", "usr/bin/skopeo", "usr/bin/buildah", "etc/containers/registries.conf"),
}
_VERSION_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What is to be written, on whose behalf, and notes for a person, the most important first."""

    files: tuple[PlannedFile, ...]
    wired: tuple[Wired, ...]
    notes: tuple[str, ...]


def engines_of(root: Path) -> frozenset[Engine]:
    """The engines that a node has, Docker left out: it enforces nothing, and is wired only when it is asked for."""
    return frozenset(engine for engine, traces in _TRACES.items() if any((root / trace).exists() for trace in traces))


def wiring_of(settings: WiringSettings, root: Path, installer: Installer) -> Wiring:
    """Everything that `settings` ask for on the node at `root`.

    Raises:
        StorageError: a file of the node, or the authority's certificate, cannot be read.
        UsageError: see the engines' own `plan`.
    """
    ca = _read_ca(settings.ca)
    files: list[PlannedFile] = []
    notes: list[str] = []
    wired: list[Wired] = []
    common = Wired(owner="", shim=settings.shim, registries=settings.registries)
    if Engine.CONTAINERD in settings.engines:
        files += containerd.plan(settings, ca=ca)
        wired.append(replace(common, owner="containerd", config_path=settings.config_path))
        found, notes_of = _containerd_config(settings, root)
        files += found
        notes += notes_of
    if settings.engines & {Engine.CRIO, Engine.PODMAN}:
        files += containers.plan(settings, ca=ca)
        wired.append(replace(common, owner="containers"))
        notes += ("CRI-O reads registries.conf again on SIGHUP: systemctl reload crio",) if _has_crio(settings) else ()
    if Engine.DOCKER in settings.engines:
        files += docker.plan(settings, installer.original(docker.DAEMON_JSON), ca=ca)
        wired.append(replace(common, owner="docker", registries=(docker.HUB,)))
        notes.append("Docker asks the Hub itself for what the shim refuses: a cache, no gate; systemctl reload docker")
    return Wiring(files=tuple(files), wired=tuple(wired), notes=(*notes, *_boot_notes(settings)))


def containerd_files(root: Path, *, ours: bool = False) -> tuple[containerd.ConfigFile, ...]:
    """containerd's configuration: its file, and what that imports; what we wrote ourselves only if `ours`."""
    first = _config_file(root, containerd.CONFIG)
    if first is None or (not ours and first.text.startswith(HEADER)):
        return ()
    try:
        imports = tomllib.loads(first.text).get("imports", [])
    except tomllib.TOMLDecodeError:
        imports = []
    found = [first]
    for pattern in imports:
        absolute = str(containerd.CONFIG.parent / str(pattern)).lstrip("/")
        for path in sorted(root.glob(absolute)):
            seen = PurePosixPath("/") / path.relative_to(root)
            file = _config_file(root, seen)
            if file and (ours or not file.text.startswith(HEADER)):
                found.append(file)
    return tuple(found)


def containerd_version(root: Path) -> tuple[int, int] | None:
    """What the node's containerd says of itself: the one that runs, else the one that is installed."""
    with suppress(WorldError):
        return containerd.parse_version(Cri(root / SOCKETS[0].relative_to("/")).version().version)
    if root.resolve() != Path("/"):  # another system's program
        return None
    with suppress(WorldError):
        return containerd.parse_version(run_program("containerd", "--version", seconds=_VERSION_SECONDS).output)
    return None


def _containerd_config(settings: WiringSettings, root: Path) -> tuple[list[PlannedFile], list[str]]:
    """Files of containerd's own configuration, and what a person should do about it."""
    found, version = containerd_files(root), containerd_version(root)
    advice = containerd.advise(settings, found, version)
    files = {advice.drop_in.path: advice.drop_in} if advice.drop_in else {}
    notes = [f"{advice.problem}; {advice.remedy}"] if advice.problem else []
    if settings.snapshotter is not None:
        plugged = snapshotter.plug_in(settings.snapshotter, found, version, advice.drop_in)
        files |= {plugged.drop_in.path: plugged.drop_in} if plugged.drop_in else {}
        notes += [plugged.note] if plugged.note else []
    return list(files.values()), notes


def _has_crio(settings: WiringSettings) -> bool:
    return Engine.CRIO in settings.engines


def _boot_notes(settings: WiringSettings) -> tuple[str, ...]:
    """A node takes the images that it boots with from these: with the shim down there would be no way up again."""
    listed = sorted(BOOT_REGISTRIES & set(settings.registries))
    if not listed:
        return ()
    images = f"images of {', '.join(listed)} (pause, kube-proxy, network)"
    advice = "run the shim as a systemd unit before the engine, not as a pod, or leave these out"
    return (f"a node may boot with {images}: {advice}",)


def _config_file(root: Path, path: PurePosixPath) -> containerd.ConfigFile | None:
    try:
        text = (root / path.relative_to("/")).read_text(errors="replace")
    except FileNotFoundError:
        return None
    except OSError as e:
        raise explain(e, f"cannot read {path}") from None
    return containerd.ConfigFile(path=path, text=text)


def _read_ca(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as e:
        raise explain(e, f"cannot read {path}") from None
