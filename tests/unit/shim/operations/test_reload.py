"""A configuration that changes while the node runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from modelcar.errors import UsageError
from modelcar.serving.config.reading import load_file
from modelcar.serving.config.reloading import Reloader, changes
from modelcar.serving.settings import Level, Limits, LogSettings, Tls
from registry_shim.operations.settings import NodeSettings


class Node:
    """What is in force, and a file that says what should be."""

    def __init__(self, path: Path, text: str = "") -> None:
        self.path = path
        path.write_text(text)
        self.applied: list[str] = []
        self.limits = Limits()
        self.appliers: dict[str, Callable[[NodeSettings], Awaitable[None] | None]] = {
            "limits": self._set_limits,
            "log": self._set_log,
            "mirror.upstreams": self._late,
        }

    def reloader(self, *, overrides: dict[str, Any] | None = None, look_seconds: float = 5) -> Reloader[NodeSettings]:
        def read() -> NodeSettings:
            return load_file(self.path, NodeSettings).overridden(overrides or {})

        return Reloader(self.path, read(), read, self.appliers, look_seconds=look_seconds)

    def _set_limits(self, settings: NodeSettings) -> None:
        self.limits = settings.limits
        self.applied.append("limits")

    def _set_log(self, _: NodeSettings) -> None:
        self.applied.append("log")

    async def _late(self, _: NodeSettings) -> None:
        await asyncio.sleep(0)
        self.applied.append("upstreams")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "node.yaml")


@pytest.fixture(autouse=True)
def _log_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "modelcar")


def reload(node: Node, text: str, overrides: dict[str, Any] | None = None) -> bool:
    async def main() -> bool:
        reloader = node.reloader(overrides=overrides)
        node.path.write_text(text)
        return await reloader.reload()

    return asyncio.run(main())


def test_what_may_change_does_and_what_may_not_is_said(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    limits, mirror = "limits: {requests: 7, connections: 9}", "mirror: {upstreams: [{registry: ghcr.io}], stale: false}"
    text = f"{limits}\nroot: /elsewhere\n{mirror}"
    assert reload(node, text)
    assert node.applied == ["limits", "upstreams"]
    assert (node.limits.requests, node.limits.connections) == (7, 9)
    assert "the configuration's root changes with the next restart" in caplog.text
    assert "the configuration's mirror.stale changes with the next restart" in caplog.text
    assert "the configuration's mirror.upstreams has changed" in caplog.text


def test_what_is_wrong_changes_nothing_and_says_why(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    assert not reload(node, "limits: {requests: 7}\nlog: {level: loud}\nrooot: /")
    assert node.applied == []
    assert f"not changed: {node.path}:2: log.level is one of debug, info" in caplog.text
    assert f"not changed: {node.path}:3: rooot is not a setting; did you mean root?" in caplog.text


def test_a_part_that_refuses_keeps_the_old_settings(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(_: NodeSettings) -> None:
        raise UsageError("that policy is none")

    async def main() -> None:
        node.appliers["gate"] = refuse
        reloader = node.reloader()
        before = reloader.current
        node.path.write_text("gate: {unmatched: allow}")
        assert not await reloader.reload()
        assert reloader.current == before

    asyncio.run(main())
    assert "not changed: that policy is none" in caplog.text


def test_a_file_that_is_gone_changes_nothing(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        reloader = node.reloader()
        node.path.unlink()
        assert not await reloader.reload()

    asyncio.run(main())
    assert "cannot read" in caplog.text


def test_the_command_line_goes_on_to_count(node: Node) -> None:
    assert reload(node, "limits: {requests: 7}", overrides={"limits": Limits()})
    assert node.applied == []


def test_the_same_again_does_nothing(node: Node) -> None:
    assert reload(node, "# another comment")
    assert node.applied == []


def test_a_changed_file_is_seen(node: Node) -> None:
    async def main() -> None:
        reloader = node.reloader(look_seconds=0.01)
        watching = asyncio.create_task(reloader.watch())
        new = node.path.with_suffix(".new")
        new.write_text("limits: {requests: 7}")
        new.replace(node.path)
        async with asyncio.timeout(60):
            while not node.applied:  # noqa: ASYNC110  # a file has no event
                await asyncio.sleep(0.01)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    asyncio.run(main())
    assert node.limits.requests == 7


def test_a_signal_handler_may_ask_for_it(node: Node) -> None:
    async def main() -> None:
        reloader = node.reloader()
        node.path.write_text("limits: {requests: 7}")
        reloader.soon()
        async with asyncio.timeout(60):
            while not node.applied:  # noqa: ASYNC110  # it runs by itself
                await asyncio.sleep(0.01)

    asyncio.run(main())
    assert node.limits.requests == 7


def test_what_differs() -> None:
    old = NodeSettings()
    new = NodeSettings(
        log=LogSettings(level=Level.INFO), tls=Tls(certificate_file=Path("a"), key_file=Path("b")), writable=True
    )
    assert list(changes(old, new)) == ["writable", "tls", "log.level"]
    assert list(changes(old, NodeSettings())) == []
