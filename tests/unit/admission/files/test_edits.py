"""Other values in the text of a document: everything else stays as it is."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcar.admission.files.edits import CannotEdit, edited, style_of
from modelcar.admission.files.meaning import composed, meant, same
from modelcar.admission.files.render import Style, entry
from modelcar.admission.files.roundtrip import rewritten
from tests.support.examples import examples


def change(text: str, **new: Any) -> str:
    """`text` with these values at its top; `...` takes one away."""
    old = meant(text)
    value = {name: inner for name, inner in (old | new).items() if inner is not ...}
    result = edited(text, old, value)
    assert same(meant(result), value)
    return result


POD = """\
# what it is
kind: Pod   # a pod
spec:
    containers:
    # the first
    - name: one     # of two
      image: 'a'
      args: [ "x",  "y" ]   # flow

    # the second
    - {name: two, image: b}   # flow, too
    # no more

    # below
    volumes: []   # none
    hostPID: no
    nodeName:
metadata: # nothing yet
"""


def test_what_is_added_is_all_that_differs() -> None:
    new = meant(POD)
    new["spec"]["containers"][0]["env"] = [{"name": "A", "value": "yes"}]
    new["spec"]["initContainers"] = [{"name": "zero", "args": ["a b", "", "0644", "1e3", "12:30", 'say "hi"']}]
    text = edited(POD, meant(POD), new)
    added = [line for line in text.splitlines() if line not in POD.splitlines()]
    assert [line for line in text.splitlines() if line not in added] == POD.splitlines()
    assert added == [
        "      env:",
        "      - name: A",
        '        value: "yes"',
        "    initContainers:",
        "    - name: zero",
        "      args:",
        '      - "a b"',
        '      - ""',
        '      - "0644"',
        "      - 1e3",
        "      - 12:30",
        "      - 'say \"hi\"'",
    ]
    assert same(meant(text), new)


def test_scalars_are_replaced_where_they_stand() -> None:
    assert change("a: 1  # one\nb: 'x'\n", a=2, b="y") == "a: 2  # one\nb: y\n"
    assert change("a: {b: c,  d: e}  # flow\n", a={"b": "x"}) == 'a: {"b": "x"}  # flow\n'
    assert change("a: [1,  2]\n", a=[1]) == "a: [1]\n"


def test_empty_values_become_blocks() -> None:
    assert change("a: []   # none\nb: 1\n", a=[1]) == "a:\n  - 1   # none\nb: 1\n"
    assert change("a:\nb: 1\n", a={"c": "d"}) == "a:\n  c: d\nb: 1\n"
    assert change("a:\n", a=[{"c": "d"}]) == "a:\n  - c: d\n"


def test_items_go_where_they_belong() -> None:
    text = "l:\n# of one\n- name: one\n# of two\n- name: two\n# end\n"
    zero, one, two, three = ({"name": name} for name in ("zero", "one", "two", "three"))
    assert change(text, l=[zero, one, two]) == text.replace("# of one", "- name: zero\n# of one")
    assert change(text, l=[one, zero, two]) == text.replace("# of two", "- name: zero\n# of two")
    assert change(text, l=[one, two, three]) == text.replace("# end", "- name: three\n# end")
    assert change(text, l=[two]) == "l:\n# of one\n# of two\n- name: two\n# end\n"
    assert change(text, l=[one]) == "l:\n# of one\n- name: one\n# of two\n# end\n"
    assert change(text, l=[zero]) == "l:\n# of one\n- name: zero\n# of two\n# end\n"


def test_entries_go_and_come() -> None:
    assert change("a: 1\nb:\n  c: 2\n  # c\nd: 3\n", b=...) == "a: 1\n  # c\nd: 3\n"
    assert change("a: 1\nb: 2", b=..., c=3) == "a: 1\nc: 3\n"
    assert change("a:\n  b: 1", a={"b": 1, "c": 2}, d=3) == "a:\n  b: 1\n  c: 2\nd: 3\n"
    assert change("a: 1\r\nb: 2\r\n", c=[3]) == "a: 1\r\nb: 2\r\nc:\r\n  - 3\r\n"
    assert change("a: 1", b="x\ny\n") == "a: 1\nb: |\n  x\n  y\n"


def test_block_scalars_above_stay() -> None:
    text = "a: |\n  x\n\n  y\n\n# end\n"
    assert change(text, b=1) == "a: |\n  x\n\n  y\nb: 1\n\n# end\n"


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("a: &x {b: 1}\nc: *x\n", {"a": {"b": 2}, "c": {"b": 1}}),
        ("a: &x {b: 1}\nc: *x\n", {"a": {"b": 1}, "c": {"b": 2}}),
        ("a: &x\n  b: 1\nc: *x\n", {"a": {"b": 1, "d": 1}, "c": {"b": 1}}),
        ("x: &x {b: 1}\na:\n  <<: *x\n  c: 1\n", {"x": {"b": 1}, "a": {"c": 1}}),
        ("l:\n- a: 1\n  b: 2\n", {"l": [{"b": 2}]}),
        ("a: |\n  x\n", {"a": "y"}),
        ("a: 1\n", {"b": 2}),
        ("- - a\n  - b\n", [["b"]]),
        ("a:\n  b: 1\n", {"a": "x"}),
    ],
)
def test_what_has_no_place_is_left_to_the_round_trip(text: str, new: Any) -> None:
    with pytest.raises(CannotEdit):
        edited(text, meant(text), new)
    result = rewritten(text, new, mapping=2, sequence=0)
    assert result is not None
    assert same(meant(result), new)


def test_a_round_trip_keeps_comments_quotes_and_what_aliases_stand_for() -> None:
    text = "# top\nbase: &b\n  image: 'x'  # theirs\none: *b\ntwo:\n  <<: *b\n  name: \"t\"\n"
    new = meant(text)
    new["one"] = {"image": "x", "env": ["no"]}
    result = rewritten(text, new, mapping=2, sequence=0)
    assert result is not None
    assert same(meant(result), new)
    for kept in ("# top", "base: &b", "image: 'x'  # theirs", "  <<: *b", 'name: "t"'):
        assert kept in result


def test_what_has_an_anchor_is_edited_where_nothing_else_stands_for_it() -> None:
    text = "a: &a\n- name: one\nb: &b # of b\n    c: &c !!map\n        d: 1\nl:\n- &i\n  name: x\n- &j name: y\n"
    new = meant(text)
    new["a"].append("two")
    new["b"]["c"]["e"] = 2
    new["b"]["f"] = 3
    new["l"][0]["g"] = 4
    result = edited(text, meant(text), new)
    assert same(meant(result), new)
    assert [line for line in result.splitlines() if line not in text.splitlines()] == [
        "- two",
        "        e: 2",
        "    f: 3",
        "  g: 4",
    ]


def test_an_alias_may_be_the_last_before_what_comes() -> None:
    text = "x: &x {a: 1}\nl:\n- name: n\n  <<: *x  # theirs\n# end\n"
    new = meant(text) | {"m": 1}
    assert edited(text, meant(text), new) == text.replace("# end\n", "m: 1\n# end\n")


def test_a_merge_key_is_overridden_in_place() -> None:
    text = "x: &x {b: 1}\na:\n  <<: *x\n  c: 1\n"
    new = {"x": {"b": 1}, "a": {"b": 2, "c": 1}}
    assert edited(text, meant(text), new) == "x: &x {b: 1}\na:\n  <<: *x\n  c: 1\n  b: 2\n"


def test_the_style_is_that_of_most() -> None:
    assert style_of(composed("a:\n    b:\n    - c:\n          d: 1\n")) == Style(mapping=4, sequence=0)
    assert style_of(composed("a:\n  b:\n    - c\n")) == Style(mapping=2, sequence=2)
    assert style_of(composed("a: 1\n")) == Style()


WORDS = st.sampled_from(
    ["", "x", "yes", "~", "null", "0644", "1", "1.5", "a b", "- a", "# no", "a: b", "a #b", "é", "*x"]
)
TEXTS = WORDS | st.sampled_from(
    ["a\nb", "a\nb\n", " a\nb", "a\n\n", "a \nb", "a\n\tb", "\x85", "\u2028", "\x07", "'", '"']
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=3))
def test_what_is_rendered_means_what_it_should(value: dict[str, Any]) -> None:
    lines = [line for key, inner in value.items() for line in entry(key, inner, Style())]
    assert same(meant("\n".join([*lines, ""])), value)


@pytest.mark.slow
@given(st.data())
@examples(200)
def test_any_change_is_made_or_refused(data: st.DataObject) -> None:
    old = data.draw(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4))
    text = "\n".join(line for key, inner in old.items() for line in [*entry(key, inner, Style()), "# a comment"]) + "\n"
    new = deepcopy(old)
    for key in data.draw(st.lists(st.sampled_from(sorted(old)), max_size=2)):
        new[key] = data.draw(VALUES)
    new |= data.draw(st.dictionaries(TEXTS, VALUES, max_size=2))
    try:
        result = edited(text, old, new)
    except CannotEdit:
        return
    assert same(meant(result), new)
    assert result.count("# a comment") == text.count("# a comment")
