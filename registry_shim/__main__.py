"""`python -m registry_shim`, and what the installed command runs."""

from __future__ import annotations

import modelcar.__main__

__all__ = ["run"]


def run() -> None:
    """Run the command line as a process of its own, and exit with its status."""
    modelcar.__main__.run("registry_shim.cli")


if __name__ == "__main__":
    run()
