"""What a pipeline left in its registry."""

from __future__ import annotations

import http.client

__all__ = ["is_there"]


def is_there(image: str) -> bool:
    """Whether the registry knows the repository at all."""
    address, _, rest = image.partition("/")
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", f"/v2/{rest.rpartition(':')[0]}/tags/list")
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    assert answer.status in (200, 404)
    return answer.status == 200
