"""What a template's expressions may yield: numbers, literals, parts of the conversation, or text put together.

`x[y]` falls back to the attribute of that name, so an index must never be text that the template has put together: that
is how attacks spell `__class__`. What each name may hold is the worst of all that is ever assigned to it, in whatever
order and scope.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, KeysView
from enum import IntEnum

from jinja2 import nodes

from modelcar.scanning.templates.vocabulary import (
    ELEMENT_FILTERS,
    LOOP_NUMBERS,
    NUMBER_FILTERS,
    NUMBER_METHODS,
    SAME_TEXT_FILTERS,
    SAME_TEXT_METHODS,
    TAKING_METHODS,
)

__all__ = ["Kind", "Values", "walk"]

_MUTATORS = frozenset({"append", "extend", "insert", "setdefault", "update"})
_NUMERIC = (
    nodes.Compare,
    nodes.Not,
    nodes.Test,
    nodes.Neg,
    nodes.Pos,
    nodes.Div,
    nodes.FloorDiv,
    nodes.Pow,
)
_READS_ATTRIBUTES = frozenset({"groupby", "map", "sum"})
_ROUNDS = 12  # more than any honest chain of assignments needs; after that everything counts as built


class Kind(IntEnum):
    """What an expression may yield, harmless first; of several the last counts."""

    NOTHING = -1  # before anything is known of it
    NUMBER = 0
    LITERAL = 1
    DATA = 2
    BUILT = 3


class Values:
    """What the names in a parsed template may hold."""

    def __init__(self, template: nodes.Template) -> None:
        self._sources: dict[str, dict[int, nodes.Node]] = {}
        self._kinds: dict[str, Kind] = {}
        self._memo: dict[int, Kind] = {}
        everything = list(walk(template))
        self._macros = _parameters(everything)
        self._learn_all(everything)  # only to know what is assigned at all
        self._kinds = dict.fromkeys(self._kinds, Kind.NOTHING)
        for _ in range(_ROUNDS):
            before = dict(self._kinds)
            self._learn_all(everything)
            if before == self._kinds:
                break
        else:
            self._kinds = dict.fromkeys(self._kinds, Kind.BUILT)
        self._memo = {}

    @property
    def macros(self) -> KeysView[str]:
        """The names of the template's own macros."""
        return self._macros.keys()

    def is_assigned(self, name: str) -> bool:
        """Whether the template itself gives `name` a value somewhere, other than by defining a macro."""
        return name in self._kinds

    def kind(self, node: nodes.Node) -> Kind:
        """What `node` may yield."""
        known = self._memo.get(id(node))
        if known is None:
            known = self._memo[id(node)] = self._kind(node)
        return known

    def literals_behind(self, node: nodes.Node) -> Iterator[object]:
        """All literals that `node` may be made of, in the order in which they stand there."""
        for each in self._behind(node, nodes.Node.iter_child_nodes):
            if isinstance(each, nodes.Const):
                yield each.value
            elif isinstance(each, nodes.TemplateData):
                yield each.data
            elif isinstance(each, nodes.Keyword):
                yield each.key

    def _keys_behind(self, node: nodes.Node) -> set[str]:
        """Under which keys the object that `node` yields may be remembered, by whatever names it goes."""
        return {key for key in map(_key_of, self._behind(node, _yielded)) if key is not None}

    def _behind(self, node: nodes.Node, parts: Callable[[nodes.Node], Iterable[nodes.Node]]) -> Iterator[nodes.Node]:
        seen: set[str] = set()
        waiting: list[nodes.Node] = [node]
        while waiting:
            each = waiting.pop()
            yield each
            name = _key_of(each)
            if name is not None and name not in seen:
                seen.add(name)
                waiting.extend(reversed(self._sources.get(name, {}).values()))
            waiting.extend(reversed(list(parts(each))))

    # --- learning

    def _learn_all(self, everything: list[nodes.Node]) -> None:
        self._memo = {}
        for node in everything:
            self._learn(node)

    def _learn(self, node: nodes.Node) -> None:
        if isinstance(node, nodes.Assign):
            # Where the assignment is not carried out, the name may be one that the program passes in.
            is_name = not isinstance(node.target, nodes.NSRef)
            self._assign(node.target, max(self.kind(node.node), Kind.DATA if is_name else Kind.NOTHING), node.node)
        elif isinstance(node, nodes.AssignBlock):
            for part in node.body:
                self._assign(node.target, Kind.BUILT, part)
        elif isinstance(node, nodes.For):
            self._assign(node.target, self.kind(node.iter), node.iter)
            for neighbour in (".nextitem", ".previtem"):  # of `loop`
                self._keep(neighbour, self.kind(node.iter), node.iter)
        elif isinstance(node, nodes.With):
            for target, value in zip(node.targets, node.values, strict=True):
                self._assign(target, self.kind(value), value)
        elif isinstance(node, nodes.Macro | nodes.CallBlock):
            name = node.name if isinstance(node, nodes.Macro) else "caller"
            self._sources.setdefault(name, {}).update({id(part): part for part in node.body})
            for arg, default in zip(reversed(node.args), reversed(node.defaults), strict=False):
                self._assign(arg, self.kind(default), default)
            for arg in node.args:
                self._assign(arg, Kind.DATA, node)
        elif isinstance(node, nodes.Call):
            self._learn_call(node)

    def _learn_call(self, call: nodes.Call) -> None:
        target = call.node
        arguments = [*call.args, *(pair.value for pair in call.kwargs)]
        if isinstance(target, nodes.Name) and target.name == "namespace":
            for pair in call.kwargs:
                self._keep(f".{pair.key}", self.kind(pair.value), pair.value)
        elif isinstance(target, nodes.Name):
            for parameters in self._macros.get(target.name, ()):
                self._pass_arguments(call, parameters)
        elif isinstance(target, nodes.Getattr) and target.attr in _MUTATORS:
            for key in self._keys_behind(target.node):
                for argument in arguments:
                    self._keep(key, self.kind(argument), argument)

    def _pass_arguments(self, call: nodes.Call, parameters: list[str]) -> None:
        for name, argument in zip(parameters, call.args, strict=False):
            self._keep(name, self.kind(argument), argument)
        for pair in call.kwargs:
            self._keep(pair.key, self.kind(pair.value), pair.value)

    def _assign(self, target: nodes.Node, kind: Kind, source: nodes.Node) -> None:
        for part in walk(target):
            if isinstance(part, nodes.NSRef):
                self._keep(f".{part.attr}", kind, source)
            elif isinstance(part, nodes.Name):
                self._keep(part.name, kind, source)

    def _keep(self, key: str, kind: Kind, source: nodes.Node) -> None:
        self._kinds[key] = max(kind, self._kinds.get(key, Kind.NOTHING))
        if not isinstance(source, nodes.Macro | nodes.CallBlock):
            self._sources.setdefault(key, {})[id(source)] = source

    # --- kinds

    def _kind(self, node: nodes.Node) -> Kind:
        if isinstance(node, nodes.Const):
            return Kind.LITERAL if isinstance(node.value, str) else Kind.NUMBER
        if isinstance(node, nodes.Name):
            return self._kinds.get(node.name, Kind.DATA)
        if isinstance(node, _NUMERIC):
            return Kind.NUMBER
        if isinstance(node, nodes.Add | nodes.Sub | nodes.Mul | nodes.Mod):
            return self._arithmetic(node)
        if isinstance(node, nodes.CondExpr):
            return self._worst([node.expr1, *([node.expr2] if node.expr2 is not None else [])])
        if isinstance(node, nodes.And | nodes.Or | nodes.Pair):
            return self._worst(node.iter_child_nodes())
        if isinstance(node, nodes.List | nodes.Tuple | nodes.Dict):
            return max(Kind.LITERAL, self._worst(node.iter_child_nodes()))  # no number: it can be added to others
        if isinstance(node, nodes.Getattr):
            return self._member(node.node, node.attr)
        if isinstance(node, nodes.Getitem):
            return self._item(node)
        if isinstance(node, nodes.Filter):
            return self._filtered(node)
        return self._called(node) if isinstance(node, nodes.Call) else Kind.BUILT

    def _worst(self, parts: Iterable[nodes.Node]) -> Kind:
        return max((self.kind(part) for part in parts), default=Kind.NUMBER)

    def _arithmetic(self, node: nodes.BinExpr) -> Kind:
        left, right = self.kind(node.left), self.kind(node.right)
        if isinstance(node, nodes.Sub):  # a set without some of its items, unless one of them is a number
            return Kind.NUMBER if Kind.NUMBER in (left, right) else max(left, right)
        if isinstance(node, nodes.Add):
            if Kind.NUMBER in (left, right):
                return Kind.NUMBER  # nothing but a number can be added to a number
            if left is right is Kind.NOTHING:
                return Kind.NOTHING
            lists = _is_list(node.left) or _is_list(node.right)
            return max(left, right) if lists else Kind.BUILT
        if isinstance(node, nodes.Mod):
            return Kind.NUMBER if left is Kind.NUMBER else Kind.BUILT
        return Kind.NUMBER if left is right is Kind.NUMBER else Kind.BUILT

    def _member(self, holder: nodes.Node, name: str) -> Kind:
        is_loop = isinstance(holder, nodes.Name) and holder.name == "loop" and "loop" not in self._kinds
        if is_loop and name in LOOP_NUMBERS:
            return Kind.NUMBER
        assigned = self._kinds.get(f".{name}")
        held = self.kind(holder)
        if assigned is None:
            return max(held, Kind.DATA)
        # of a namespace nothing is known but what was assigned to it; of data with a key of that name nothing is
        return assigned if held < Kind.DATA else max(held, assigned)

    def _item(self, node: nodes.Getitem) -> Kind:
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            return self._member(node.node, node.arg.value)
        held = self.kind(node.node)
        if isinstance(node.arg, nodes.Slice):
            return self._part(held, node.node)
        return held if self.kind(node.arg) is Kind.NUMBER else max(held, self._any_attribute())

    def _part(self, held: Kind, node: nodes.Node) -> Kind:
        """Of a part of what `node` is: one of a literal may be a name that the literal hides."""
        if _is_list(node) or held not in (Kind.LITERAL, Kind.DATA):
            return held
        hides = any(isinstance(each, str) and "_" in each for each in self.literals_behind(node))
        return Kind.BUILT if held is Kind.LITERAL or hides else held

    def _any_attribute(self) -> Kind:
        """Of any attribute of any namespace."""
        return max((kind for key, kind in self._kinds.items() if key.startswith(".")), default=Kind.NOTHING)

    def _filtered(self, node: nodes.Filter) -> Kind:
        inside = self.kind(node.node) if node.node is not None else Kind.BUILT
        arguments = self._worst([*node.args, *(pair.value for pair in node.kwargs)])
        if node.name in NUMBER_FILTERS:
            return arguments  # `int` and `float` have a default, which may be a text
        if node.name in _READS_ATTRIBUTES and (node.args or node.kwargs):
            arguments = max(arguments, self._any_attribute())
        if node.name in ELEMENT_FILTERS:
            return max(Kind.LITERAL, inside, arguments)
        if node.name == "map" and not node.args:
            return max(inside, Kind.DATA, arguments)
        if node.name in SAME_TEXT_FILTERS and inside is Kind.DATA and node.node is not None:
            return self._part(inside, node.node)
        return Kind.BUILT

    def _called(self, node: nodes.Call) -> Kind:
        target = node.node
        if isinstance(target, nodes.Name):
            if target.name in self._macros:
                return Kind.BUILT
            if target.name == "namespace":
                return max(Kind.NUMBER, self._worst(node.args))
            return Kind.NUMBER if target.name in ("range", "raise_exception") else Kind.BUILT
        if not isinstance(target, nodes.Getattr):
            return Kind.BUILT
        if target.attr in NUMBER_METHODS:
            return Kind.NUMBER
        held = self.kind(target.node)
        if target.attr in TAKING_METHODS:
            return max(held, self._worst(node.args), Kind.DATA)
        is_part = target.attr in SAME_TEXT_METHODS and held is Kind.DATA
        return self._part(held, target.node) if is_part else Kind.BUILT


