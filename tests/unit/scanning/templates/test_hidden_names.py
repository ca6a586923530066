"""However a template spells a name of Python's internals and whatever it hides that in, it is not called harmless."""

from __future__ import annotations

import pytest

from modelcar.scanning.templates.judge import judge_template

SOURCES = {
    "loop_set": '{% set loop = namespace(first="a__class__"[1:]) %}{{ ""[loop.first] }}',
    "macro_range": '{% macro range() %}__class__{% endmacro %}{{ ""[range()] }}',
    "macro_ns_find": '{% macro m() %}__class__{% endmacro %}{% set ns = namespace(find=m) %}{{ ""[ns.find()] }}',
    "sub_keys": '{% set d = {"a__class__"[1:]: 1} %}{{ ""[(d.keys() - [])|first] }}',
    "alias": '{% set d = [] %}{% set e = d %}{% set _ = e.append("a__class__"[1:]) %}{{ ""[d[0]] }}',
    "macro_param": (
        '{% macro m(p) %}{{ ""[p] }}{% endmacro %}{% set ns = namespace(get=m) %}{{ ns.get("a__class__"[1:]) }}'
    ),
    "varargs": (
        '{% macro m() %}{{ ""[varargs[0]] }}{% endmacro %}{% if false %}{% set varargs = 1 %}'
        '{% endif %}{{ m("a__class__"[1:]) }}'
    ),
    "recursive": (
        '{% for x in [1] recursive %}{{ ""[x] }}{% set ns=namespace(get=loop) %}'
        '{{ ns.get(["a__class__"[1:]]) }}{% endfor %}'
    ),
    "previtem": '{% for x in ["a__class__"[1:], 1] %}{{ ""[loop.previtem] }}{% endfor %}',
    "ns_item": '{% set ns = namespace(a="a__class__"[1:]) %}{% set k = "a" %}{{ ""[ns[k]] }}',
    "map_attr": '{% set ns = namespace(a="a__class__"[1:]) %}{{ ""[[ns]|map(attribute="a")|first] }}',
    "map_default": '{{ ""[[{}]|map(attribute="zz", default="a__class__"[1:])|first] }}',
    "slice_name": '{% set t = "a__class__" %}{{ ""[t[1:]] }}',
    "lstrip": '{% set t = "a__class__" %}{{ ""[t.lstrip("a")] }}',
    "step": '{% set t = "x_x_xcxlxaxsxsx_x_x" %}{{ ""[t[1::2]] }}',
    "format_uncalled": (
        '{% set ns = namespace(find="{0.__class__.__init__.__globals__}".format) %}{{ ns.find(messages) }}'
    ),
    "dict_method": '{% set t = "a__class__" %}{% set c = ""[t[1:]] %}{{ {"append": c}.append("x") }}',
    "groupby": '{% set ns = namespace(a="a__class__"[1:]) %}{{ ""[([ns]|groupby("a")|first).grouper] }}',
    "sum": '{% set ns = namespace(a="a__class__"[1:]) %}{{ ""[[ns]|sum(attribute="a", start="")] }}',
    "call_alias": (
        "{% set d = [] %}{% set n = namespace(x=0) %}{% set n.x = [d] %}"
        '{% set _ = n.x[0].append("a__class__"[1:]) %}{{ ""[d[0]] }}'
    ),
    "get_default": '{% set d = [] %}{% set e = {}.get("x", d) %}{% set _ = e.append("a__class__"[1:]) %}{{ ""[d[0]] }}',
    "pop_value": '{% set ns = namespace(count=["a__class__"[1:]].pop) %}{{ ""[ns.count()] }}',
    "join_value": '{% set ns = namespace(find="".join) %}{{ ""[ns.find(["__cl", "ass__"])] }}',
    "loop_in_list": (
        '{% for d in [[]] %}{% for e in [d] %}{% set _ = e.append("a__class__"[1:]) %}{% endfor %}'
        '{{ ""[d[0]] }}{% endfor %}'
    ),
    "macro_mutates": (
        '{% macro m(l) %}{% set _ = l.append("a__class__"[1:]) %}{% endmacro %}{% set d = [] %}{{ m(d) }}{{ ""[d[0]] }}'
    ),
    "ns_copy": '{% set a = namespace(x="a__class__"[1:]) %}{% set b = namespace(a) %}{{ ""[b.x] }}',
    "assign_block": '{% set t %}__class__{% endset %}{{ ""[t] }}',
    "setdefault": '{% set d = {} %}{% set e = d %}{% set _ = e.setdefault("k", "a__class__"[1:]) %}{{ ""[d["k"]] }}',
    "tuple_unpack": '{% set a, b = "a__class__".split("a", 1) %}{{ ""[b] }}',
    "first_key": '{% for k in {"a__class__"[1:]: 1} %}{{ ""[k] }}{% endfor %}',
    "items": '{% for k, v in {"a": "a__class__"[1:]}.items() %}{{ ""[v] }}{% endfor %}',
    "sliced_filter": '{% set t = "a__class__" %}{{ ""[t|trim("a")] }}',
    "batch": '{% set t = "__class__" %}{{ ""[(t|batch(99)|first)|join] }}',
    "dictsort": '{{ ""[({"a__class__"[1:]: 1}|dictsort|first)[0]] }}',
    "partition": '{% set t = "a__class__" %}{{ ""[t.partition("a")[2]] }}',
    "default": '{{ ""[nope|default("a__class__"[1:])] }}',
    "with": '{% with t = "a__class__" %}{{ ""[t[1:]] }}{% endwith %}',
    "macrodefault": '{% macro m(t="a__class__") %}{{ ""[t[1:]] }}{% endmacro %}{{ m() }}',
    "cycle": '{% for x in [1] %}{{ ""[loop.cycle("a__class__"[1:])] }}{% endfor %}',
    "changed_ns_dict": '{% set ns = namespace({"k": "a__class__"[1:]}) %}{{ ""[ns.k] }}',
    "int_default": '{{ ""["x"|int("a__class__"[1:])] }}',
    "extend_self": (
        '{% set d = [] %}{% set c = [d] %}{% for e in c %}{% set _ = e.extend(["a__class__"[1:]]) %}'
        '{% endfor %}{{ ""[d|first] }}'
    ),
    "sort": '{{ ""[["a__class__"[1:]]|sort|first] }}',
    "min": '{{ ""[["a__class__"[1:]]|min] }}',
    "two_dim": '{% set d = {"x": {"y": "a__class__"} } %}{{ ""[d.x.y[1:]] }}',
    "reverse": '{{ ""["__ssalc__"|reverse] }}',
    "neg_index": '{% set t = "__ssalc__" %}{{ ""[t[::-1]] }}',
    "messages0": '{% set _ = messages.append("a__class__"[1:]) %}{{ ""[messages[-1]] }}',
    "messages1": (
        '{% set _ = messages[0].update({"zz": "a__class__"[1:]}) %}{% for m in messages %}{{ ""[m.zz] }}{% endfor %}'
    ),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_an_index_that_may_be_a_hidden_name_is_seen(source: str) -> None:
    assert list(judge_template(source))


@pytest.mark.parametrize(
    "source",
    [
        "{% set key = 'tool_calls' %}{{ message[key] }}",
        "{% set c = message.content.split('</think>')[-1].strip() %}{{ c }}",
        "{% set ns = namespace(index=0) %}{{ messages[ns.index - 1] }}{{ loop.previtem.role }}",
        "{% macro show(m) %}{{ m.title }}{{ m.items }}{{ m.format }}{% endmacro %}{{ show(tool) }}",
        "{% set d = [] %}{% for m in x %}{% set _ = d.append('a' ~ m.role) %}{{ x[loop.index0] }}{% endfor %}",
        "{% for key in tool.parameters.keys() %}{{ tool.parameters[key] }}{% endfor %}",
    ],
)
def test_honest_indexes_are_harmless(source: str) -> None:
    assert list(judge_template(source)) == []
