"""Where a blob may be had, and whether somebody new brought more to ask with."""

from __future__ import annotations

from dataclasses import replace

from modelcar.cache.origin import Origin
from modelcar.cache.origins import Origins

NODE = Origin(registry="ghcr.io", repository="acme/llm")
CLIENT = replace(NODE, authorization="Bearer one")
FRESHER = replace(NODE, authorization="Bearer two")
ELSEWHERE = Origin(registry="ghcr.io", repository="acme/copy")


def authorizations(origins: Origins) -> list[str | None]:
    return [origin.authorization for origin in origins.known()]


def test_a_fresher_authorization_replaces_the_one_before() -> None:
    origins = Origins()
    assert origins.add(CLIENT)
    assert origins.add(FRESHER)
    assert authorizations(origins) == ["Bearer two"]


def test_the_node_itself_takes_nobodys_authorization_away() -> None:
    origins = Origins()
    origins.add(CLIENT)
    assert not origins.add(NODE)
    assert authorizations(origins) == ["Bearer one"]


def test_who_comes_again_brings_nothing_new() -> None:
    origins = Origins()
    assert origins.add(CLIENT)
    assert not origins.add(CLIENT)


def test_who_asked_last_is_first() -> None:
    origins = Origins()
    assert origins.add(CLIENT)
    assert origins.add(ELSEWHERE)
    assert [origin.repository for origin in origins.known()] == ["acme/copy", "acme/llm"]
    origins.add(CLIENT)
    assert [origin.repository for origin in origins.known()] == ["acme/llm", "acme/copy"]
