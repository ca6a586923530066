"""Scanners that are Python packages, which modelcar does not install by itself."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from modelcar.errors import UsageError

__all__ = ["require", "version"]


def require(package: str) -> None:
    """
    Raises:
        UsageError: `package` is not installed.
    """
    try:
        version(package)
    except PackageNotFoundError:
        raise UsageError(
            f"the scanner {package} is not installed", hint="pip install 'modelcar[second-opinions]'"
        ) from None
