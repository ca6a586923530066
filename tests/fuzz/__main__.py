"""`python -m tests.fuzz [--seconds N] [TARGET …]`: fuzz every target for ten minutes, two at a time.

Prints what was executed and covered. What crashes a parser, hangs it or fills the memory is written to
`.cache/fuzz/TARGET/found-*`, named, and makes the exit status 1. It belongs into `tests/fuzz/seeds/TARGET/NAME.b64`,
through the command `base64`, together with the mend.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.corpus import malicious
from tests.fuzz.targets import TARGETS, seeds

_ROOT: Final = Path(__file__).resolve().parents[2]
_CACHE: Final = _ROOT / ".cache" / "fuzz"
_PYTHON: Final = _CACHE / "venv" / "bin" / "python"
_ATHERIS: Final = "atheris>=3.0,<4"
_STAT: Final = re.compile(r"stat::(\w+):\s+(\d+)")
_COVERAGE: Final = re.compile(r"cov: (\d+)")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description="Fuzz the scanner's parsers.")
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    arguments = parser.parse_args()
    _install()
    targets = arguments.targets or list(TARGETS)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        found = list(pool.map(lambda target: _fuzz(target, arguments.seconds), targets))
    return 1 if any(found) else 0


def _install() -> None:
    """An environment with atheris, which instruments what it imports and comes for few versions of Python."""
    if not _PYTHON.exists():
        venv.create(_CACHE / "venv", with_pip=True)
    pip: list[str | Path] = [_PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, _ATHERIS, "--editable", str(_ROOT)], check=True)


def _fuzz(target: str, seconds: int) -> bool:
    folder = _CACHE / target
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    _plant(target, folder / "corpus")
    before = set(folder.glob("found-*"))
    done = subprocess.run(
        [_PYTHON, "-m", "tests.fuzz.one", target, str(seconds), str(folder)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    (folder / "log").write_text(done.stdout + done.stderr)
    found = sorted(set(folder.glob("found-*")) - before)
    stats = dict(_STAT.findall(done.stderr))
    coverage = _COVERAGE.findall(done.stderr)
    inputs, covered = stats.get("number_of_executed_units", "?"), coverage[-1] if coverage else "?"
    result = f"at most {stats.get('peak_rss_mb', '?')} MiB: {'FOUND' if done.returncode else 'nothing found'}"
    print(f"{target:10} {inputs:>9} inputs, coverage {covered}, {result}", flush=True)
    for path in found:
        print(f"  {path}", flush=True)
    if done.returncode:
        print("\n".join(f"  {line}" for line in done.stderr.splitlines()[-15:]), flush=True)
    return done.returncode != 0


def _plant(target: str, corpus: Path) -> None:
    """As first inputs, what was found before, and specimens of the corpus whose names the target knows."""
    for name, content in seeds(target).items():
        (corpus / name).write_bytes(content)
    names = TARGETS[target]
    for specimen in malicious():
        for path, made in specimen.files.items():
            content = made() if callable(made) else made
            ending = Path(path).suffix
            number = next((i for i, name in enumerate(names) if Path(name).suffix == ending), None)
            if number is not None and len(content) < 65536:
                (corpus / f"{specimen.name}-{Path(path).name}").write_bytes(bytes([number]) + content)


if __name__ == "__main__":
    sys.exit(main())
