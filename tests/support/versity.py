"""Versity's S3 gateway over a folder: a server that others wrote in Go, which checks signatures."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.support.golang import install_go

__all__ = ["KEY", "SECRET", "gateway"]

KEY: Final = "AKIAOFNOBODY"
SECRET: Final = "not-to-be-seen-by-anybody"
_PACKAGE: Final = "github.com/versity/versitygw/cmd/versitygw"
_VERSION: Final = "v1.8.0"


@contextmanager
def gateway(folder: Path, *buckets: str) -> Iterator[dict[str, str]]:
    """Serve `buckets`, which are new folders in `folder`; yields the environment that its clients need.

    The first time compiles it, which takes minutes. Raises `CalledProcessError` where that is not possible.
    """
    program = install_go(_PACKAGE, _VERSION)
    root = folder / "gateway"
    for bucket in buckets:
        (root / bucket).mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [str(program), "--port", address, "posix", str(root)]
    with (folder / "gateway.output").open("wb") as output:
        environment = {**os.environ, "ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET}
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        while True:
            host, _, port = address.partition(":")
            with suppress(ConnectionRefusedError), socket.create_connection((host, int(port))):
                break
            assert process.poll() is None, (folder / "gateway.output").read_text()
            time.sleep(0.05)
        yield {
            "AWS_ENDPOINT_URL": f"http://{address}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }
    finally:
        process.kill()
        process.wait()
