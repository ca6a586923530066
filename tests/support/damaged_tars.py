"""Tars that somebody damaged, drawn by Hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.support.tars import FORMATS, make_tar, reseal

__all__ = ["damaged"]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A tar cut, spliced, or changed in a few bytes; checksums put right again more often than not."""
    files = draw(
        st.dictionaries(st.sampled_from(["a", "b/c", "n" * 90 + "/" + "m" * 90]), st.binary(max_size=600), min_size=1)
    )
    tar = bytearray(make_tar(files, dialect=draw(st.sampled_from(sorted(FORMATS)))))
    blocks = len(tar) // 512
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["byte", "byte", "byte", "cut", "insert", "remove", "repeat"]))
        i = draw(st.integers(0, min(blocks, 12) - 1)) * 512
        if kind == "byte":
            at = i + draw(
                st.sampled_from([0, 1, 99, 124, 125, 130, 134, 135, 156, 257, 263, 345]) | st.integers(0, 511)
            )
            if at < len(tar):
                tar[at] = draw(st.sampled_from(list(b"\0\x80\xff 01257xLg/.")) | st.integers(0, 255))
        elif kind == "cut":
            del tar[draw(st.integers(0, len(tar))) :]
        elif kind == "insert":
            tar[i:i] = draw(st.sampled_from([bytes(512), b"x" * 512]) | st.binary(min_size=1, max_size=512))
        elif kind == "remove":
            del tar[i : i + 512]
        else:
            tar[i:i] = tar[i : i + 512]
        block = bytes(tar[i : i + 512])
        if len(block) == 512 and any(block) and draw(st.booleans()):
            tar[i : i + 512] = reseal(block)
    return bytes(tar)
