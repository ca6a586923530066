"""SPDX identifiers for the licence tags of the Hub (https://huggingface.co/docs/hub/repositories-licenses)."""

from __future__ import annotations

import re

__all__ = ["is_listed", "spdx_of"]

# SPDX identifiers whose lower-case form is the Hub's tag
_SAME = (
    "0BSD", "AFL-3.0", "Apache-2.0", "Artistic-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSD-3-Clause-Clear", "BSL-1.0",
    "CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-BY-NC-2.0",
    "CC-BY-NC-3.0", "CC-BY-NC-4.0", "CC-BY-ND-4.0", "CC-BY-NC-ND-3.0", "CC-BY-NC-ND-4.0", "CC-BY-NC-SA-2.0",
    "CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0", "CC0-1.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0",
    "CDLA-Sharing-1.0", "ECL-2.0", "EPL-1.0", "EPL-2.0", "EUPL-1.1", "EUPL-1.2", "ISC", "LPPL-1.3c", "MIT", "MPL-2.0",
    "MS-PL", "NCSA", "OFL-1.1", "OSL-3.0", "PostgreSQL", "Unlicense", "WTFPL", "Zlib",
)  # fmt: skip
_SPDX = {spdx.lower(): spdx for spdx in _SAME} | {
    # SPDX itself says that the names without a suffix stand for "only".
    "agpl-3.0": "AGPL-3.0-only",
    "gpl-2.0": "GPL-2.0-only",
    "gpl-3.0": "GPL-3.0-only",
    "lgpl-2.1": "LGPL-2.1-only",
    "lgpl-3.0": "LGPL-3.0-only",
    "c-uda": "C-UDA-1.0",
    "odbl": "ODbL-1.0",
    "odc-by": "ODC-By-1.0",
    "pddl": "PDDL-1.0",
}
_LISTED = frozenset(_SPDX.values())
_KNOWN = _SPDX | {spdx.lower(): spdx for spdx in _LISTED}
_WORD = re.compile(r"[()]|[^\s()]+")
_OPERATORS = ("AND", "OR", "WITH")
_LONGEST_EXPRESSION = 1000  # characters
_NOT_IN_A_REF = re.compile(r"[^A-Za-z0-9.-]+")


def spdx_of(tag: str, name: str | None = None) -> str | None:
    """The SPDX licence expression for the Hub's licence `tag`; `name` is the card's `license_name` for `other`.

    A licence that SPDX does not list becomes a `LicenseRef-…`, a valid expression. `None` for no licence known.
    """
    tag = tag.strip()
    if tag.lower() in _KNOWN:
        return _KNOWN[tag.lower()]
    if tag.lower() == "other" and name:
        return spdx_of(name)
    if (expression := _expression(tag)) is not None:
        return expression
    reference = _NOT_IN_A_REF.sub("-", tag).strip("-")[:100]
    return f"LicenseRef-{reference}" if reference and reference.lower() != "unknown" else None


def _expression(text: str) -> str | None:
    """An SPDX expression that somebody wrote in place of a tag, its identifiers as SPDX writes them."""
    words = _WORD.findall(text) if len(text) <= _LONGEST_EXPRESSION else []
    bare = [word for word in words if word not in ("(", ")")]
    if len(bare) < 3 or any((word.upper() in _OPERATORS) != i % 2 for i, word in enumerate(bare)):
        return None
    parts = []
    for before, word in zip(["", *words], words, strict=False):
        if word in ("(", ")") or before.upper() == "WITH":
            parts.append(word)
        else:
            parts.append(word.upper() if word.upper() in _OPERATORS else (spdx_of(word) or word))
    return " ".join(parts).replace("( ", "(").replace(" )", ")")


def is_listed(identifier: str) -> bool:
    """Whether `identifier` is one of SPDX's own that `spdx_of` returns: no `LicenseRef-…`, no expression."""
    return identifier in _LISTED
