"""Short cuts for the commonest specimen: one file, and a loader that sets its payload off."""

from __future__ import annotations

from typing import Final

from tests.corpus.formats.pickles import call, glob, text
from tests.corpus.payloads import SHELL
from tests.corpus.specimen import MALICIOUS, Proof, Specimen, Verdict

__all__ = ["ATTACK", "HARMLESS", "one_file", "pickled"]

ATTACK: Final = call(glob("os", "system"), text(SHELL))
"""The plainest attack there is, in any protocol from 2 on."""

HARMLESS: Final = call(glob("collections", "OrderedDict"))


def one_file(
    name: str,
    category: str,
    reference: str,
    description: str,
    path: str,
    content: bytes,
    *,
    expected: frozenset[Verdict] = MALICIOUS,
    loader: str | None = None,
) -> Specimen:
    """A specimen of one file; `loader` sets it off."""
    return Specimen(
        name=name,
        category=category,
        reference=reference,
        description=description,
        files={path: content},
        expected=expected,
        proof=None if loader is None else Proof(loader=loader, path=path),
    )


def pickled(
    name: str,
    reference: str,
    description: str,
    content: bytes,
    *,
    path: str = "model.pkl",
    expected: frozenset[Verdict] = MALICIOUS,
    loader: str | None = "pickle",
) -> Specimen:
    """A specimen of one pickle, which `pickle.load` sets off unless another `loader` is named."""
    return one_file(name, "pickle", reference, description, path, content, expected=expected, loader=loader)
