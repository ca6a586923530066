"""`--limit-rate`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import click

from modelcar.units import parse_rate

__all__ = ["limit_rate_option"]

F = TypeVar("F", bound=Callable[..., Any])


def limit_rate_option(command: F) -> F:
    """`--limit-rate`, handed on as `limit_rate`: bytes a second, or `None`."""

    @click.option("--limit-rate", "limit", metavar="RATE", help="Bytes a second at most, such as 50MB/s or 1Gbit/s.")
    @wraps(command)
    def wrapper(*args: Any, limit: str | None, **kwargs: Any) -> Any:
        return command(*args, limit_rate=None if limit is None else parse_rate(limit), **kwargs)

    return cast("F", wrapper)
