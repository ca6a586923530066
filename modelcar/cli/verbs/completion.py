"""`modelcar completion`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from modelcar.cli.completion.command import completion_command

_HELP: Final = """Print the script that completes commands in a shell.

Verbs, options, choices, files, and the names of images in the local store. Print it again after an upgrade.

\b
  modelcar completion bash > ~/.local/share/bash-completion/completions/modelcar
  modelcar completion zsh > ~/.zfunc/_modelcar
  modelcar completion fish > ~/.config/fish/completions/modelcar.fish
"""


def _home() -> Path | None:
    from modelcar.cli.configuration import in_force, read_files
    from modelcar.errors import ModelcarError

    try:
        home = in_force(read_files(), {}).get("home")
    except ModelcarError:
        return None  # `modelcar doctor` says what is wrong with it
    return home.value if home is not None else None


command = completion_command("modelcar", _HELP, _home)
