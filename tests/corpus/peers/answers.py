"""Every scanner asked about every specimen; answers are kept, so that one scanner can be asked again alone."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tests.corpus.peers.install import CACHE
from tests.corpus.peers.scanners import Answer, Scanner
from tests.corpus.specimen import Specimen

__all__ = ["Answers", "ask", "load", "save"]

Answers = dict[str, dict[str, Answer]]
"""Scanner -> specimen -> answer."""

KEPT: Final = CACHE / "answers.json"


def ask(scanner: Scanner, specimens: Iterable[Specimen], *, at_once: int) -> dict[str, Answer]:
    """Ask `at_once` questions at a time; a specimen lies in its folder for as long as its question takes."""

    def one(specimen: Specimen) -> tuple[str, Answer]:
        with tempfile.TemporaryDirectory() as scratch:
            return specimen.name, scanner.ask(specimen.write(Path(scratch)))

    with ThreadPoolExecutor(at_once) as pool:
        return dict(pool.map(one, specimens))


def load(path: Path = KEPT) -> Answers:
    if not path.exists():
        return {}
    kept = json.loads(path.read_text())
    return {name: {key: Answer(**value) for key, value in rows.items()} for name, rows in kept.items()}


def save(answers: Answers, path: Path = KEPT) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {name: {key: asdict(answer) for key, answer in rows.items()} for name, rows in answers.items()}
    path.write_text(json.dumps(plain, indent=1))
