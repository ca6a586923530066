from __future__ import annotations

import pytest

from modelcar.errors import UsageError
from registry_shim.mirror.settings import Access, MirrorSettings, UpstreamSettings


def test_the_command_lines_form() -> None:
    assert UpstreamSettings.parse("ghcr.io") == UpstreamSettings(registry="ghcr.io")
    chain = UpstreamSettings.parse("a.example:5000=http://127.0.0.1:65001,https://a.example:5000")
    assert chain.registry == "a.example:5000"
    assert chain.urls == ("http://127.0.0.1:65001", "https://a.example:5000")
    assert chain.access is Access.PASSTHROUGH


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not a registry"),
        ("ghcr", "not a registry"),
        ("../etc", "not a registry"),
        ("a.example/b", "not a registry"),
        ("a.example:99999", "not a registry"),
        ("a.example=ftp://a.example", "begins with http"),
        ("a.example=a.example", "begins with http"),
        ("a.example=http://", "begins with http"),
        ("a.example=http://a.example:port", "begins with http"),
        ("a.example=https://u:secret@a.example", "no place for a password"),
        ("a.example=https://a.example/v2/", "has no path"),
        ("a.example=https://a.example?x=y", "has no path"),
    ],
)
def test_what_is_no_upstream(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as refused:
        UpstreamSettings.parse(text)
    assert "secret" not in str(refused.value)


def test_our_own_login_needs_a_list() -> None:
    with pytest.raises(UsageError, match="no repository is listed"):
        UpstreamSettings(registry="a.example", access=Access.OWN)
    with pytest.raises(UsageError, match="not a glob"):
        UpstreamSettings(registry="a.example", access=Access.OWN, repositories=("a b",))


def test_names_that_collide() -> None:
    twice = (UpstreamSettings(registry="a.example:5000"), UpstreamSettings(registry="a.example-5000"))
    for upstreams in (twice, twice[:1] * 2):
        with pytest.raises(UsageError, match="listed twice"):
            MirrorSettings(upstreams=upstreams)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"default_registry": "ghcr.io"}, "not among the upstreams"),
        ({"default_registry": "a\nb"}, r"the default registry .a.nb. is not among the upstreams"),
        ({"host_suffix": ".local"}, "cannot end a host name"),
        ({"tag_seconds": -1}, "tag_seconds is negative"),
        ({"asking": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_set(settings: dict[str, object], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        MirrorSettings(**settings)  # type: ignore[arg-type]  # settings by their names
