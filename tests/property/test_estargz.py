"""eStargz layers of all sizes around the borders of blocks and chunks, read by footer and table alone."""

from __future__ import annotations

import gzip
import io
import random
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from modelcar.layers.bytemap import Literal
from modelcar.layers.estargz import plan_estargz
from modelcar.layers.estargzhash import hash_estargz
from modelcar.layers.hashing import CHUNK_SIZE, chunk_bounds
from modelcar.layers.tar import Entry
from modelcar.oci import Digest
from tests.support.estargz import read_estargz
from tests.support.examples import examples
from tests.support.trees import segment_bytes, trees

BLOCK = 65_535
BORDERS = [0, 512, BLOCK, 2 * BLOCK, 1 << 16, CHUNK_SIZE, 2 * CHUNK_SIZE]
sizes = st.one_of(
    st.tuples(st.sampled_from(BORDERS), st.integers(-3, 3)).map(lambda pair: max(0, sum(pair))),
    st.integers(0, 3 * BLOCK),
)


def check(entries: list[Entry]) -> None:
    plan = plan_estargz(entries)
    found = hash_estargz(plan)
    with plan.content(found).open() as reader:
        blob = reader.read()
    estargz = read_estargz(blob)
    assert estargz.files() == {
        ".no.prefetch.landmark": b"\x0f",
        **{entry.path: segment_bytes(entry.content) for entry in entries},
    }
    tar = gzip.decompress(blob)
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        assert [m.name for m in opened if m.isfile()][-1] == "stargz.index.json"
    assert (found.blob, found.digest) == (Digest.of(blob), Digest.of(tar))
    assert (plan.size, plan.tar_size) == (len(blob), len(tar))
    assert [(c.offset, c.size) for c in found.chunks] == list(chunk_bounds(len(tar), plan.tar.payloads))
    assert all(c.digest == Digest.of(tar[c.offset : c.offset + c.size]) for c in found.chunks)


@examples(60)
@given(st.lists(sizes, max_size=4), st.integers(0, 2**32))
def test_files_around_every_border(sizes: list[int], seed: int) -> None:
    randomness = random.Random(seed)
    check([Entry(path=f"models/{i}", content=Literal(randomness.randbytes(n))) for i, n in enumerate(sizes)])


@examples(100)
@given(trees())
def test_trees_with_all_kinds_of_names(entries: list[Entry]) -> None:
    check([entry for entry in entries if entry.path not in (".no.prefetch.landmark", "stargz.index.json")])
