"""Passwords of keys: asked for on a terminal, or taken from `COSIGN_PASSWORD`; never an argument, never shown."""

from __future__ import annotations

import os
import sys
from typing import Final

import click

from modelcar.errors import UsageError

__all__ = ["ask_new_password", "ask_password"]

VARIABLE: Final = "COSIGN_PASSWORD"


def ask_password() -> bytes:
    """The password of an existing key.

    Raises:
        UsageError: the variable is not set and there is no terminal to ask on.
    """
    return _ask("Password of the key", confirm=False)


def ask_new_password() -> bytes:
    """A password for a new key, asked for twice; it may be empty. Raises as `ask_password`."""
    return _ask("Password for the new key (may be empty)", confirm=True)


def _ask(text: str, *, confirm: bool) -> bytes:
    if (password := os.environ.get(VARIABLE)) is not None:
        return password.encode()
    if not sys.stdin.isatty():
        raise UsageError("the key has a password and there is no terminal to ask for it", hint=f"set {VARIABLE}")
    answer = click.prompt(
        text, default="", show_default=False, hide_input=True, confirmation_prompt=confirm, err=True, type=str
    )
    return str(answer).encode()
