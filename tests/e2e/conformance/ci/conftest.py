"""The bench of tests/e2e/ci, for runners that are not ours."""

from tests.e2e.ci.conftest import bench, keys, registry

__all__ = ["bench", "keys", "registry"]
