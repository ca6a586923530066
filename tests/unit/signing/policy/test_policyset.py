"""Documents, files and folders: what is not understood to the last field is an error with the place to look."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelcar.errors import ModelcarError, NotFound, UsageError
from modelcar.oci import Digest
from modelcar.signing.policy import load, parse
from tests.support.policies import (
    as_file,
    cluster_image_policy,
    deny_list,
    model_policy,
    parsed,
)
from tests.support.policy_documents import (
    FULL,
    MALFORMED,
    PASS,
    RULES,
)


def test_every_field_that_is_known() -> None:
    policies = parse([("p.yaml", as_file(FULL, model_policy(**RULES), deny_list(Digest.of(b"x"))))])
    assert [p.kind for p in policies.policies] == ["ClusterImagePolicy", "ModelPolicy"]
    assert len(policies.deny_lists) == 1
    assert all(len(p.images) >= 1 for p in policies.policies)


def test_both_versions_and_what_a_cluster_adds() -> None:
    exported = {
        **cluster_image_policy(PASS),
        "apiVersion": "policy.sigstore.dev/v1alpha1",
        "metadata": {"name": "x", "uid": "1", "generation": 2, "creationTimestamp": None, "managedFields": [{"a": 1}]},
        "status": {"conditions": []},
    }
    parsed(exported)
    with pytest.raises(UsageError, match="status is not a field"):
        parsed({**deny_list(Digest.of(b"x")), "status": {}})


@pytest.mark.parametrize(("make", "problem"), MALFORMED)
def test_malformed_documents(make: Callable[[], Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        parsed(make())
    assert caught.value.exit_status == 2
    assert str(caught.value).startswith("p.yaml")
    assert "\n" not in str(caught.value)


def test_a_name_has_no_line_end() -> None:
    """Apart from the others: `$` matches before it where schemas are checked with Python's expressions."""
    with pytest.raises(UsageError, match="not a name"):
        parsed({**FULL, "metadata": {"name": "x\n"}})


def test_names_are_unique_within_a_kind() -> None:
    one, other = cluster_image_policy(PASS, name="x"), {**cluster_image_policy(PASS, name="x")}
    with pytest.raises(UsageError, match=r"b.yaml: ClusterImagePolicy 'x' is in a.yaml document 1 already"):
        parse([("a.yaml", as_file(one, model_policy("x", customCode="deny"))), ("b.yaml", as_file(other))])


def test_files_and_folders(tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "a.yaml").write_bytes(as_file(cluster_image_policy(PASS, name="a"), cluster_image_policy(PASS, name="b")))
    (folder / "b.json").write_text(json.dumps(cluster_image_policy(PASS, name="c")))
    (folder / "D.YAML").write_bytes(as_file(cluster_image_policy(PASS, name="0")))
    (folder / ".hidden.yaml").write_text("nonsense: 1")
    (folder / "README.md").write_text("# policies")
    single = tmp_path / "single.yaml"
    single.write_bytes(as_file(cluster_image_policy(PASS, name="d")))
    assert [p.name for p in load([folder, single]).policies] == ["0", "a", "b", "c", "d"]


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    blank = tmp_path / "blank.yaml"
    blank.write_text("# nothing\n---\n---\n")
    unreadable = tmp_path / "folder.yaml" / "x.yaml"
    unreadable.mkdir(parents=True)
    cases: list[tuple[list[Path], type[ModelcarError], str]] = [
        ([], UsageError, "no policy is given"),
        ([empty], UsageError, "has no policy in it"),
        ([blank], UsageError, "has no policy in it"),
        ([tmp_path / "missing.yaml"], NotFound, "does not exist"),
        ([tmp_path / "folder.yaml"], UsageError, "is not a file"),
    ]
    for paths, kind, problem in cases:
        with pytest.raises(kind, match=problem) as caught:
            load(paths)
        assert caught.value.exit_status == 2


def test_huge_files_are_not_read_to_their_end(tmp_path: Path) -> None:
    huge = tmp_path / "huge.yaml"
    with huge.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UsageError, match="at most"):
        load([huge])
