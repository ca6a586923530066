"""The mirror ends although an upstream keeps it waiting."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from registry_shim.mirror.settings import MirrorSettings, UpstreamSettings
from registry_shim.testing import running_mirror
from tests.support.scripted_registry import Reply, ScriptedRegistry

from .conftest import HOST, Client, publish

pytestmark = pytest.mark.slow


def test_an_upstream_that_hangs_does_not_keep_it(upstream: ScriptedRegistry, tmp_path: Path) -> None:
    publish(upstream)
    upstream.on("GET", "/manifests/", Reply(200, stall=600, body=b"x"), times=50)
    settings = MirrorSettings(upstreams=(UpstreamSettings(registry=HOST, urls=(upstream.url,), timeout=600.0),))
    with ThreadPoolExecutor(1) as threads:
        with running_mirror(settings, tmp_path / "root") as address:
            asked = threads.submit(Client(address).manifest, "v1")
            assert upstream.began_to_stall.wait(10)
        assert asked.exception() is not None
    assert not upstream.stalled_to_the_end.is_set()
    for thread in threading.enumerate():
        if "shim-mirror" in thread.name:
            thread.join(10)
            assert not thread.is_alive()
