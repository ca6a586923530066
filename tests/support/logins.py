"""What of the user who runs the tests must not take part in them."""

from __future__ import annotations

from pathlib import Path

import pytest

__all__ = ["without_logins"]


def without_logins(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Neither the logins of whoever runs the tests nor their proxies: `home` is the home from now on."""
    monkeypatch.setenv("HOME", str(home))
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
