"""Texts, documents and templates: no bytes fail a scan, and what it calls harmless is what other readers see."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from modelcar.scanning.findings import Outcome
from modelcar.scanning.templates.judge import judge_template
from tests.support.examples import examples
from tests.support.scanning import findings_in, outcome, rules_found

NAMES = [
    "config.json",
    "data.jsonl",
    "config.yaml",
    "README.md",
    "requirements.txt",
    "chat_template.jinja",
    "x.tiktoken",
]

keys = st.sampled_from(["a", "auto_map", "chat_template", "_target_", "type", "idx", "path", "template", "class_name"])
texts = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(["os.system", "{{ x }}", "x.Y", "a--b.C"])
documents: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys | texts, inner, max_size=4),
    max_leaves=20,
)


@examples(400)
@given(
    st.sampled_from(NAMES), st.binary(max_size=300) | st.text("{}[]\"':,\\u0 \n-&*!<%#a1", max_size=60).map(str.encode)
)
def test_noise(name: str, data: bytes) -> None:
    assert "scan.failed" not in rules_found(name, data)


@given(documents, st.booleans())
def test_documents_are_read_as_python_reads_them(document: Any, escaped: bool) -> None:
    data = json.dumps(document, ensure_ascii=escaped).encode()
    assert not rules_found("a.json", data) & {"file.malformed", "json.duplicate-key", "scan.failed"}


@examples(400)
@given(documents, st.data())
def test_damaged_json_is_clean_only_if_python_reads_the_same(document: Any, data: st.DataObject) -> None:
    whole = json.dumps(document).encode()
    at = data.draw(st.integers(0, len(whole)))
    spoiled = whole[:at] + data.draw(st.binary(max_size=4)) + whole[at + data.draw(st.integers(0, 3)) :]
    if outcome("a.json", spoiled) is Outcome.CLEAN:
        json.loads(spoiled.decode("utf-8-sig"))


@examples(300)
@given(st.text("abc:-[]{}&*!|>'\"#,\n ~/", max_size=40))
def test_clean_yaml_loads_safely(text: str) -> None:
    findings = findings_in("a.yaml", text.encode())
    assert "scan.failed" not in {finding.rule.id for finding in findings}
    if not findings:
        list(yaml.parse(text, Loader=yaml.SafeLoader))


PIECES = st.sampled_from(
    [
        "{{ ", " }}", "{% ", " %}", "{%- ", "set ", "x", "y", " = ", "messages", "[0]", "['role']", ".content",
        "|trim", "'a'", " ~ ", "'_'", "for x in ", "endfor", "if ", "endif", "loop.index0", " + ", "1", "(", ")", "[",
        "]", "'__class__'", "namespace(a=1)", "x.a", "|attr('a')", "__class__", ".__init__", "macro m(x)", "endmacro",
        "m(y)", "|join", ".format",
    ]
)  # fmt: skip


@examples(800)
@given(st.lists(PIECES, max_size=14).map("".join))
def test_harmless_templates_never_leave_the_sandbox(source: str) -> None:
    """Whatever is called harmless is rendered by the sandbox without touching anything that it guards."""
    if list(judge_template(source)):
        return
    touched: list[str] = []

    class Sandbox(ImmutableSandboxedEnvironment):
        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            safe = super().is_safe_attribute(obj, attr, value)
            if not safe and attr.startswith("_"):
                touched.append(attr)
            return safe

    with suppress(Exception):  # most of them make no sense
        Sandbox(trim_blocks=True).from_string(source).render(messages=[{"role": "user", "content": "text"}])
    assert touched == []
