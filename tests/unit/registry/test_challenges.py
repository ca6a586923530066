"""The headers of a 401, as registries write them."""

from __future__ import annotations

import pytest

from modelcar.registry.challenges import Challenge, merge_scopes, parse_challenges


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ("Basic", [Challenge("basic", {})]),
        ('Basic realm="Registry Realm"', [Challenge("basic", {"realm": "Registry Realm"})]),
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        (
            "bearer Realm=https://x.example/t , service=s",
            [Challenge("bearer", {"realm": "https://x.example/t", "service": "s"})],
        ),
        (
            'Negotiate, Basic realm="a, b", Bearer realm="https://t",error="invalid_token"',
            [
                Challenge("negotiate", {}),
                Challenge("basic", {"realm": "a, b"}),
                Challenge("bearer", {"realm": "https://t", "error": "invalid_token"}),
            ],
        ),
        ("Negotiate YWJj==, Basic realm=x", [Challenge("negotiate", {}), Challenge("basic", {"realm": "x"})]),
        (r'Basic realm="say \"hi\""', [Challenge("basic", {"realm": 'say "hi"'})]),
        ('Basic realm="never closed', [Challenge("basic", {}), Challenge("realm", {})]),
        (",,, \x00", []),
    ],
)
def test_parse(header: str, expected: list[Challenge]) -> None:
    assert parse_challenges(header) == expected


def test_long_headers_are_cut() -> None:
    assert len(parse_challenges("Basic " * 100_000)) < 2000


def test_scopes_join() -> None:
    assert merge_scopes("repository:a:push,pull", "repository:b:pull", "repository:a:pull", "repository:a:delete") == (
        "repository:a:pull,push,delete",
        "repository:b:pull",
    )
