"""ROOT/control.sock: who may open it may administer the node, and that is its owner alone."""

from __future__ import annotations

import socket
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from modelcar.serving.sockets import private_listener

__all__ = ["CONTROL", "control_listener"]

CONTROL: Final = "control.sock"


def control_listener(root: Path) -> AbstractContextManager[socket.socket]:
    """Listens at ROOT/control.sock; a dead shim's is replaced. Raises StorageError, as `private_listener`."""
    return private_listener(root / CONTROL)
