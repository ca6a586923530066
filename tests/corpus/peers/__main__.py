"""`python -m tests.corpus.peers`: install the other scanners, ask all of them, write the table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

import modelcar
from tests.corpus import benign, malicious
from tests.corpus.peers.answers import ask, load, save
from tests.corpus.peers.install import PEERS, install, version_of
from tests.corpus.peers.scanners import SCANNERS
from tests.corpus.peers.table import insert, tables

PAGE: Final = Path(__file__).resolve().parents[3] / "docs" / "explanation" / "scanning-comparison.md"


def main() -> int:
    options = _options()
    failed = install()
    scanners = [s for s in SCANNERS if s.peer not in failed]
    hostile, harmless = [s for s in malicious() if not s.denied_licences], benign()
    names = {specimen.name for specimen in (*hostile, *harmless)}
    # Who was not asked about all of them is asked again.
    kept = {name: given for name, given in load().items() if names <= set(given)}
    wanted = [s for s in scanners if s.name not in kept or not options.only or s.name in options.only]
    answers = dict(kept)
    for scanner in wanted:
        print(f"asking {scanner.name}", file=sys.stderr, flush=True)
        answers[scanner.name] = ask(scanner, [*hostile, *harmless], at_once=options.at_once)
        save(answers)
    versions = {peer: version_of(peer) or "not installed" for peer in PEERS} | {"modelcar": modelcar.__version__}
    ordered = {s.name: {key: answers[s.name][key] for key in sorted(names)} for s in scanners}
    text = tables(ordered, hostile, harmless, versions)
    if options.write:
        PAGE.write_text(insert(PAGE.read_text(), text))
        print(f"updated {PAGE}")
    else:
        print(text)
    for peer in failed:
        print(f"{peer} could not be installed and is left out", file=sys.stderr)
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.corpus.peers", description=__doc__)
    parser.add_argument(
        "--write", action="store_true", help="put the tables into docs/explanation/scanning-comparison.md"
    )
    parser.add_argument(
        "--only", action="append", metavar="SCANNER", help="ask this one again; keep the others' answers"
    )
    parser.add_argument("--at-once", type=int, default=2, metavar="N", help="questions at a time")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
