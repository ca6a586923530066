"""The documented schema and the code that reads annotations say the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

from modelcar.admission import names
from modelcar.admission.reading import read
from modelcar.admission.reading.annotations import FIELDS, KNOWN, MOST_MODELS
from modelcar.admission.reading.entries import LONGEST_NAME, PULL_POLICIES
from modelcar.admission.settings import AdmissionSettings, Affinity, Link, Mode
from modelcar.errors import Denied
from tests.support.pods import CASES, Case

SCHEMA: dict[str, Any] = json.loads((Path(__file__).parents[4] / "docs/formats/annotations.schema.json").read_text())
ANNOTATIONS = Draft202012Validator(SCHEMA)
MODELS = Draft202012Validator({"$ref": "#/$defs/models", "$defs": SCHEMA["$defs"]})
ADMITTED = [case for case in CASES if (case.folder / "expected.yaml").exists()]


def is_read(annotations: dict[str, str]) -> bool:
    pod = {"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "server"}, {"name": "proxy"}]}}
    try:
        read(pod, AdmissionSettings())
    except Denied:
        return False
    return True


def is_documented(annotations: dict[str, str]) -> bool:
    try:
        ANNOTATIONS.validate(annotations)
        if names.MODELS in annotations:
            MODELS.validate(yaml.safe_load(annotations[names.MODELS]))
    except ValidationError:
        return False
    return True


def test_names_and_choices_are_the_same() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    defined = SCHEMA["$defs"]
    assert set(SCHEMA["properties"]) == KNOWN
    assert list(defined["models"]["items"]["properties"]) == list(FIELDS)
    assert defined["models"]["maxItems"] == MOST_MODELS
    assert defined["name"]["maxLength"] == LONGEST_NAME
    assert defined["mode"]["enum"] == list(Mode)
    assert defined["link"]["enum"] == list(Link)
    assert defined["pull-policy"]["enum"] == list(PULL_POLICIES)
    assert SCHEMA["properties"][names.AFFINITY]["enum"] == list(Affinity)


@pytest.mark.parametrize("case", ADMITTED, ids=[case.name for case in ADMITTED])
def test_golden_pods_are_documented(case: Case) -> None:
    annotations = (case.pod().get("metadata") or {}).get("annotations") or {}
    assert is_documented(annotations)


images = st.sampled_from(["oci://registry.example/llm:1", "oci://a/b", "registry.example/llm:1", "oci://", "s3://a/b"])
paths = st.sampled_from(["/mnt/models", "/srv/llm/", "models", "/", "//", "/mnt/a:b", "/mnt/$x", "/mnt/a\\b", ""])
said = {
    "mode": st.sampled_from([*Mode, "volume"]),
    "link": st.sampled_from([*Link, "hard"]),
    "container": st.sampled_from(["*", "server", "server , proxy", "*,server", "", ",", "server,"]),
    "pull-policy": st.sampled_from([*PULL_POLICIES, "always"]),
}
entries = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["base", "lora", "a" * 40, "a" * 41, "It", "-a", "init", "check-a", "checked"])},
        optional={"image": images, "path": paths, **said, "other": st.just("x")},
    ),
    max_size=1,
)


@given(entries)
def test_lists_are_read_if_they_are_documented(listed: list[dict[str, str]]) -> None:
    annotations = {names.MODELS: yaml.safe_dump([{key: str(text) for key, text in each.items()} for each in listed])}
    assert is_read(annotations) == is_documented(annotations)


singles = st.fixed_dictionaries(
    {},
    optional={
        names.MODEL: images,
        names.PATH: paths,
        names.AFFINITY: st.sampled_from([*Affinity, "soft"]),
        names.INJECT: st.sampled_from(["true", "True", ""]),
        **{f"{names.GROUP}/{field}": texts for field, texts in said.items()},
    },
)


@given(singles)
def test_annotations_are_read_if_they_are_documented(annotations: dict[str, str]) -> None:
    annotations = {name: str(text) for name, text in annotations.items()}
    assert is_read(annotations) == is_documented(annotations)
