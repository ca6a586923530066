"""safetensors: what the strict reader refuses is unverified, and what its metadata tells is looked at."""

from __future__ import annotations

import json

import pytest

from modelcar.scanning.findings import Outcome
from tests.support.scanning import findings_in, outcome, rules_found
from tests.support.weights import raw_safetensors, safetensors_bytes

TOKEN = "hf_" + "QwErTyUiOpAsDfGhJkLzXcVbNmPoIuYtRe"
TENSORS: dict[str, tuple[str, tuple[int, ...], bytes]] = {"a": ("F32", (2,), bytes(8))}
ENTRY = '"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'


def test_an_ordinary_file_is_clean() -> None:
    data = safetensors_bytes(TENSORS, {"format": "pt"}, align=8)
    assert findings_in("model.safetensors", data) == ()
    assert findings_in("model", data) == ()


def test_a_header_of_an_odd_length_is_a_note() -> None:
    data = safetensors_bytes(TENSORS, pad=1)
    assert rules_found("model.safetensors", data) == {"safetensors.unaligned-data"}
    assert outcome("model.safetensors", data) is Outcome.CLEAN


def test_a_tensor_at_an_odd_place_in_the_data_is_the_work_of_no_library() -> None:
    tensors: dict[str, tuple[str, tuple[int, ...], bytes]] = {"a": ("U8", (3,), bytes(3)), "b": ("F64", (1,), bytes(8))}
    (finding,) = findings_in("model.safetensors", data := safetensors_bytes(tensors, align=8))
    assert (finding.rule.id, finding.offset) == ("safetensors.misaligned-tensor", len(data) - 8)


def test_secrets_in_metadata() -> None:
    data = safetensors_bytes(TENSORS, {"training": json.dumps({"token": TOKEN})}, align=8)
    (finding,) = findings_in("model.safetensors", data)
    assert (finding.rule.id, finding.offset) == ("secret.found", data.index(b"hf_"))
    escaped = data.replace(b"hf_Q", b"hf\\u005fQ")
    shift = len(escaped) - len(data)
    escaped = (int.from_bytes(escaped[:8], "little") + shift).to_bytes(8, "little") + escaped[8:]
    assert "secret.found" in rules_found("model.safetensors", escaped)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (f" {{{ENTRY}}}", "does not begin with '{'"),
        (f"{{{ENTRY},{ENTRY}}}", "lists tensor 'a' twice"),
        (f'{{"__metadata__":{{"k":1}},{ENTRY}}}', "is not what the format asks for"),
        (f'{{"__metadata__":{{"k":"1","k":"2"}},{ENTRY}}}', "twice"),
        ('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}}', "which the format does not know"),
        ('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}', "takes 4"),
        (f"{{{ENTRY}}}x", "something other than spaces after its JSON"),
    ],
)
def test_what_the_reference_reader_takes_and_its_format_does_not_allow(header: str, said: str) -> None:
    (finding,) = findings_in("model.safetensors", raw_safetensors(header.encode(), bytes(8)))
    assert finding.rule.id == "file.malformed"
    assert said in finding.detail
