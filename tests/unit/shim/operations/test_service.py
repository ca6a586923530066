"""The operations of a node as one, over a real socket; signals; and addresses that need protection."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from modelcar.errors import UsageError
from modelcar.serving.messages import Request, Response
from modelcar.serving.settings import Authentication, Tls
from modelcar.serving.signals import Stop, handled
from registry_shim.operations.exposure import require_protection
from registry_shim.operations.service import operating
from registry_shim.operations.settings import NodeSettings
from registry_shim.operations.sights import Sights
from tests.support.raw_http import ask, head, running

TOKEN = "t0ken-of-the-node-agent"
HOST = "Host: 127.0.0.1"


async def registry(request: Request) -> Response:
    return Response(status=200, body=b"registry " + request.path.encode())


def asked(settings: NodeSettings, root: Path, *requests: bytes, pages: bool = False) -> list[bytes]:
    async def main() -> list[bytes]:
        async with operating(settings, root, writes=True) as operations:
            handler = operations.pages if pages else operations.around(registry)
            async with running(handler, observer=operations.observer) as (listening, port):
                sights = Sights(connections=lambda: len(listening.connections), requests=lambda: listening.running)
                operations.look_at(sights)
                return [await ask(port, request) for request in requests]

    return asyncio.run(main())


@pytest.mark.slow
def test_one_listener_serves_it_all(tmp_path: Path) -> None:
    paths = ("/healthz", "/readyz", "/ui", "/ui/data.json", "/v2/a/tags/list", "/metrics")
    *answers, metrics = asked(NodeSettings(), tmp_path, *(head(HOST, target=path) for path in paths))
    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in (*answers, metrics))
    assert answers[-1].endswith(b"registry /v2/a/tags/list")
    families = {f.name: f for f in text_string_to_metric_families(metrics.partition(b"\r\n\r\n")[2].decode())}
    requests = {s.labels["route"]: s.value for s in families["registry_shim_http_requests"].samples}
    assert requests == {"operations": 4.0, "tags": 1.0}
    assert families["registry_shim_http_requests_running"].samples[0].value == 1, "the scrape itself"


@pytest.mark.slow
def test_with_a_listener_of_their_own_only_probes_stay(tmp_path: Path) -> None:
    settings = NodeSettings(metrics_listen="127.0.0.1:0")
    main = asked(settings, tmp_path, head(HOST, target="/metrics"), head(HOST, target="/healthz"))
    assert main[0].endswith(b"registry /metrics")
    assert main[1].endswith(b"ok\n")
    own = asked(settings, tmp_path, head(HOST, target="/metrics"), head(HOST, target="/v2/"), pages=True)
    assert b"registry_shim_info" in own[0]
    assert own[1].startswith(b"HTTP/1.1 404 ")


@pytest.mark.slow
def test_who_must_say_who_they_are_must_for_pages_too(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.touch(0o600)
    tokens.write_text(f"agent:{TOKEN}")
    settings = NodeSettings(authentication=Authentication(tokens_file=tokens))
    paths = ("/metrics", "/ui", "/ui/data.json", "/v2/", "/healthz")
    refused = asked(settings, tmp_path, *(head(HOST, target=path) for path in paths))
    assert [int(answer.split()[1]) for answer in refused] == [401, 401, 401, 401, 200]
    (let_in,) = asked(settings, tmp_path, head(HOST, f"Authorization: Bearer {TOKEN}", target="/metrics"), pages=True)
    assert b"registry_shim_info" in let_in


def test_a_node_that_stops_says_so_before_it_does(tmp_path: Path) -> None:
    async def main() -> None:
        async with operating(NodeSettings(), tmp_path, writes=True) as operations:
            operations.ready()
            operations.stopping()
            response = await operations.around(registry)(Request(method="GET", path="/readyz"))
            assert (response.status, response.body) == (503, b"it is stopping\n")

    asyncio.run(main())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_and_the_second_insists(number: int) -> None:
    async def main() -> None:
        stop, hurried = Stop(), asyncio.Event()
        stop.hurry(hurried.set)
        with handled(stop):
            os.kill(os.getpid(), number)
            await asyncio.wait_for(stop.asked.wait(), 60)
            assert not hurried.is_set()
            os.kill(os.getpid(), number)
            await asyncio.wait_for(hurried.wait(), 60)

    asyncio.run(main())


def test_hang_up_means_read_again() -> None:
    async def main() -> None:
        read = asyncio.Event()
        with handled(Stop(), read.set):
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.wait_for(read.wait(), 60)

    asyncio.run(main())


PLAIN_TLS = Tls(certificate_file=Path("a"), key_file=Path("b"))
MUTUAL_TLS = Tls(certificate_file=Path("a"), key_file=Path("b"), client_ca_file=Path("c"))
PASSWORDS = Authentication(htpasswd_file=Path("d"))


@pytest.mark.parametrize(
    ("is_local", "tls", "authentication", "insecure"),
    [
        (True, None, Authentication(), False),
        (False, None, Authentication(), True),
        (False, MUTUAL_TLS, Authentication(), False),
        (False, PLAIN_TLS, PASSWORDS, False),
    ],
)
def test_addresses_that_are_protected(
    is_local: bool, tls: Tls | None, authentication: Authentication, insecure: bool
) -> None:
    require_protection("a:1", is_local=is_local, tls=tls, authentication=authentication, insecure=insecure)


@pytest.mark.parametrize(
    ("tls", "authentication", "problem"),
    [
        (None, Authentication(), "there is no TLS"),
        (None, PASSWORDS, "there is no TLS"),
        (PLAIN_TLS, Authentication(), "nobody has to say who they are"),
    ],
)
def test_addresses_that_are_not(tls: Tls | None, authentication: Authentication, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        require_protection("a:1", is_local=False, tls=tls, authentication=authentication, insecure=False)
