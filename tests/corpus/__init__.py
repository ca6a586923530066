"""Model files to try scanners on: malicious ones made by script, and benign ones.

    python -m tests.corpus DIR              write all of them into a folder
    python -m tests.corpus.detonate         load those that say how, and see what they do
    python -m tests.corpus.peers            what other scanners say of them

The corpus was written without a look at the scanner and shares no code with it. Malicious files are never stored: they
come into being when they are asked for, and all that their payloads do is create the file that $MODELCAR_CORPUS_MARKER
names.
"""

from __future__ import annotations

from tests.corpus.benign import benign
from tests.corpus.malicious import malicious
from tests.corpus.specimen import Proof, Specimen, Verdict

__all__ = ["Proof", "Specimen", "Verdict", "benign", "malicious"]
