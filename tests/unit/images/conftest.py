"""The same image as in the tests of packaging."""

from tests.unit.packaging.conftest import build, folder, store

__all__ = ["build", "folder", "store"]
