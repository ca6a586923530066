"""One tier of the tests: `python -m scripts.run_tests ARGUMENTS OF PYTEST`, behind `make test`.

What fails beside others runs once more, alone. If it passes then, it depends on what runs beside it: it is named at the
end, and the tier counts as passed. Why, and what speaks against it, is in docs/decisions/0031-unsteady-tests.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

_AT_MOST: Final = 5  # failures; of more, the machine or the change is at fault, and not the test
_SOME_FAILED: Final = 1  # pytest's exit status


def main(arguments: Sequence[str]) -> int:
    """Run the tier, and return pytest's exit status: of the second try where there was one."""
    with TemporaryDirectory() as folder:
        status = _pytest(*arguments, "-o", f"cache_dir={folder}")
        failed = _last_failed(Path(folder))
    if status != _SOME_FAILED or not 0 < len(failed) <= _AT_MOST:
        return status
    for name in failed:
        print(f"\nonce more, alone: {name}", flush=True)
        if (status := _pytest("-n", "0", name)) != 0:
            return status
    for name in failed:
        print(f"UNSTEADY: {name} failed beside others and passed alone: find out what it depends on")
        if os.environ.get("GITHUB_ACTIONS"):
            print(f"::warning title=unsteady test::{name}")
    return 0


def _pytest(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", "-q", *arguments], check=False).returncode


def _last_failed(cache: Path) -> list[str]:
    """Their names as pytest takes them. A worker that died has no name, and nothing tells what it was at."""
    file = cache / "v/cache/lastfailed"
    return sorted(json.loads(file.read_text())) if file.exists() else []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
