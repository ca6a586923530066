"""YAML is never built; what some loader would call is found."""

from __future__ import annotations

import pytest

from modelcar.scanning.findings import Outcome
from tests.support.scanning import findings_in, outcome, rules_found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: 1\nb: [x, 'y', \"z\"]\nc: |\n  text\n---\nsecond: document\n",
        "a: !!str 1\nb: !!binary aGk=\nc: ! x\n",
        "base: &base {a: 1}\nmore:\n  <<: *base\n  b: *base\n",
        "trust_remote_code: false\n_target_:\ntemplate:\nchat_template: ~\n",
    ],
)
def test_ordinary_documents_are_clean(text: str) -> None:
    assert findings_in("config.yaml", text.encode()) == ()
    assert outcome("config.yml", text.encode()) is Outcome.CLEAN


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("!!python/object/apply:os.system ['id']", "yaml.python-call"),
        ("!!python/object/new:some.Class {}", "yaml.python-call"),
        ("!<tag:yaml.org,2002:python/object/apply:os.system> ['id']", "yaml.python-call"),
        ("%TAG !p! tag:yaml.org,2002:python/\n---\n!p!object/apply:os.system ['id']", "yaml.python-call"),
        ("!!python/name:subprocess.Popen", "yaml.python-call"),
        ("!!python/object:argparse.Namespace {}", "yaml.python-object"),
        ("!!python/object/apply:builtins.tuple []", "yaml.python-call"),
        ("!!python/tuple [1, 2]", "yaml.python-object"),
        ("!!unheard-of x", "yaml.python-object"),
        ("!new:speechbrain.lobes.Net {}", "yaml.custom-tag"),
        ("!apply:os.system ['id']", "config.dangerous-call"),
        ("_target_: os.system", "config.dangerous-call"),
        ("name: &n os.system\nmodel: {_target_: *n}", "config.dangerous-call"),
        ("_target_: nemo.Model", "config.call-target"),
        ("model: {target: subprocess.Popen, params: {args: [id]}}", "config.dangerous-call"),
        ("pipeline: {name: pyannote.audio.pipelines.X, params: {}}", "config.call-target"),
        ("auto_map: {AutoModel: x.Y}", "config.custom-code"),
        ("trust_remote_code: True", "config.trusts-code"),
        ("a: 1\na: 2", "yaml.duplicate-key"),
        ("chat_template: '{{ x.__class__ }}'", "template.attack"),
        ("a: {chat_template: [{name: b, template: '{{ x.y() }}'}]}", "template.beyond-subset"),
        ("a: 'open", "file.malformed"),
        ("a: *nobody", "file.malformed"),
        ("a: \x07", "file.malformed"),
        ("- " * 200, "scan.limit-exceeded"),
        ("[" * 100_000, "scan.limit-exceeded"),
        ("# " + "x" * (2 << 20), "scan.limit-exceeded"),
    ],
)
def test_findings(text: str, rule: str) -> None:
    assert rules_found("config.yaml", text.encode()) == {rule}


def test_aliases_that_multiply() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    assert rules_found("config.yaml", "\n".join(lines).encode()) == {"yaml.alias-bomb", "scan.limit-exceeded"}
