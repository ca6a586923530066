"""A parsed template against what conversations need: whatever is not known to be harmless is remarked on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from string import Formatter
from typing import Any, Final

from jinja2 import nodes

from modelcar.scanning.findings import Rule, shown
from modelcar.scanning.templates import MAX_TEMPLATE
from modelcar.scanning.templates.parse import parse_template
from modelcar.scanning.templates.rules import ATTACK, BEYOND, CONCEALED, INVISIBLE, UNREADABLE
from modelcar.scanning.templates.values import Kind, Values, walk
from modelcar.scanning.templates.vocabulary import (
    ATTACK_CALLS,
    ATTACK_WORDS,
    FILTERS,
    FUNCTIONS,
    METHODS,
    NODES,
    REFUSED_NAMES,
    TESTS,
    is_internal,
)

__all__ = ["Remark", "judge_template"]

_MAX_NODES: Final = 100_000  # the longest published templates have some 10,000
_MAX_REPEATS: Final = 100_000  # what the sandbox of Jinja allows `range`
_MAX_NUMBER: Final = 1_000_000  # no conversation counts further
_MAX_EXPONENT: Final = 32
_WIDE_FIELD: Final = re.compile(r"[%:][^\s%:]{0,3}[0-9]{6}")
# whole names of Python's internals, which no text in a conversation consists of
_GADGET: Final = re.compile(
    r"_*__(class|globals|subclasses|builtins|import|init|bases?|mro|getattribute|getitem|reduce|dict|loader|call|code|"
    r"closure|self|func|wrapped|module|spec)__"
)
_CONCEALING: Final = re.compile("[\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")
_INVISIBLE: Final = re.compile("[\u200b-\u200d\u2060-\u2064\ufeff]")
# methods whose names are those of data, too
_KEYS: Final = frozenset({"center", "copy", "count", "index", "items", "keys", "replace", "title", "update", "values"})
# whose `attribute` names one
_ATTRIBUTE_FILTERS: Final = frozenset(
    {"groupby", "map", "max", "min", "rejectattr", "selectattr", "sort", "sum", "unique"}
)
_BY_POSITION: Final = frozenset({"groupby", "rejectattr", "selectattr"})  # and those whose first argument does


@dataclass(frozen=True, slots=True)
class Remark:
    """A rule that applies to a line of the template, and what exactly is there."""

    rule: Rule
    line: int
    detail: str


def judge_template(source: str, check_time: Callable[[], None] = lambda: None) -> Iterator[Remark]:
    """Every reason not to call `source` harmless. `check_time` is called now and then, and may raise."""
    yield from _hidden(source)
    if len(source) > MAX_TEMPLATE:
        yield Remark(UNREADABLE, 1, f"it has {len(source)} characters; the limit is {MAX_TEMPLATE}")
        return
    try:
        template = parse_template(source)
        if sum(1 for _ in walk(template)) > _MAX_NODES:
            yield Remark(UNREADABLE, 1, f"it has more than {_MAX_NODES} parts")
            return
        yield from _Judge(template).remarks(check_time)
    except RecursionError:
        yield Remark(UNREADABLE, 1, "it is nested too deeply")
    except ValueError as e:
        yield Remark(UNREADABLE, 1, shown(str(e)))


def _hidden(source: str) -> Iterator[Remark]:
    for rule, pattern in ((CONCEALED, _CONCEALING), (INVISIBLE, _INVISIBLE)):
        match = pattern.search(source)
        if match is not None:
            yield Remark(rule, source.count("\n", 0, match.start()) + 1, f"U+{ord(match[0]):04X}")


class _Judge:
    def __init__(self, template: nodes.Template) -> None:
        self._template = template
        self._values = Values(template)
        self._own = {*self._values.macros} - {"caller"}
        self._called: set[int] = set()

    def remarks(self, check_time: Callable[[], None]) -> Iterator[Remark]:
        for number, node in enumerate(walk(self._template)):
            if number % 100 == 0:
                check_time()
            if type(node).__name__ not in NODES:
                yield self._beyond(node, type(node).__name__)
                continue
            check = _CHECKS.get(type(node))
            if check is not None:
                yield from check(self, node)

    # --- one kind of node each

    def on_name(self, node: nodes.Name) -> Iterator[Remark]:
        if is_internal(node.name):
            yield self._attack(node, node.name)
        elif node.name in ("varargs", "kwargs") or (
            node.name in REFUSED_NAMES and node.ctx == "load" and not self._values.is_assigned(node.name)
        ):
            yield self._beyond(node, node.name)
        elif node.name in FUNCTIONS | self._own and node.ctx == "load" and id(node) not in self._called:
            yield self._beyond(node, f"{node.name}, which is not called")

    def on_reference(self, node: nodes.NSRef) -> Iterator[Remark]:
        yield from self._attribute(node, node.attr)

    def on_member(self, node: nodes.Getattr) -> Iterator[Remark]:
        yield from self._attribute(node, node.attr)
        if id(node) in self._called:
            return
        if node.attr == "format" and self._values.kind(node.node) is not Kind.NUMBER:
            if any(isinstance(each, str) and "{" in each for each in self._values.literals_behind(node.node)):
                yield from self._format(node, node.node)
        elif node.attr in METHODS - _KEYS and not self._values.is_assigned(f".{node.attr}"):
            yield self._beyond(node, f".{node.attr}, which is not called")

    def on_loop(self, node: nodes.For) -> Iterator[Remark]:
        if node.recursive:
            yield self._beyond(node, "a recursive loop")

    def on_keyword(self, node: nodes.Keyword) -> Iterator[Remark]:
        yield from self._attribute(node, node.key)

    def _attribute(self, node: nodes.Node, name: str) -> Iterator[Remark]:
        if is_internal(name):
            yield self._attack(node, name)
        elif name.startswith("_"):
            yield self._beyond(node, name)

    def on_constant(self, node: nodes.Const) -> Iterator[Remark]:
        value = node.value
        if isinstance(value, str) and _GADGET.fullmatch(value.strip()):
            yield self._attack(node, value)
        elif isinstance(value, str) and _WIDE_FIELD.search(value):
            yield self._beyond(node, "a field of a million characters")
        elif isinstance(value, int | float) and abs(value) > _MAX_NUMBER:
            yield self._beyond(node, f"the number {value}")

    def on_product(self, node: nodes.Mul) -> Iterator[Remark]:
        """A text times a number is as long as the number says."""
        if self._values.kind(node) is not Kind.NUMBER:
            numbers = [n for n in self._values.literals_behind(node) if isinstance(n, int) and n]
            if abs(prod(numbers[:1000])) > _MAX_REPEATS:
                yield self._beyond(node, "a text repeated more than 100,000 times")

    def on_power(self, node: nodes.Pow) -> Iterator[Remark]:
        parts = (node.left, node.right)
        if not all(isinstance(part, nodes.Const) and isinstance(part.value, int) for part in parts):
            yield self._beyond(node, "a power of something")
        elif isinstance(node.right, nodes.Const) and abs(node.right.value) > _MAX_EXPONENT:
            yield self._beyond(node, f"the {node.right.value}th power")

    def on_item(self, node: nodes.Getitem) -> Iterator[Remark]:
        if isinstance(node.arg, nodes.Slice):
            return
        yield from self._index(node, node.arg)
        if isinstance(node.node, nodes.Name) and node.node.name in self._own | FUNCTIONS | {"loop"}:
            yield self._beyond(node, f"{node.node.name}[…]")

    def _index(self, node: nodes.Node, index: nodes.Node) -> Iterator[Remark]:
        """An index or an attribute's name; it may be a literal without underscores in front, or what data holds."""
        if isinstance(index, nodes.Const):
            if isinstance(index.value, str):
                for part in index.value.split("."):
                    yield from self._attribute(node, part)
            return
        literals = [each for each in self._values.literals_behind(index) if isinstance(each, str)]
        is_built = self._values.kind(index) is Kind.BUILT
        if any(is_internal(literal) for literal in literals if len(literal) < 60):
            yield self._attack(node, "an index that is one of Python's internals")
        elif is_built and _spells_internals(literals):
            yield self._attack(node, "an index that is put together from pieces: " + " ".join(literals))
        elif is_built or _spells_internals(literals):
            yield self._beyond(node, "an index that the template puts together")
        elif any(literal.startswith("_") for literal in literals):
            yield self._beyond(node, "an index that may begin with an underscore")
        elif any(isinstance(part, nodes.Name) and part.name.endswith("_token") for part in walk(index)):
            yield self._beyond(node, "an index that is one of the model's own special tokens")

    def on_call(self, node: nodes.Call) -> Iterator[Remark]:
        target = node.node
        self._called.add(id(target))
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            yield self._beyond(node, "arguments that are unpacked")
        if isinstance(target, nodes.Name):
            if target.name not in FUNCTIONS | self._own or self._values.is_assigned(target.name):
                yield self._beyond(node, f"{target.name}()")
            if target.name == "range" and any(_is_huge(argument) for argument in node.args):
                yield self._beyond(node, "a range of more than 100,000 steps")
        elif not isinstance(target, nodes.Getattr):
            yield self._beyond(node, "a call of something without a name")
        elif target.attr in ATTACK_CALLS:
            yield self._attack(node, f".{target.attr}()")
        elif target.attr == "format":
            yield from self._format(node, target.node)
        elif target.attr not in METHODS:
            yield self._beyond(node, f".{target.attr}()")

    def _format(self, node: nodes.Node, text: nodes.Node) -> Iterator[Remark]:
        """`text.format(…)` reads attributes if its fields name some."""
        if not isinstance(text, nodes.Const) or not isinstance(text.value, str):
            literals = [each for each in self._values.literals_behind(text) if isinstance(each, str)]
            attack = any(is_internal(literal) and "{" in literal for literal in literals)
            what = ".format() of a text that is no literal"
            yield self._attack(node, what) if attack else self._beyond(node, what)
            return
        try:
            fields = [name or "" for _, name, _, _ in Formatter().parse(text.value)]
        except ValueError:
            fields = ["?"]
        if any(is_internal(field) for field in fields):
            yield self._attack(node, text.value)
        elif not all(re.fullmatch(r"[A-Za-z0-9]*", field) for field in fields):
            yield self._beyond(node, ".format() with attributes")

    def on_filter(self, node: nodes.Filter) -> Iterator[Remark]:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            yield self._beyond(node, "arguments that are unpacked")
        if node.name == "attr":
            yield from self._index(node, node.args[0]) if node.args else ()
            yield self._beyond(node, "|attr")
        elif node.name not in FILTERS:
            yield self._beyond(node, f"|{node.name}")
        elif node.name in _ATTRIBUTE_FILTERS:
            yield from self._attribute_filter(node)

    def _attribute_filter(self, node: nodes.Filter) -> Iterator[Remark]:
        """Filters that take attributes, filters and tests by their names."""
        attributes = [pair.value for pair in node.kwargs if pair.key == "attribute"]
        if node.name in _BY_POSITION:
            attributes += node.args[:1]
        elif node.name in ("max", "min", "sort", "sum", "unique") and len(node.args) > (node.name == "sum") - 1:
            attributes += [arg for arg in node.args if self._values.kind(arg) is not Kind.NUMBER]
        for attribute in attributes:
            yield from self._index(node, attribute)
        names = node.args[:1] if node.name == "map" else node.args[1:2] if node.name.endswith("attr") else []
        known = FILTERS - _ATTRIBUTE_FILTERS if node.name == "map" else TESTS
        for name in names:
            if not isinstance(name, nodes.Const) or name.value not in known:
                yield from self._index(node, name)
                yield self._beyond(node, f"|{node.name} with what is not known to be harmless")
        if node.name == "map" and names:  # `map('attr', '__class__')`
            for argument in node.args[1:]:
                yield from self._index(node, argument)

    def on_test(self, node: nodes.Test) -> Iterator[Remark]:
        self._called.add(id(node.node))  # `strftime_now is defined` is as good as a call
        if node.name not in TESTS:
            yield self._beyond(node, f"is {node.name}")

    # ---

    def _attack(self, node: nodes.Node, what: str) -> Remark:
        return Remark(ATTACK, node.lineno, shown(what))

    def _beyond(self, node: nodes.Node, what: str) -> Remark:
        return Remark(BEYOND, node.lineno, shown(what)[1:-1])


_CHECKS: Final[dict[type[nodes.Node], Callable[[_Judge, Any], Iterator[Remark]]]] = {
    nodes.For: _Judge.on_loop,
    nodes.Name: _Judge.on_name,
    nodes.NSRef: _Judge.on_reference,
    nodes.Getattr: _Judge.on_member,
    nodes.Keyword: _Judge.on_keyword,
    nodes.Const: _Judge.on_constant,
    nodes.Getitem: _Judge.on_item,
    nodes.Mul: _Judge.on_product,
    nodes.Pow: _Judge.on_power,
    nodes.Call: _Judge.on_call,
    nodes.Filter: _Judge.on_filter,
    nodes.Test: _Judge.on_test,
}


def _spells_internals(literals: list[str]) -> bool:
    """Whether pieces of text, put together or turned round, may make the name of one of Python's internals."""
    together = "".join(literals)[:10_000]
    letters = re.sub(r"[^a-z]", "", together.lower())
    spelled = any(word in letters or word[::-1] in letters for word in ATTACK_WORDS)
    underscores = "__" in together or "%c" in together or any(each and not each.strip("_") for each in literals)
    return spelled and underscores


def _is_huge(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Const) and isinstance(node.value, int) and abs(node.value) > _MAX_REPEATS
