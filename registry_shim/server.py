"""The shim as a whole: a folder, a socket, and what runs between them."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelcar.errors import NotFound, StorageError, UsageError, WorldError
from modelcar.store.disk import lock
from modelcar.store.layout import OciLayout
from registry_shim.node import node
from registry_shim.operations.settings import NodeSettings

__all__ = ["Address", "run", "serving"]

_THREADS: Final = 16  # they hash, write and wait for the disk; more would only queue there


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen, or where we do."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        host, colon, port = text.rpartition(":")
        if not colon or not host or not (port.isascii() and port.isdigit() and int(port[:6]) < 65536):
            raise UsageError(
                f"{text!r} is not an address", hint="it looks like 127.0.0.1:5000; port 0 picks a free one"
            )
        return cls(host.removeprefix("[").removesuffix("]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.host.partition("%")[0]).is_loopback

    def resolved(self) -> Address:
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (OSError, UnicodeError) as e:  # the latter for names that no host can have
            reason = e.strerror if isinstance(e, OSError) else "that is no host name"
            raise WorldError(f"cannot listen on {self}: {reason}") from None
        found.sort(key=lambda entry: entry[0] != socket.AF_INET)  # localhost is 127.0.0.1 to most clients
        return Address(str(found[0][4][0]), self.port)


@asynccontextmanager
async def serving(
    root: Path, address: Address, settings: NodeSettings, *, insecure: bool = False
) -> AsyncIterator[Address]:
    """A node over `root`; yields where it listens. The loop's default threads become ours, and end with us.

    Raises:
        UsageError: the address can be reached from outside, and `insecure` does not say that this is meant.
        WorldError: the address is taken, or `root` cannot be used or is used already.
    """
    from registry_shim.serving import http

    target = address.resolved()
    if not target.is_local() and not insecure:
        raise UsageError(
            f"{address} can be reached from other machines, and there is neither TLS nor a password",
            hint="listen on 127.0.0.1, or say --insecure if your network protects it",
        )
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, "registry-shim"))
    with _opened(root, settings) as layout, _listener(target) as listener:
        try:
            async with node(root, layout, settings) as served, http.listening(served.handle, listener):
                yield Address(target.host, listener.getsockname()[1])
        finally:
            await loop.shutdown_default_executor()  # only then may another process have the folder


def run(
    root: Path, address: Address, settings: NodeSettings, *, insecure: bool = False, ready: Callable[[Address], None]
) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is told where."""

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with serving(root, address, settings, insecure=insecure) as where:
            ready(where)
            await stop.wait()

    _allow_many_files()
    asyncio.run(main())


def _allow_many_files() -> None:
    """Every transfer holds a socket and a file; the usual soft limit of 1024 is for programs that use select."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def _opened(root: Path, settings: NodeSettings) -> Iterator[OciLayout]:
    """The folder's content, this process's alone. What a killed predecessor left half-done is removed."""
    with ExitStack() as stack:
        try:
            _prepare(root, settings)
            stack.enter_context(_alone(root))
            layout = _layout(root, settings)
            if _keeps(settings):
                layout.sweep_ingest()
        except OSError as e:
            raise StorageError(f"cannot use {root}: {e.strerror}", hint="choose another --root") from None
        yield layout


def _keeps(settings: NodeSettings) -> bool:
    """Whether anything is written to the folder."""
    return settings.writable or bool(settings.mirror.upstreams)


def _prepare(root: Path, settings: NodeSettings) -> None:
    if _keeps(settings):
        root.mkdir(parents=True, exist_ok=True)
    elif not root.is_dir():
        raise StorageError(f"{root} is not a folder", hint="--writable and --upstream create it")
    needed, doing = (os.W_OK, "write to") if _keeps(settings) else (os.R_OK, "read")
    if not os.access(root, needed | os.R_OK | os.X_OK):
        raise StorageError(f"cannot {doing} {root}", hint="check its owner and mode, or choose another --root")


def _layout(root: Path, settings: NodeSettings) -> OciLayout:
    try:
        return OciLayout(root, create=_keeps(settings))
    except NotFound as e:
        raise StorageError(str(e), hint="with --writable or --upstream it becomes one") from None


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(lock(root, exclusive=True, blocking=False))
        except StorageError:
            hint = "stop it, or choose another --root"
            raise StorageError(f"{root} is in use by another registry-shim", hint=hint) from None
        yield


@contextmanager
def _listener(address: Address) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        listener = socket.create_server((address.host, address.port), family=family, backlog=1024)
    except OSError as e:
        reason = "the port is in use" if e.errno == errno.EADDRINUSE else e.strerror
        raise WorldError(f"cannot listen on {address}: {reason}", hint="--listen HOST:0 picks a free port") from None
    with listener:
        yield listener
