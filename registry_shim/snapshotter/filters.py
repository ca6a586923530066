"""containerd's filters, as far as it sends them: `labels."KEY"==VALUE,parent=="NAME"`, all of which must hold.

What is not understood lets everything through: containerd filters again what it gets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from registry_shim.snapshotter.records import Snapshot

__all__ = ["matching"]

Test = Callable[[Snapshot], bool]

_TERM: Final = re.compile(
    r'(?P<field>name|parent|kind|labels\.(?:"(?P<quoted>[^"\\]*)"|(?P<plain>[\w-]+)))'
    r'==(?:"(?P<text>[^"\\]*)"|(?P<word>[^",\\]*))(?:,|$)'
)


def matching(snapshots: Iterable[Snapshot], filters: Iterable[str]) -> tuple[Snapshot, ...]:
    """Those that one of `filters` matches; all, if there is none."""
    tests = [_parse(each) for each in filters]
    return tuple(s for s in snapshots if not tests or any(all(test(s) for test in terms) for terms in tests))


def _parse(text: str) -> tuple[Test, ...]:
    terms: list[Test] = []
    at = 0
    while at < len(text):
        term = _TERM.match(text, at)
        if term is None:
            return ()
        terms.append(_test(term))
        at = term.end()
    return tuple(terms)


def _test(term: re.Match[str]) -> Test:
    wanted = term["text"] if term["text"] is not None else term["word"]
    match term["field"]:
        case "name":
            return lambda snapshot: snapshot.name == wanted
        case "parent":
            return lambda snapshot: snapshot.parent == wanted
        case "kind":
            return lambda snapshot: snapshot.kind.value == wanted.lower()
    label = term["quoted"] if term["quoted"] is not None else term["plain"]
    return lambda snapshot: snapshot.labels.get(label, "") == wanted
