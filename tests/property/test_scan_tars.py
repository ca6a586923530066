"""Tars: what Python's reader hands out has been scanned; damage neither fails a scan nor makes it clean in silence."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from modelcar.scanning.formats.tars.scan import FORMATS
from tests.support.containers import PLAIN, contained, rules_in
from tests.support.damaged_tars import damaged
from tests.support.examples import examples
from tests.support.tars import make_tar

contents = st.binary(max_size=600).map(lambda data: PLAIN + data)


def handed_out(data: bytes) -> list[tuple[str, bytes]]:
    return list(_handed_out(data))


def _handed_out(data: bytes) -> Iterator[tuple[str, bytes]]:
    """As far as Python gets."""
    with (
        suppress(tarfile.TarError, ValueError, OSError, EOFError, RecursionError),
        tarfile.open(fileobj=io.BytesIO(data), mode="r:") as opened,
    ):
        for info in opened:
            if info.isreg() and (file := opened.extractfile(info)):
                yield info.name, file.read()


@examples(1000)
@given(damaged())
def test_what_python_hands_out_has_been_scanned_or_it_is_not_clean(data: bytes) -> None:
    rules = rules_in(FORMATS, data)
    assert "scan.failed" not in rules
    if rules <= {"file.unknown-format"}:  # the members are random bytes
        scanned = {content for _, content in contained(FORMATS, data)}
        assert {content for _, content in handed_out(data)} <= scanned


@given(st.dictionaries(st.sampled_from(["a", "b/c"]), contents, min_size=1), st.binary(min_size=1), st.data())
def test_bytes_that_are_added_are_noticed(files: dict[str, bytes], more: bytes, data: st.DataObject) -> None:
    tar = make_tar(files)
    at = data.draw(st.integers(0, len(tar)))
    spoiled = tar[:at] + more + tar[at:]
    if more.strip(b"\0") or at < len(tar) - 1024:
        assert rules_in(FORMATS, spoiled) or dict(handed_out(spoiled)) == dict(contained(FORMATS, spoiled))
