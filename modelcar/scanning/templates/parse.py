"""Jinja as the programs that render chat templates set it up, for parsing only."""

from __future__ import annotations

import warnings
from functools import cache

from jinja2 import Environment, nodes
from jinja2.ext import Extension, LoopControlExtension
from jinja2.parser import Parser

__all__ = ["parse_template"]


class _Generation(Extension):
    """transformers' `{% generation %}`, which marks what the model has said: its body counts, the mark does nothing."""

    tags = {"generation"}  # noqa: RUF012  # as the base class has it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@cache
def _environment() -> Environment:
    # The blocks are trimmed as transformers does it. Nothing is ever rendered, so nothing has to be escaped.
    return Environment(  # noqa: S701  # nothing is rendered
        trim_blocks=True, lstrip_blocks=True, extensions=[LoopControlExtension, _Generation], cache_size=0
    )


def parse_template(source: str) -> nodes.Template:
    """What `source` says.

    Raises:
        ValueError: it is no template; `str(e)` says why.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of literals that are not quite right
            return _environment().parse(source)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except Exception as e:  # the parser has no list of what it raises on hostile input
        raise ValueError(f"{type(e).__name__}: {e}") from None
