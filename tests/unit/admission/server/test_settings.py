"""Settings of the webhook."""

from __future__ import annotations

import pytest

from modelcar.admission.server.settings import ServerSettings
from modelcar.oci import Reference


@pytest.mark.parametrize(
    ("registries", "image", "may"),
    [
        ((), "ghcr.io/acme/llm", True),
        ((), "10.0.0.7:5000/acme/llm", True),
        ((), "localhost:5000/acme/llm", False),
        ((), "127.8.9.1:5000/acme/llm", False),
        ((), "[::1]:5000/acme/llm", False),
        ((), "169.254.169.254/latest/meta-data", False),
        ((), "[fe80::1]:80/acme/llm", False),
        (("localhost:*",), "localhost:5000/acme/llm", True),
        (("*.example.com", "ghcr.io"), "registry.example.com/acme/llm", True),
        (("*.example.com", "ghcr.io"), "example.com.evil.test/acme/llm", False),
        (("ghcr.io",), "ghcr.io:8443/acme/llm", False),
    ],
)
def test_whom_the_webhook_may_ask(registries: tuple[str, ...], image: str, may: bool) -> None:
    assert ServerSettings(registries=registries).may_ask(Reference.parse(image)) is may
