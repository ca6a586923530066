from __future__ import annotations

import pytest

from modelcar.errors import InvalidDocument
from modelcar.oci.document import Fields, compact_json, parse_object


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}{}", "Extra data"),
        (b'{"a":1,"a":1}', "twice"),
        (b'{"x":{"a":1,"a":2}}', "twice"),
        (b'{"a":1,"\\u0061":2}', "twice"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":-Infinity}', "Infinity"),
        (b'{"a":1e999}', "too large"),
        (b'{"a":' + b"9" * 5000 + b"}", "limit"),
        (b'{"a":"\\ud800"}', "not UTF-8"),
        (b'{"\\udc00":1}', "not UTF-8"),
        (b'{"a":"\xff"}', "not UTF-8"),
        ('{"a":1}'.encode("utf-16"), "not UTF-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'{"a":"\n"}', "control character"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"a":' + b"[" * 200 + b"]" * 200 + b"}", "nested too deeply"),
        (b'{"a":' * 201 + b"1" + b"}" * 201, "nested too deeply"),
        (b'{"a":"' + b"x" * (4 << 20) + b'"}', "more than"),
    ],
)
def test_refused(raw: bytes, why: str) -> None:
    with pytest.raises(InvalidDocument, match=why) as caught:
        parse_object(raw, "document")
    assert str(caught.value).startswith("document ")
    assert len(str(caught.value)) < 200


def test_surrogate_pairs_are_characters() -> None:
    assert parse_object(b'{"a":"\\ud83e\\udde0"}', "document") == {"a": "\U0001f9e0"}


def test_nothing_but_finite_numbers_is_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        compact_json({"a": float("nan")})


def test_errors_name_the_path() -> None:
    deep = Fields({"list": [{"deep": {"size": -1}}]}, "top").objects("list")[0].optional_object("deep")
    assert deep is not None
    with pytest.raises(InvalidDocument, match=r"^top\.list\[0\]\.deep\.size "):
        deep.size("size")


@pytest.mark.parametrize("value", [None, "", 1, [], {}, True])
def test_text(value: object) -> None:
    with pytest.raises(InvalidDocument, match=r"top\.a "):
        Fields({"a": value}, "top").text("a")


@pytest.mark.parametrize("value", [None, "1", -1, 1.0, True, 1 << 63, []])
def test_size(value: object) -> None:
    with pytest.raises(InvalidDocument, match=r"top\.a "):
        Fields({"a": value}, "top").size("a")


@pytest.mark.parametrize("value", [None, "1", 1.0, True, 1 << 64, -(1 << 63) - 1])
def test_integer(value: object) -> None:
    with pytest.raises(InvalidDocument, match=r"top\.a "):
        Fields({"a": value}, "top").integer("a")
    assert Fields({"a": -5, "b": (1 << 64) - 1}, "top").integer("b") == (1 << 64) - 1


@pytest.mark.parametrize("reader", ["sizes", "objects", "texts", "text_map", "optional_object", "optional_text"])
@pytest.mark.parametrize("value", [1, True, [1.5], [None], {"a": 1}, ["a", 1], [[]]])
def test_shapes(reader: str, value: object) -> None:
    if reader == "optional_object" and isinstance(value, dict):
        return
    with pytest.raises(InvalidDocument, match=r"^top\.a"):
        getattr(Fields({"a": value}, "top"), reader)("a")


@pytest.mark.parametrize("name", ["Layers", "LAYERS", "layer\u017f"])
def test_a_name_that_go_takes_for_another_is_refused(name: str) -> None:
    with pytest.raises(InvalidDocument, match="only in case"):
        Fields({name: []}, "manifest").rest(frozenset({"layers"}))


def test_other_unknown_names_are_kept() -> None:
    assert Fields({"layers": [], "Other": 1, "other": 2}, "m").rest(frozenset({"layers"})) == {"Other": 1, "other": 2}


def test_how_deep_a_document_may_be_does_not_depend_on_python() -> None:
    raw = b'{"a":' + b"[" * 199 + b"]" * 199 + b',"b":' + b'{"a":' * 199 + b"1" + b"}" * 200
    assert set(parse_object(raw, "it")) == {"a", "b"}
    wide = b'{"a":[' + b",".join([b"[{}]"] * 1000) + b"]}"
    assert len(parse_object(wide, "it")["a"]) == 1000
