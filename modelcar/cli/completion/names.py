"""The names in the local store, read by a shell: our `index.json` is JSON on one line, written by nobody else."""

from __future__ import annotations

import shlex
from pathlib import Path

__all__ = ["names_command", "store_folder"]


def store_folder(home: Path | None) -> str:
    """The store's folder as a POSIX shell finds it; `home` is where the configuration says, if it says so."""
    fallback = shlex.quote(str(home)) if home is not None else '"${XDG_DATA_HOME:-$HOME/.local/share}/modelcar"'
    return f'local home="${{MODELCAR_HOME:-}}"; [ -n "$home" ] || home={fallback}'


def names_command(index: str) -> str:
    """A pipe that prints the images' names, one a line, for bash, zsh and fish; `index` is the file, quoted."""
    key = r"org\.opencontainers\.image\.ref\.name"
    find = f"""command grep -oE '"{key}": ?"[^"]+"' {index} 2>/dev/null"""
    return f"""{find} | command cut -d '"' -f 4 | command grep -vE '^sha(256|512)-[0-9a-f]{{64}}'"""
