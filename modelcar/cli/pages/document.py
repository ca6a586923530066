"""One self-contained HTML document: style, script and data stand in it, and its policy lets nothing else in or out.

Every name in an image is other people's text. Whatever a template shows is bounded, made visible, and escaped,
whether or not the template asks for it; the one script sets only text; and if all that failed, the policy allows the
script and the style sheet with these hashes and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Any, Final, Self

from jinja2 import Environment, FunctionLoader, StrictUndefined

from modelcar.cli.layers import files_in
from modelcar.cli.output import human_size, percent
from modelcar.cli.pages.places import Places
from modelcar.cli.pages.texts import json_text, shown

__all__ = ["render"]

_LONGEST: Final = 400  # characters of a description


def render(template: str, places: Places, data: Any, **parts: Any) -> bytes:
    """The document that `templates/<template>` makes of `parts`.

    Args:
        places: the rules that the parts refer to.
        data: what the script reads; anything that JSON can say.
    """
    style, script = f"{_file('style.css')}{places.rules}", _file("page.js")
    own = {"style": style, "script": script, "data": json_text(data)}  # the only texts that are not escaped
    hashes = {"style_hash": _hash(style), "script_hash": _hash(script)}
    return _environment().get_template(template).render(**own, **hashes, **parts).encode()


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_file),
        autoescape=True,
        finalize=_finalized,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(size=human_size, long=_Long, files=files_in)
    environment.globals["percent"] = percent
    return environment


class _Long(str):
    """Prose, which may be longer than names; escaped like them."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        return super().__new__(cls, shown(text, _LONGEST))


def _finalized(value: object) -> object:
    return value if hasattr(value, "__html__") or isinstance(value, _Long) else shown(value)


@cache
def _file(name: str) -> str:
    return resources.files(__package__).joinpath("templates", name).read_text("utf-8")
