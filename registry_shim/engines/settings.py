"""What is to be wired: which engines of a node ask the shim for which registries."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import SplitResult, urlsplit

from modelcar.errors import InvalidReference, UsageError
from modelcar.oci import Reference

__all__ = ["BOOT_REGISTRIES", "Engine", "ImportSettings", "WiringSettings"]

BOOT_REGISTRIES: Final = frozenset({"registry.k8s.io", "k8s.gcr.io", "docker.io", "quay.io"})
"""Where the images come from that a node starts with: pause, kube-proxy, the network plug-in."""


class Engine(StrEnum):
    CONTAINERD = "containerd"
    CRIO = "crio"
    PODMAN = "podman"
    """And skopeo and buildah: they read the same file."""
    DOCKER = "docker"


@dataclass(frozen=True, slots=True, kw_only=True)
class WiringSettings:
    """Raises UsageError for what cannot be wired so that it holds.

    Attributes:
        registries: registries whose images may only come through the shim: `ghcr.io`, `registry.example:5000`.
        shim: where the engines reach it, `http://127.0.0.1:5000`. Plain HTTP on loopback only.
        engines: what is configured.
        config_path: containerd's folder of hosts.toml files, as its configuration names it (a `:` between several; the
            first is written to).
        ca: PEM certificates of the authority that signed the shim's certificate; copied to where engines look.
        excluded: repositories (`ghcr.io/acme/registry-shim`) that go on to come from their registry directly.
        dial_seconds: how long containerd waits for the shim to take a connection (containerd >= 2.1).
        snapshotter: the socket of `registry-shim snapshotter`, if containerd shall use it.
    """

    registries: tuple[str, ...]
    shim: str = "http://127.0.0.1:5000"
    engines: frozenset[Engine] = frozenset({Engine.CONTAINERD})
    config_path: str = "/etc/containerd/certs.d"
    ca: Path | None = None
    excluded: tuple[str, ...] = ()
    dial_seconds: int = 5
    snapshotter: PurePosixPath | None = None

    def __post_init__(self) -> None:
        if not self.registries:
            raise UsageError("no registry is listed", hint="--registry ghcr.io; _default is never written")
        if not self.engines:
            raise UsageError("no engine is listed", hint="--engine containerd, crio, podman or docker")
        for registry in self.registries:
            _check_registry(registry, self.url.netloc)
        if len(set(self.registries)) != len(self.registries):
            raise UsageError("a registry is listed twice")
        if not self.certificates_folder.is_absolute():
            raise UsageError(f"{self.config_path!r} is not an absolute path", hint="as in containerd's config.toml")
        if self.ca is not None and self.url.scheme != "https":
            raise UsageError("an authority's certificate is of no use with http://", hint="--shim https://…")
        if self.snapshotter is not None and not self.snapshotter.is_absolute():
            raise UsageError(f"{self.snapshotter} is not an absolute path", hint="as in `registry-shim snapshotter`")
        if self.snapshotter is not None and Engine.CONTAINERD not in self.engines:
            raise UsageError("only containerd has snapshotters", hint="--engine containerd")
        if self.dial_seconds < 1:
            raise UsageError("containerd must wait at least a second for the shim")
        self._check_excluded()

    @property
    def url(self) -> SplitResult:
        return _checked_url(self.shim)

    @property
    def certificates_folder(self) -> PurePosixPath:
        """Where hosts.toml files are written."""
        return PurePosixPath(self.config_path.split(":")[0])

    @property
    def is_loopback(self) -> bool:
        return _is_loopback(self.url.hostname or "")

    def _check_excluded(self) -> None:
        for name in self.excluded:
            registry, _, repository = name.partition("/")
            if "@" in registry:
                raise UsageError("the name of a repository takes no credentials", hint="ghcr.io/acme/registry-shim")
            try:
                Reference(registry=registry, repository=repository, tag="x")
            except InvalidReference as e:
                raise UsageError(f"{name!r} is no repository: {e}", hint="ghcr.io/acme/registry-shim") from None
            if Engine.CONTAINERD in self.engines and registry in self.registries:
                raise UsageError(
                    f"containerd cannot exclude {name}: a hosts.toml is for a whole registry",
                    hint=f"do not list {registry}, or take that image from a registry that is not listed",
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSettings:
    """Whole images into the engine of this node.

    Attributes:
        socket: the engine's CRI.
        content: containerd's content store. Where it is on the file system of the shim's own, blobs are shared between
            them, if the shim may write there; `None` lets the engine fetch everything.
        seconds: how long one image may take.
    """

    socket: Path = Path("/run/containerd/containerd.sock")
    content: Path | None = Path("/var/lib/containerd/io.containerd.content.v1.content")
    seconds: float = 3600.0

    def __post_init__(self) -> None:
        if self.seconds <= 0:
            raise UsageError("an import needs time")


def _check_registry(registry: str, shim: str) -> None:
    if "@" in registry:  # never shown: it may be a password
        raise UsageError("the name of a registry takes no credentials", hint="it looks like ghcr.io")
    try:
        Reference(registry=registry, repository="a/b", tag="c")
    except InvalidReference as e:
        raise UsageError(f"{registry!r} is not a registry: {e}", hint="it looks like ghcr.io") from None
    if registry == shim:
        raise UsageError(f"{registry} is the shim itself")


def _checked_url(text: str) -> SplitResult:
    if "@" in text:  # never shown: it may be a password
        raise UsageError("the address of a shim takes no credentials", hint="it looks like http://127.0.0.1:5000")
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        url = urlsplit("")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise UsageError(f"{text!r} is no address of a shim", hint="it looks like http://127.0.0.1:5000")
    if url.path not in ("", "/") or url.query or url.fragment:
        raise UsageError(f"{text!r}: a shim's address has no path")
    if url.scheme == "http" and not _is_loopback(url.hostname):
        raise UsageError(
            f"{text} is not this node: over plain HTTP anybody on the way could answer for it",
            hint="use https:// with --ca, or a shim on 127.0.0.1",
        )
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
