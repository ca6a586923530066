"""README.md shows what really happens."""

from __future__ import annotations

from examples.quickstart.transcript import COMMANDS, in_readme, timeless, transcript


def test_the_transcript_is_what_the_commands_print() -> None:
    shown = in_readme()
    assert all(f"$ {command}\n" in shown for command in COMMANDS)
    assert timeless(shown) == timeless(transcript())
