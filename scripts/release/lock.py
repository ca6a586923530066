"""Write locks/*.txt anew: every package of a closure with the hashes of all its files, for every platform.

Needs `uv` (PyPI), which resolves for all platforms at once. The base's digest is asked of its registry.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Final

from modelcar.errors import WorldError
from modelcar.oci import Reference
from modelcar.registry import Registry
from scripts.release.base import BaseLock
from scripts.release.source import ROOT

__all__ = ["BASE", "EXTRAS", "lock", "lock_base"]

_LOCKS: Final = Path(__file__).parent / "locks"
BASE: Final = _LOCKS / "base.json"
_OPTIONS: Final = (
    *("--universal", "--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate"),
    *("--no-emit-index-url", "--quiet", "--upgrade"),
)
# What signs and packages in CI, with what builds it; and what is in the image.
EXTRAS: Final = {"tools": ("keyless", "s3"), "image": ("cluster", "keyless", "otel", "shim")}
_MORE: Final = {"tools": "scripts/release/locks/tools.in"}


def lock() -> None:
    """Raises `WorldError` if nothing fits or the index cannot be reached."""
    for name, extras in EXTRAS.items():
        wanted = [option for extra in extras for option in ("--extra", extra)]
        more = [_MORE[name]] if name in _MORE else []
        target = _LOCKS / f"{name}.txt"
        command = ["uv", "pip", "compile", *_OPTIONS, *wanted, "pyproject.toml", *more, "--output-file", str(target)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            raise WorldError(f"uv cannot lock {name}: {done.stderr.strip()}")


def lock_base() -> None:
    """What the base's tag is now. Raises `RegistryError`."""
    locked = BaseLock.read(BASE)
    found = Registry().resolve(Reference.parse(f"{locked.repository}:{locked.tag}"))
    data = {"image": f"{locked.repository}@{found.digest}", "tag": locked.tag}
    BASE.write_text(json.dumps(data, indent=2) + "\n")
