from __future__ import annotations

import copy
import json
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcar.admission.patch import patch_of
from tests.support.values import json_values

NAMED = [{"name": "a", "x": 1}, {"name": "b"}, {"name": "c"}]


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [{"op": "replace", "path": "/a", "value": 2}]),
        ({"a": 1}, {"a": True}, [{"op": "replace", "path": "/a", "value": True}]),
        ({"a": 1}, {"a": 1.0}, [{"op": "replace", "path": "/a", "value": 1.0}]),
        ({"a": None}, {}, [{"op": "remove", "path": "/a"}]),
        ({}, {"modelcar.dev/a~b": ""}, [{"op": "add", "path": "/modelcar.dev~1a~0b", "value": ""}]),
        ({"l": NAMED}, {"l": [{"name": "new"}, *NAMED]}, [{"op": "add", "path": "/l/0", "value": {"name": "new"}}]),
        (
            {"l": NAMED},
            {"l": [{"name": "new"}, {"name": "a", "x": 2}, *NAMED[1:]]},
            [{"op": "add", "path": "/l/0", "value": {"name": "new"}}, {"op": "replace", "path": "/l/1/x", "value": 2}],
        ),
        ({"l": NAMED}, {"l": [NAMED[0], NAMED[2]]}, [{"op": "remove", "path": "/l/1"}]),
        ({"l": ["a", "b"]}, {"l": ["a", "x", "b"]}, [{"op": "add", "path": "/l/1", "value": "x"}]),
        ({"l": ["a", "b", "c"]}, {"l": ["a"]}, [{"op": "remove", "path": "/l/2"}, {"op": "remove", "path": "/l/1"}]),
    ],
)
def test_is_the_least_that_will_do(before: Any, after: Any, patch: list[dict[str, Any]]) -> None:
    assert patch_of(before, after) == patch


def test_one_volume_in_two_places_is_two_mounts() -> None:
    one, two = ({"name": "v", "mountPath": path} for path in ("/a", "/b"))
    assert patch_of([one], [two, one]) == [{"op": "add", "path": "/0", "value": two}]


named = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from("abcd")}, optional={"mountPath": st.just("/x"), "v": json_values}),
    max_size=5,
)


@given(st.tuples(json_values, json_values) | st.tuples(named, named))
def test_leads_from_one_to_the_other(pair: tuple[Any, Any]) -> None:
    before, after = ({"root": each} for each in pair)
    original = copy.deepcopy(before)
    patch = patch_of(before, after)
    assert before == original
    made = jsonpatch.apply_patch(before, json.loads(json.dumps(patch)))
    assert json.dumps(made, sort_keys=True) == json.dumps(after, sort_keys=True)
    assert json.dumps(patch_of(before, after)) == json.dumps(patch)
    assert patch_of(after, after) == []