def walk(root: nodes.Node) -> Iterator[nodes.Node]:
    """`root` and everything below it, without recursion."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.iter_child_nodes())


def _key_of(node: nodes.Node) -> str | None:
    """Under which key what `node` holds is remembered."""
    if isinstance(node, nodes.Name):
        return str(node.name)
    return f".{node.attr}" if isinstance(node, nodes.Getattr | nodes.NSRef) else None


def _yielded(node: nodes.Node) -> Iterable[nodes.Node]:
    """The parts that what `node` yields may be or hold as they are, and not as text."""
    if isinstance(node, nodes.Getattr | nodes.Getitem):
        return [node.node]
    if isinstance(node, nodes.Filter):
        is_text = node.name in NUMBER_FILTERS or node.name in SAME_TEXT_FILTERS
        return [] if is_text else node.iter_child_nodes()
    if isinstance(node, nodes.Call):
        is_text = isinstance(node.node, nodes.Getattr) and node.node.attr not in TAKING_METHODS
        return (
            []
            if is_text
            else [part for part in node.iter_child_nodes() if part is not node.node or isinstance(part, nodes.Getattr)]
        )
    if isinstance(node, nodes.Add):
        sides = [node.left, node.right]
        return [] if any(isinstance(side, nodes.Const) for side in sides) else sides
    is_holder = isinstance(
        node, nodes.List | nodes.Tuple | nodes.Dict | nodes.Pair | nodes.Keyword | nodes.CondExpr | nodes.And | nodes.Or
    )
    return node.iter_child_nodes() if is_holder else []


def _is_list(node: nodes.Node) -> bool:
    return isinstance(node, nodes.List | nodes.Tuple)


def _parameters(everything: Iterable[nodes.Node]) -> dict[str, list[list[str]]]:
    """The parameters of every macro, by its name; what a block is called back with counts as one called `caller`."""
    macros: dict[str, list[list[str]]] = {}
    for node in everything:
        if isinstance(node, nodes.Macro | nodes.CallBlock):
            name = node.name if isinstance(node, nodes.Macro) else "caller"
            macros.setdefault(name, []).append([arg.name for arg in node.args])
    return macros
