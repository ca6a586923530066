"""The tree drawn in `modelcar.errors` is the real one."""

from __future__ import annotations

import re

import modelcar.errors
from modelcar.errors import ModelcarError, RegistryError

LINE = re.compile(r"^(?P<indent>(?:│   |    )*)(?:├── |└── )?(?P<name>[A-Z]\w+) +(?:(?P<status>\d) )?")


def drawn() -> dict[str, tuple[str | None, int | None]]:
    """Name to (parent, exit status where one is drawn), from the docstring."""
    docstring = modelcar.errors.__doc__
    assert docstring is not None
    picture = docstring.split("```")[1].strip("\n")
    result: dict[str, tuple[str | None, int | None]] = {}
    ancestors: list[str] = []
    for line in picture.splitlines():
        match = LINE.match(line)
        assert match, line
        depth = 0 if line.startswith("M") else len(match["indent"]) // 4 + 1
        ancestors[depth:] = [match["name"]]
        status = int(match["status"]) if match["status"] else None
        result[match["name"]] = (ancestors[depth - 1] if depth else None, status)
    return result


def real(kind: type[ModelcarError]) -> list[type[ModelcarError]]:
    return [kind, *(k for child in kind.__subclasses__() for k in real(child))]


def in_module() -> dict[str, type[ModelcarError]]:
    return {k.__name__: k for k in real(ModelcarError) if k.__module__ == "modelcar.errors"}


def test_the_drawing_is_the_tree() -> None:
    bases = {name: kind.__base__ for name, kind in in_module().items()}
    parents = {name: base.__name__ for name, base in bases.items() if base not in (None, Exception)}
    assert {name: parent for name, (parent, _) in drawn().items() if parent} == parents
    assert set(drawn()) == set(bases)


def test_exit_statuses_are_as_drawn() -> None:
    picture = drawn()
    for name, kind in in_module().items():
        ancestor: str | None = name
        while ancestor and picture[ancestor][1] is None:
            ancestor = picture[ancestor][0]
        expected = picture[ancestor][1] if ancestor else ModelcarError.exit_status
        assert kind.exit_status == expected, name


def test_what_an_error_carries() -> None:
    error = RegistryError("no", status=403, codes=("DENIED",), hint="log in")
    assert (str(error), error.hint, error.status, error.codes) == ("no", "log in", 403, ("DENIED",))
    assert ModelcarError("no").hint is None
