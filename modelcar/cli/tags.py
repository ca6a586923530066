"""For those who ask for a tag that is not there: which ones are."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from dataclasses import replace
from difflib import SequenceMatcher
from itertools import islice
from typing import Final

from modelcar.errors import ModelcarError
from modelcar.oci import Reference
from modelcar.registry import ClientSettings, Registry

__all__ = ["tags_there"]

_SHOWN: Final = 10
_LOOKED_AT: Final = 2000  # tags; one or two pages of them
_PATIENCE: Final = 5.0  # seconds
_NOT_FOR_PEOPLE: Final = re.compile(r"sha\d{3}-[0-9a-f]{64,}.*")  # signatures and other attachments, of old


def tags_there(missing: str, settings: ClientSettings) -> str | None:
    """A hint that names the tags of the repository of `missing`, those that resemble its own first; `None` where they
    are not to be had, or not soon enough."""
    ref = Reference.parse(missing)
    tags = [tag for tag in _listed(ref, settings) if not _NOT_FOR_PEOPLE.fullmatch(tag)]
    if not tags or ref.tag is None:
        return None
    likeness = SequenceMatcher(autojunk=False)
    likeness.set_seq2(ref.tag)

    def unlike(tag: str) -> tuple[float, str]:
        likeness.set_seq1(tag)
        return -likeness.ratio(), tag

    nearest = sorted(tags, key=unlike)[:_SHOWN]
    more = ", and others" if len(tags) > _SHOWN else ""
    return f"the tags of {ref.name} are {', '.join(nearest)}{more}"


def _listed(ref: Reference, settings: ClientSettings) -> list[str]:
    """The first tags; none where the registry does not list them, or is slow: nobody waits long for a hint."""
    found: list[str] = []

    def work() -> None:
        with suppress(ModelcarError), Registry(replace(settings, attempts=1, timeout=_PATIENCE)) as registry:
            found.extend(islice(registry.tags(ref), _LOOKED_AT))

    thread = threading.Thread(target=work, name="modelcar-tags", daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return [*found]
