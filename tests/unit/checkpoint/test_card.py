from __future__ import annotations

from typing import Any

import pytest
import yaml

from modelcar.checkpoint.card import parse_card
from modelcar.checkpoint.licenses import spdx_of
from tests.support.headers import frugal

CARD = """---
language:
- en
- no
license: other
license_name: my-licence
base_model: [org/base]
tags: ["a", "b"]
pipeline_tag: text-generation
unwanted: &anchor {deep: [1, 2]}
model-index:
- name: x
  results: !!python/object/apply:os.system ["touch /tmp/owned"]
---

<div align="center"><img src="x.png"></div>

[![badge](https://x/y.svg)](https://x)

# **Great** [Model](https://x) ##

![picture](x.png)

This is a *great* model, see [the paper](https://arxiv.org/abs/1) for `details`.
It has two lines.

Second paragraph.
"""


def test_card() -> None:
    card = parse_card(CARD)
    assert card.texts("language") == ("en", "no"), "no is Norwegian"
    assert card.text("license") == "other"
    assert card.text("license_name") == "my-licence"
    assert card.texts("base_model") == ("org/base",)
    assert card.text("pipeline_tag") == "text-generation"
    assert "unwanted" not in card.front
    assert card.title == "Great Model"
    assert card.description == "This is a great model, see the paper for details. It has two lines."
    assert card.problem is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", None),
        ("# Only Markdown", None),
        ("---\n---\n", None),
        ("---\nlicense: mit\n", "does not end"),
        ("---\nlicense: [unclosed\n---\n", "'license' is not readable"),
        ("---\nlicense: *unknown\n---\n", "'license' is not readable"),
        pytest.param("---\nlicense: " + "[" * 5000 + "\n---\n", "'license' is not readable", marks=pytest.mark.slow),
        ("---\ntags:\n" + "- x\n" * 50_000 + "---\n", "'tags' is not readable"),
        ("---\nlicense: {a: b}\n---\n", None),
        ("---\n: : :\n\x00\n---\n", None),
    ],
)
def test_broken_cards_are_reported_and_otherwise_ignored(text: str, problem: str | None) -> None:
    card = parse_card(text)
    assert (card.problem is None) if problem is None else (card.problem is not None and problem in card.problem)
    assert card.text("license") is None


def test_billion_laughs() -> None:
    bomb = "license:\n- &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"- &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(12)
    )
    with frugal():
        assert parse_card(f"---\n{bomb}---\n").texts("license") == ()


def test_evaluation_results_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    real = yaml.load

    def spy(text: str, Loader: type[yaml.BaseLoader]) -> Any:  # noqa: N803  # yaml's name
        parsed.append(text)
        return real(text, Loader=Loader)

    monkeypatch.setattr(yaml, "load", spy)
    results = "model-index:\n" + "- task: {type: x}\n  metrics:\n  - value: 1.0\n" * 20_000
    assert parse_card(f"---\n{results}license: mit\n---\n").text("license") == "mit"
    assert parsed == ["license: mit"]


@pytest.mark.parametrize("heading", ["Model Card for Model ID", "README"])
def test_placeholder_titles(heading: str) -> None:
    assert parse_card(f"# {heading}\n").title is None


def test_long_description_is_cut_at_a_word() -> None:
    description = parse_card("word " * 200).description
    assert description is not None
    assert len(description) <= 300
    assert description.endswith("word…")


def test_text_is_one_printable_line() -> None:
    card = parse_card("# a\x1b[31m\u202eb\n\nx\x00y\n")
    assert card.title is not None
    assert card.title.isprintable()
    assert card.description == "x y"


@pytest.mark.parametrize(
    ("tag", "name", "expected"),
    [
        ("apache-2.0", None, "Apache-2.0"),
        ("MIT", None, "MIT"),
        ("cc-by-nc-sa-4.0", None, "CC-BY-NC-SA-4.0"),
        ("gpl-3.0", None, "GPL-3.0-only"),
        ("odbl", None, "ODbL-1.0"),
        ("llama3.1", None, "LicenseRef-llama3.1"),
        ("gemma", "ignored", "LicenseRef-gemma"),
        ("AGPL-3.0-only", None, "AGPL-3.0-only"),
        ("other", "agpl-3.0-only", "AGPL-3.0-only"),
        ("cc-by-nc-4.0 AND mit", None, "CC-BY-NC-4.0 AND MIT"),
        ("(apache-2.0 or gpl-3.0) and bsd-3-clause", None, "(Apache-2.0 OR GPL-3.0-only) AND BSD-3-Clause"),
        ("gpl-2.0 with Classpath-exception-2.0", None, "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("llama3.1 OR mit", None, "LicenseRef-llama3.1 OR MIT"),
        ("Apache License and more", None, "LicenseRef-Apache-License-and-more"),
        ("other", "my licence / v2", "LicenseRef-my-licence-v2"),
        ("other", None, "LicenseRef-other"),
        ("unknown", None, None),
        ("", None, None),
        ("!!", None, None),
    ],
)
def test_licences(tag: str, name: str | None, expected: str | None) -> None:
    assert spdx_of(tag, name) == expected
