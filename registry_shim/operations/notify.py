"""Telling systemd how it goes (`Type=notify`): a datagram to the socket that it names."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

from registry_shim.operations.health import Health

__all__ = ["notify", "watchdog"]


def notify(state: str) -> None:
    """`READY=1`, `STOPPING=1`, `WATCHDOG=1`; nothing where no systemd listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender, contextlib.suppress(OSError):
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
        sender.send(state.encode())


async def watchdog(health: Health) -> None:
    """Tell systemd, twice as often as it asks, that this process lives; run it as a task."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdigit() or not int(microseconds):
        return
    while True:
        if health.dead() is None:
            notify("WATCHDOG=1")
        await asyncio.sleep(int(microseconds) / 2_000_000)
