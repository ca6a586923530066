"""Licences that the policy of the scan forbids, said in every place where people say them."""

from __future__ import annotations

from typing import Final

from tests.corpus.specimen import NEVER_CLEAN, Specimen
from tests.support.weights import simple_safetensors

DENIED: Final = ("AGPL-3.0-only", "CC-BY-NC-4.0")


def specimens() -> list[Specimen]:
    cards = {
        "card": ("The card's licence", "license: cc-by-nc-4.0"),
        "card-case": ("The same in capitals and quotes", 'license: "CC-BY-NC-4.0"'),
        "card-list": ("One licence of a list", "license:\n- mit\n- cc-by-nc-4.0"),
        "card-expression": ("Both sides of an expression must be kept", "license: apache-2.0 AND AGPL-3.0-only"),
        "card-comment": (
            "Behind a comment and an alias of YAML",
            "terms: &terms cc-by-nc-4.0 # of the data\nlicense: *terms",
        ),
    }
    return [
        Specimen(
            name=f"licence-{name}",
            category="licence",
            reference="forbidden licence",
            description=f"{description} is one that the policy forbids",
            files={"model.safetensors": simple_safetensors("a"), "README.md": f"---\n{front}\n---\n# Tiny\n".encode()},
            expected=NEVER_CLEAN,
            denied_licences=DENIED,
        )
        for name, (description, front) in cards.items()
    ]
