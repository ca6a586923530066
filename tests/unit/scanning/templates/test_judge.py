"""Templates of conversations are harmless; whatever reaches further is not called so."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.scanning.templates import MAX_TEMPLATE
from modelcar.scanning.templates.judge import judge_template
from modelcar.scanning.templates.rules import ATTACK, BEYOND, CONCEALED, INVISIBLE, UNREADABLE

# in the shapes of well-known ones, each with the constructs that made somebody's model hard to judge
HONEST = sorted((Path(__file__).parent / "honest").glob("*.jinja"))


def rules(source: str) -> set[str]:
    return {remark.rule.id for remark in judge_template(source)}


@pytest.mark.parametrize("path", HONEST, ids=lambda path: path.stem)
def test_templates_of_well_known_models_are_harmless(path: Path) -> None:
    assert list(judge_template(path.read_text())) == []


def test_the_templates_are_there() -> None:
    assert len(HONEST) >= 8


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''['__class__'] }}",
        "{{ messages | attr('__class__') }}",
        r"{{ messages | attr('\x5f\x5fclass\x5f\x5f') }}",
        r"{{ x['\137\137class\137\137'] }}",
        "{{ self._TemplateReference__context.cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ lipsum.__globals__['os'].popen('id').read() }}",
        "{{ x.mro() }}",
        "{{ x.func_globals }}",
        "{{ a.b.popen('id') }}",
        "{{ '{0.__class__}'.format(x) }}",
        "{% set f = '{0.__class__}' %}{{ f.format(x) }}",
        "{{ [x] | map(attribute='__class__') | list }}",
        "{{ [x] | map('attr', '__class__') | list }}",
        "{{ [x] | map(attribute='a.__class__') | list }}",
        "{{ [x] | selectattr('__class__') | list }}",
        "{{ [x] | groupby('__class__') }}",
        "{{ [x] | sort(attribute='__class__') }}",
        "{{ [x] | sum('__class__') }}",
        "{{ raise_exception['__globals__'] }}",
    ],
)
def test_a_way_into_python_is_an_attack(source: str) -> None:
    assert ATTACK.id in rules(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''['__cl' ~ 'ass__'] }}",
        "{{ ''['_' * 2 ~ 'class' ~ '_' * 2] }}",
        "{% set u = '_' %}{% set c = u ~ u ~ 'class' ~ u ~ u %}{{ x[c] }}",
        "{% set n = namespace() %}{% for c in ['__', 'cl'] %}{% set n.s = n.s + c %}{% endfor %}{{ x[n.s + 'ass'] }}",
        "{{ x[['__', 'class', '__'] | join] }}",
        "{{ x['%c%cclass%c%c' | format(95, 95, 95, 95)] }}",
        "{{ x['%c%cclass%c%c' % (95, 95, 95, 95)] }}",
        "{{ x['__ssalc__' | reverse] }}",
        "{{ x[dict(__class__=1) | list | first] }}",
        "{% macro f(k) %}{{ x[k] }}{% endmacro %}{{ f('__cl' ~ 'ass__') }}",
        "{% set k %}__class__{% endset %}{{ x[k] }}",
        "{% set a = '__class__' %}{{ x | attr(a) }}",
        "{{ x['a' | int('__class__')] }}",
        "{% set n = namespace({'k': '__cla' ~ 'ss__'}) %}{{ x[n.k] }}",
        "{{ x['a'.replace('a', '__class__')] }}",
        "{% set l = [] %}{% set m = ['__cla' ~ 'ss__'] %}{% set n = l + m %}{{ x[n[0]] }}",
        "{% set l = [] %}{% set _ = l.append('__cla' ~ 'ss__') %}{{ x[l[0]] }}",
        "{% set d = {} %}{% set _ = d.update({'k': '__cla' ~ 'ss__'}) %}{{ x[d.k] }}",
        "{% for k, v in {'k': '__cla' ~ 'ss__'}.items() %}{{ x[v] }}{% endfor %}",
        "{% for c in '_' ~ '_class__' %}{{ x[c] }}{% endfor %}",
        "{% with a = '__cla' ~ 'ss__' %}{{ x[a] }}{% endwith %}",
    ],
)
def test_an_index_that_spells_internals_is_an_attack_however_it_is_put_together(source: str) -> None:
    assert ATTACK.id in rules(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ x['ssalc'[::-1]] }}",
        "{{ x[a ~ b] }}",
        "{{ x[a + b] }}",
        "{{ x[bos_token] }}",
        "{{ x[a * 2] }}",
        "{% set bos_token = bos_token + bos_token %}{{ x[bos_token] }}",
        "{% if false %}{% set bos_token = 1 %}{% set eos_token = 1 %}{% endif %}{{ x[bos_token + eos_token] }}",
        "{% set n = namespace() %}{% set n.s = n.s + 'a' %}{{ x[n.s] }}",
        "{{ x[strftime_now('%Y')] }}",
        "{% macro f() %}{{ x[caller()] }}{% endmacro %}{% call f() %}anything{% endcall %}",
        "{% import 'other' as other %}",
        "{% include 'other' %}",
        "{% extends 'other' %}",
        "{% block a %}{% endblock %}",
        "{{ request.application }}",
        "{{ joiner() }}",
        "{{ messages.foo('a') }}",
        "{{ something() }}",
        "{{ x[0](1) }}",
        "{{ range(*x) }}",
        "{{ x | unheard_of }}",
        "{{ x | pprint }}",
        "{{ x is unheard_of }}",
        "{{ x | map('unheard_of') }}",
        "{{ x | map(y) }}",
        "{{ x._private }}",
        "{% set namespace = '{0.a}'.format %}{{ namespace(x) }}",
        "{{ '{0.content}'.format(x) }}",
        "{{ 2 ** 9 ** 9 }}",
        "{{ 2 ** 99 }}",
        "{{ x ** 2 }}",
        "{{ 'a' * 1000000000000 }}",
        "{% set n = 1000 * 1000 %}{{ n * 'a' }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 'a'.center(1000000000) }}",
        "{{ range(999999999) }}",
        "{% for k in messages %}{{ raise_exception[k] }}{% endfor %}",
        "{% set f = strftime_now %}",
    ],
)
def test_what_conversations_have_no_need_of_is_unverified(source: str) -> None:
    assert rules(source) == {BEYOND.id}


@pytest.mark.parametrize(
    "source",
    [
        "{% if %}",
        "{{ messages",
        "{% do x %}",
        "{{ '" + "a" * MAX_TEMPLATE + "' }}",
        "{{ " + "(" * 5000,
        "{{ 1" + "0" * 9999 + " }}",
    ],
)
def test_what_cannot_be_parsed_is_unverified(source: str) -> None:
    assert rules(source) == {UNREADABLE.id}


@pytest.mark.slow
def test_a_long_chain_is_judged_or_refused_but_never_a_crash() -> None:
    assert rules("{{ x['a'" + " ~ 'b'" * 20_000 + "] }}") <= {UNREADABLE.id, BEYOND.id}


def test_keys_that_only_look_like_internals() -> None:
    assert rules("{{ x.my__key }}{{ x['class_name'] }}{% set k = 'init_class' %}{{ x[k] }}") == set()
    assert rules("{{ x['class_' ~ name] }}") == {BEYOND.id}


def test_small_powers_and_repetitions() -> None:
    assert rules("{{ '  ' * loop.depth }}{{ '=' * 80 }}{{ 2 ** 10 }}{{ ' ' * (indent * 4) }}") == set()


def test_texts_may_talk_of_internals() -> None:
    assert rules("Write def __init__(self) and read {{ 'the value of x.__class__ in Python' }}.") == set()


def test_hidden_characters() -> None:
    assert rules("{{ messages }}\u202e") == {CONCEALED.id}
    assert rules("{{ messages }}\U000e0041") == {CONCEALED.id}
    assert rules("{{ messages }}\u200b") == {INVISIBLE.id}


def test_escapes_that_python_does_not_know_are_text() -> None:
    assert rules(r"{{ x.split('\d') }}") == set()


def test_a_remark_names_the_line() -> None:
    (remark,) = judge_template("a\nb\n{{ x.__class__ }}")
    assert (remark.line, remark.detail) == (3, "'__class__'")
