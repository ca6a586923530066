from __future__ import annotations

import pytest

from modelcar.oci import Digest
from registry_shim.snapshotter.filters import matching
from registry_shim.snapshotter.records import Kind, Snapshot, Usage


def snapshot(
    name: str, parent: str = "", *, kind: Kind = Kind.COMMITTED, labels: dict[str, str] | None = None
) -> Snapshot:
    labels = labels or {}
    return Snapshot(
        number=1, name=name, parent=parent, kind=kind, created=0, updated=0, labels=labels, usage=Usage(), lazy=None
    )


A, B, C = (
    snapshot("a", labels={"x": "1"}),
    snapshot("b/sha256:0", "a", labels={"x": "2", "y": "2"}),
    snapshot("c", "a", kind=Kind.ACTIVE),
)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], [A, B, C]),
        (["name==a"], [A]),
        (['name=="b/sha256:0"'], [B]),
        (['parent==""'], [A]),
        (["parent=="], [A]),
        (["parent==a"], [B, C]),
        (["parent==a,kind==active"], [C]),
        (['labels."x"==1'], [A]),
        (['labels."x"==2,parent=="a"'], [B]),
        (["labels.y==2"], [B]),
        (["name==a", "name==c"], [A, C]),
        (["name==d"], []),
    ],
)
def test_matching(filters: list[str], expected: list[Snapshot]) -> None:
    assert list(matching([A, B, C], filters)) == expected


@pytest.mark.parametrize(
    "filter_", ["name!=a", "name~=a", "labels.x", "nonsense==1", 'name=="a', "name==a,,", "(", ","]
)
def test_what_is_not_understood_lets_everything_through(filter_: str) -> None:
    assert list(matching([A, B, C], [filter_])) == [A, B, C]


def test_a_digest_is_a_word() -> None:
    target = str(Digest.of(b"x"))
    found = snapshot("a", labels={"containerd.io/snapshot.ref": target})
    assert matching([found, B], [f'labels."containerd.io/snapshot.ref"=={target},parent==""']) == (found,)
