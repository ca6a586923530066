"""Registries whose names say nothing are known by their answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.registry.dialects import UNKNOWN, Way
from modelcar.registry.habits import Habits
from modelcar.registry.recognition import recognise
from tests.support.scripted_registry import Reply, ScriptedRegistry

from .conftest import Client, blob, literal, random_image, reference

pytestmark = pytest.mark.slow


def bearer(realm: str, service: str) -> dict[str, str]:
    return {"WWW-Authenticate": f'Bearer realm="{realm}",service="{service}",scope="repository:a/b:pull"'}


@pytest.mark.parametrize(
    ("headers", "family"),
    [
        (bearer("https://hub.acme.example/service/token", "harbor-registry"), "Harbor"),
        (bearer("https://git.acme.example/jwt/auth", "container_registry"), "GitLab"),
        (bearer("https://git.acme.example/v2/token", "container_registry"), "unknown"),  # Gitea
        (bearer("https://images.acme.example/v2/auth", "images.acme.example"), "Quay"),
        (bearer("https://acme.azurecr.io/oauth2/token", "acme.azurecr.io"), "Azure Container Registry"),
        (bearer("https://auth.example/token", "ghcr.io"), "GHCR"),
        (bearer("https://acme.example/artifactory/api/docker/models/v2/token", "acme.example"), "Artifactory"),
        ({"WWW-Authenticate": 'Basic realm="Artifactory Realm"'}, "Artifactory"),
        ({"X-JFrog-Version": "Artifactory/7.90.1"}, "Artifactory"),
        ({"WWW-Authenticate": 'Basic realm="https://x/",service="ecr.amazonaws.com"'}, "Amazon ECR"),
        ({"Server": "AzureContainerRegistry"}, "Azure Container Registry"),
        ({"Server": "nginx"}, "unknown"),
        ({"WWW-Authenticate": 'Basic realm="Authorization Required"'}, "unknown"),  # zot
        (bearer("http://[broken", "x"), "unknown"),
        ({}, "unknown"),
    ],
)
def test_marks(headers: dict[str, str], family: str) -> None:
    assert recognise(headers).family == family


def test_what_is_recognised_counts_and_is_asked_for_once(
    server: ScriptedRegistry, client: Client, tmp_path: Path
) -> None:
    server.on("GET", "/v2/", Reply(200, {"X-JFrog-Version": "Artifactory/7"}), times=9)
    image = random_image()
    client(state=tmp_path).push(image.store, image.descriptor, reference(server))
    assert [len(patch.body) for patch in server.requests("PATCH")]  # its way is one PATCH
    assert Habits(tmp_path).of(server.name).family == "Artifactory"
    asked = len([r for r in server.seen if r.path == "/v2/"])
    descriptor, content = blob(300_000)
    client(state=tmp_path).upload_blob(reference(server), descriptor, literal(content))
    assert len([r for r in server.seen if r.path == "/v2/"]) == asked + 1  # whether it is TLS, and no more


def test_who_says_nothing_is_not_asked_again_either(server: ScriptedRegistry, client: Client, tmp_path: Path) -> None:
    descriptor, content = blob(1000)
    client(state=tmp_path).upload_blob(reference(server), descriptor, literal(content))
    assert Habits(tmp_path).of(server.name).family == ""


def test_a_family_that_this_version_does_not_know_is_unknown(server: ScriptedRegistry, client: Client) -> None:
    uploader = client()._uploader
    uploader._habits.learn(server.name, family="Sometime", way=Way.STREAM)
    assert uploader.dialect(server.name) is UNKNOWN
