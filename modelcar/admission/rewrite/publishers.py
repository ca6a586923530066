"""What runs in a sidecar and in what asks it: our holder, or a shell in the images of other tools."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from modelcar.admission.facts import Publisher
from modelcar.admission.settings import Link
from modelcar.holder import HOLDER_PATH, INDIRECTION

__all__ = ["check_command", "publish_command", "ready_command", "ready_hook"]

_SCRIPT: Final = Path(__file__).with_name("publish.sh")
_READY: Final = '[ -d "$1/." ]'
_WAIT: Final = f"until {_READY}; do sleep 0.1 || sleep 1; done"
_CHECK: Final = (
    'ls -d "$1/." >/dev/null || exit 1;'
    ' for file in "$1"/*; do [ -r "$file" ] || { echo "modelcar: cannot read $file" >&2; exit 1; }; done'
)
_ZEROTH: Final = "modelcar"  # what a shell's script is called


def publish_command(publisher: Publisher, to: str, link: Link) -> list[str]:
    """The sidecar's `command`: publishes, waits, ends on TERM."""
    if publisher is Publisher.HOLDER:
        return _holder("publish", to, link)
    return _shell(_script(), to, str(link))


def ready_command(publisher: Publisher, to: str, link: Link) -> list[str]:
    """The startup probe's `command`, run in the sidecar."""
    if publisher is Publisher.HOLDER:
        return _holder("ready", to, link)
    return _shell(_READY, _indirection(to, link))


def ready_hook(publisher: Publisher, to: str, link: Link) -> list[str]:
    """The same for a postStart hook, which has one try only: a shell waits there, our holder is quick."""
    if publisher is Publisher.HOLDER:
        return _holder("ready", to, link)
    return _shell(_WAIT, _indirection(to, link))


def check_command(publisher: Publisher, to: str, link: Link) -> list[str]:
    """The `command` of an init container that looks from outside: silent, or the reason in one line."""
    if publisher is Publisher.HOLDER:
        return _holder("ready", to, link)
    return _shell(_CHECK, _indirection(to, link))


def _holder(verb: str, to: str, link: Link) -> list[str]:
    return [HOLDER_PATH, verb, "--to", to, "--link", str(link)]


def _indirection(to: str, link: Link) -> str:
    return f"{to}/{INDIRECTION}" if link is Link.FARM else to


@cache
def _script() -> str:
    lines = _SCRIPT.read_text().splitlines()
    return "\n".join(line for line in lines if not line.startswith("#")) + "\n"


def _shell(script: str, *arguments: str) -> list[str]:
    """Kubelets take `$(` for a variable and `$$` for `$`, where they expand at all: a script has neither of them."""
    return ["sh", "-c", script, _ZEROTH, *arguments]
