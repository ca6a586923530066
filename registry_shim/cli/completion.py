"""`registry-shim completion`."""

from __future__ import annotations

from typing import Final

from modelcar.cli.completion.command import completion_command

__all__ = ["command"]

_HELP: Final = """Print the script that completes commands in a shell.

Print it again after an upgrade.

\b
  registry-shim completion bash > /etc/bash_completion.d/registry-shim
"""

command = completion_command("registry-shim", _HELP, lambda: None)
