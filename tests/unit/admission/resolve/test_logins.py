"""Pull secrets: read strictly, and matched with images as kubelets do."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from modelcar.admission.resolve.logins import Keyring, PullSecret
from modelcar.oci import Reference
from modelcar.registry.credentials import Login

HUB = "https://index.docker.io/v1/"


def secret(auths: Any, name: str = "pull", kind: str = "json") -> PullSecret:
    if kind == "json":
        data = {".dockerconfigjson": json.dumps({"auths": auths}).encode()}
        return PullSecret(name=name, type="kubernetes.io/dockerconfigjson", data=data)
    return PullSecret(name=name, type="kubernetes.io/dockercfg", data={".dockercfg": json.dumps(auths).encode()})


def raw(content: bytes) -> PullSecret:
    return PullSecret(name="pull", type="kubernetes.io/dockerconfigjson", data={".dockerconfigjson": content})


def entry(user: str) -> dict[str, str]:
    return {"username": user, "password": f"{user}-secret"}


def users(keyring: Keyring, image: str) -> list[str]:
    return [login.username for login in keyring.logins(Reference.parse(image))]


@pytest.mark.parametrize("kind", ["json", "old"])
def test_both_formats_are_read(kind: str) -> None:
    keyring = Keyring.of([secret({"ghcr.io": entry("u")}, kind=kind)])
    assert keyring.logins(Reference.parse("ghcr.io/org/model")) == (Login("u", "u-secret"),)


@pytest.mark.parametrize("padding", ["", "="])
def test_auth_is_user_and_password_in_base64(padding: str) -> None:
    encoded = base64.b64encode(b"u:p:with:colons").decode().rstrip("=") + padding
    keyring = Keyring.of([secret({"ghcr.io": {"auth": encoded, "username": "not-this"}})])
    assert keyring.logins(Reference.parse("ghcr.io/org/model")) == (Login("u", "p:with:colons"),)


@pytest.mark.parametrize(
    ("place", "image", "is_for_it"),
    [
        ("ghcr.io", "ghcr.io/org/model", True),
        ("https://ghcr.io", "ghcr.io/org/model", True),
        ("https://ghcr.io/v2/", "ghcr.io/org/model", True),
        ("ghcr.io/org", "ghcr.io/org/model", True),
        ("ghcr.io/org/model", "ghcr.io/org/model@sha256:" + "0" * 64, True),
        ("ghcr.io/other", "ghcr.io/org/model", False),
        ("ghcr.io:443", "ghcr.io/org/model", False),
        ("registry:5000", "registry:5000/org/model", True),
        ("registry", "registry:5000/org/model", False),
        ("*.example.com", "eu.example.com/org/model", True),
        ("*.example.com", "example.com/org/model", False),
        ("*.example.com", "a.b.example.com/org/model", False),
        ("*.*.example.com", "a.b.example.com/org/model", True),
        ("*", "ghcr.io/org/model", False),
        ("prefix*.example.com/org", "prefix-eu.example.com/org/model", True),
        ("example.com", "example.com.evil.io/org/model", False),
        ("docker.io", "org/model", True),
        (HUB, "org/model", True),
        (HUB, "busybox", True),
        (HUB, "ghcr.io/org/model", False),
        ("", "ghcr.io/org/model", False),
        ("http://[", "ghcr.io/org/model", False),
    ],
)
def test_a_login_is_for_images_below_its_place(place: str, image: str, is_for_it: bool) -> None:
    assert users(Keyring.of([secret({place: entry("u")})]), image) == (["u"] if is_for_it else [])


def test_the_most_specific_login_comes_first_and_all_that_fit_are_tried() -> None:
    first = secret({"ghcr.io": entry("all"), "ghcr.io/org": entry("org")}, "first")
    second = secret({"ghcr.io/org/model": entry("model"), "ghcr.io/org": entry("second")}, "second")
    assert users(Keyring.of([first, second]), "ghcr.io/org/model:v1") == ["model", "org", "second", "all"]


def test_the_hubs_login_does_not_stand_in_where_a_better_one_is() -> None:
    keyring = Keyring.of([secret({HUB: entry("hub"), "docker.io/org": entry("org")})])
    assert users(keyring, "org/model") == ["org"]
    assert users(keyring, "other/model") == ["hub"]


def test_secrets_of_other_types_are_passed_over() -> None:
    opaque = PullSecret(name="opaque", type="Opaque", data={".dockerconfigjson": b"{}"})
    assert Keyring.of([opaque]).problems == ()


@pytest.mark.parametrize(
    "damaged",
    [
        raw(b"hunter2 is no JSON"),
        raw(b"[]"),
        raw(b'{"auths": ["hunter2"]}'),
        raw(b"[" * 100_000),
        raw(b"x" * (2 << 20)),
        secret({"ghcr.io": "hunter2"}),
        secret({"ghcr.io": {"username": ["hunter2"]}}),
        secret({"ghcr.io": {"auth": "hunter2!"}}),
        secret({"ghcr.io": {"auth": base64.b64encode(b"hunter2").decode()}}),
        PullSecret(name="pull", type="kubernetes.io/dockercfg", data={}),
    ],
)
def test_a_damaged_secret_is_named_and_not_shown_and_the_others_count(damaged: PullSecret) -> None:
    keyring = Keyring.of([damaged, secret({"ghcr.io": entry("u")}, "good")])
    assert users(keyring, "ghcr.io/org/model") == ["u"]
    assert len(keyring.problems) == 1
    assert "pull secret pull" in keyring.problems[0]
    assert "hunter2" not in keyring.problems[0]


def test_an_entry_without_a_login_is_none() -> None:
    assert users(Keyring.of([secret({"ghcr.io": {"email": "a@b.c"}})]), "ghcr.io/org/model") == []


def test_no_secret_is_shown_by_accident() -> None:
    keyring = secret({"ghcr.io": entry("u")})
    assert "u-secret" not in repr(keyring) + repr(Keyring.of([keyring]).logins(Reference.parse("ghcr.io/org/model")))
