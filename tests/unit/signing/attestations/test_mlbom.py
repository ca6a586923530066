"""ML-BOMs, checked against CycloneDX's own schema with SPDX's list of licences."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from modelcar.signing.attestations.image import AttestedImage
from modelcar.signing.attestations.mlbom import mlbom
from tests.unit.signing.attestations.conftest import from_hub

pytestmark = pytest.mark.slow

_VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)


def checked(image: AttestedImage, **options: Any) -> dict[str, Any]:
    bom = mlbom(image, **options)
    assert (problem := _VALIDATOR.validate_str(json.dumps(bom))) is None, problem
    return bom


def test_the_validator_can_say_no(image: AttestedImage) -> None:
    bom = mlbom(image)
    bom["metadata"]["component"]["licenses"] = [{"license": {"id": "Not-A-Licence"}}]
    assert _VALIDATOR.validate_str(json.dumps(bom)) is not None


def test_what_the_card_and_the_headers_say(image: AttestedImage) -> None:
    model = checked(from_hub(image))["metadata"]["component"]
    assert (model["type"], model["name"]) == ("machine-learning-model", "Tiny")
    assert model["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    revision = from_hub(image).annotations["dev.modelcar.source.revision"]
    assert model["purl"] == f"pkg:huggingface/acme/tiny@{revision}"
    assert model["pedigree"]["ancestors"][0]["name"] == "acme/parent"
    assert model["modelCard"]["modelParameters"] == {
        "task": "text-generation",
        "architectureFamily": "tiny",
        "modelArchitecture": "TinyForCausalLM",
        "datasets": [
            {
                "type": "dataset",
                "name": "acme/corpus",
                "contents": {"url": "https://huggingface.co/datasets/acme/corpus"},
            },
            {"type": "dataset", "name": "an internal one"},
        ],
        "inputs": [{"format": "text"}],
        "outputs": [{"format": "text"}],
    }
    properties = {p["name"]: p["value"] for p in model["properties"]}
    assert properties["modelcar:image"] == str(image.root.digest)
    assert properties["modelcar:tensors:BF16"] == "3"
    assert properties["modelcar:parameters"] == "150000"
    assert properties["modelcar:languages"] == "en,de"


def test_every_file_is_a_component_with_its_hash(image: AttestedImage, folder: Path) -> None:
    bom = checked(image)
    hashes = {c["name"]: c["hashes"][0]["content"] for c in bom["components"]}
    files = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file() and p.name != ".gitattributes"}
    assert {name: hashes[name] for name in files} == {
        name: hashlib.sha256(p.read_bytes()).hexdigest() for name, p in files.items()
    }
    assert bom["dependencies"][0]["dependsOn"] == [c["bom-ref"] for c in bom["components"]]


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT AND Apache-2.0", [{"license": {"id": "MIT"}}, {"license": {"id": "Apache-2.0"}}]),
        ("LicenseRef-llama3", [{"license": {"name": "LicenseRef-llama3"}}]),
        ("MIT OR Apache-2.0", [{"expression": "MIT OR Apache-2.0"}]),
        ("no such licence", [{"expression": "no such licence"}]),
        ("Unheard-Of", [{"license": {"name": "Unheard-Of"}}]),
    ],
)
def test_licences(image: AttestedImage, licence: str, expected: list[dict[str, Any]]) -> None:
    image = from_hub(image, **{"org.opencontainers.image.licenses": licence})
    assert checked(image)["metadata"]["component"]["licenses"] == expected


def test_an_image_that_says_nothing_has_a_valid_bom_too(image: AttestedImage) -> None:
    bare = replace(image, annotations={}, repository=None, card=type(image.card)(), config={"model_type": 7})
    model = checked(bare)["metadata"]["component"]
    assert model["name"] == "model"
    assert model["version"] == str(image.root.digest)
    assert "modelCard" not in model


def test_hostile_texts_stay_texts(image: AttestedImage) -> None:
    hostile = from_hub(
        image,
        **{
            "dev.modelcar.source.repo": "../../etc?x=<script>",
            "org.opencontainers.image.url": "javascript:alert(1)",
            "org.opencontainers.image.title": 'a"}\u2028',
        },
    )
    model = checked(hostile)["metadata"]["component"]
    assert "purl" not in model
    assert model["name"] == 'a"}\u2028'


def test_one_image_has_one_bom(image: AttestedImage) -> None:
    assert mlbom(image) == mlbom(image)
    assert "timestamp" not in mlbom(image)["metadata"]
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    assert checked(image, timestamp=moment)["metadata"]["timestamp"] == "2026-01-02T00:00:00Z"
