"""Logins: found where Docker and podman keep them, and never shown."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from modelcar.errors import Unauthorized
from modelcar.registry.credentials import Credentials, Login, config_files

pytestmark = pytest.mark.slow


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def write(path: Path, **config: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config))
    return path


@pytest.fixture
def helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of credential helpers; each writes down what it was asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


def helper(folder: Path, name: str, script: str) -> None:
    path = folder / f"docker-credential-{name}"
    path.write_text(f'#!/bin/sh\nread server; echo "$1 $server" >> {folder}/asked\n{script}\n')
    path.chmod(0o755)


def find(path: Path, registry: str = "r.example", repository: str = "org/model") -> Login | None:
    return Credentials([path]).find(registry, repository)


def test_nothing_anywhere(tmp_path: Path) -> None:
    assert find(tmp_path / "missing") is None
    assert find(write(tmp_path / "c")) is None
    assert find(write(tmp_path / "c", auths=None, credHelpers=[], credsStore=3)) is None


def test_auths(tmp_path: Path) -> None:
    assert find(write(tmp_path / "c", auths={"r.example": auth("u", "p:w")})) == Login("u", "p:w")
    assert find(write(tmp_path / "c", auths={"https://r.example/v1/": auth("u", "p")})) == Login("u", "p")
    assert find(write(tmp_path / "c", auths={"r.example": {"username": "u", "password": "p"}})) == Login("u", "p")
    assert find(write(tmp_path / "c", auths={"r.example": {}})) is None
    assert find(write(tmp_path / "c", auths={"other": auth("u", "p")})) is None


def test_the_nearest_path_wins(tmp_path: Path) -> None:
    auths = {"r.example": auth("r", "r"), "r.example/org": auth("o", "o"), "r.example/org/model": auth("m", "m")}
    path = write(tmp_path / "c", auths=auths)
    assert find(path, "r.example", "org/model/deep") == Login("m", "m")
    assert find(path, "r.example", "org/other") == Login("o", "o")
    assert find(path, "r.example", "organisation") == Login("r", "r")


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io"])
def test_docker_hub_has_several_names(tmp_path: Path, key: str) -> None:
    assert find(write(tmp_path / "c", auths={key: auth("u", "p")}), "docker.io", "library/x") == Login("u", "p")


def test_tokens(tmp_path: Path) -> None:
    entry = {**auth("u", ""), "identitytoken": "id"}
    assert find(write(tmp_path / "c", auths={"r.example": entry})) == Login("u", "", "id")
    entry = auth("<token>", "id")
    assert find(write(tmp_path / "c", auths={"r.example": entry})) == Login(identity_token="id")
    assert find(write(tmp_path / "c", auths={"r.example": {"registrytoken": "t"}})) == Login(registry_token="t")


def test_helpers(tmp_path: Path, helpers: Path) -> None:
    helper(helpers, "a", """echo '{"ServerURL":"x","Username":"u","Secret":"s"}'""")
    path = write(tmp_path / "c", credHelpers={"r.example": "a"}, auths={"r.example": auth("other", "x")})
    assert find(path) == Login("u", "s")
    assert (helpers / "asked").read_text() == "get r.example\n"


def test_a_helper_is_not_given_the_secrets_of_signing(
    tmp_path: Path, helpers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COSIGN_PASSWORD", "SIGSTORE_ID_TOKEN", "AWS_PROFILE"):
        monkeypatch.setenv(name, "told")
    helper(
        helpers,
        "a",
        """echo "{\\"Username\\":\\"u\\",\\"Secret\\":\\"$COSIGN_PASSWORD$SIGSTORE_ID_TOKEN-$AWS_PROFILE\\"}\"""",
    )
    assert find(write(tmp_path / "c", credHelpers={"r.example": "a"})) == Login("u", "-told")


def test_the_store_is_asked_for_hub_by_its_old_name(tmp_path: Path, helpers: Path) -> None:
    helper(helpers, "s", """echo '{"Username":"<token>","Secret":"s"}'""")
    assert find(write(tmp_path / "c", credsStore="s"), "docker.io", "library/x") == Login(identity_token="s")
    assert (helpers / "asked").read_text() == "get https://index.docker.io/v1/\n"


def test_helpers_that_know_nothing(tmp_path: Path, helpers: Path) -> None:
    helper(helpers, "a", "echo credentials not found in native keychain; exit 1")
    path = write(tmp_path / "c", credHelpers={"r.example": "a"}, auths={"r.example": auth("u", "p")})
    assert find(path) == Login("u", "p")


@pytest.mark.parametrize(
    ("name", "script", "message"),
    [
        ("missing", "", "is not installed"),
        ("../../evil", "", "cannot exist"),
        ("fails", "echo s3cret; echo s3cret >&2; exit 3", "status 3"),
        ("garbage", "echo s3cret", "not a login"),
    ],
)
def test_helpers_that_fail(tmp_path: Path, helpers: Path, name: str, script: str, message: str) -> None:
    if script:
        helper(helpers, name, script)
    with pytest.raises(Unauthorized, match=message) as caught:
        find(write(tmp_path / "c", credHelpers={"r.example": name}))
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"


def test_a_helper_that_hangs(tmp_path: Path, helpers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelcar.registry.credentials._HELPER_TIMEOUT", 0.1)
    helper(helpers, "slow", "exec sleep 20")
    with pytest.raises(Unauthorized, match="did not answer"):
        find(write(tmp_path / "c", credHelpers={"r.example": "slow"}))


def test_a_helper_is_asked_once(tmp_path: Path, helpers: Path) -> None:
    helper(helpers, "a", """echo '{"Username":"u","Secret":"s"}'""")
    credentials = Credentials([write(tmp_path / "c", credsStore="a")])
    for _ in range(3):
        credentials.find("r.example", "x")
    assert len((helpers / "asked").read_text().splitlines()) == 1
    credentials.forget()
    credentials.find("r.example", "x")
    assert len((helpers / "asked").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not JSON"), ('{"auths": {"r.example": {"auth": "s3cret!"}}}', "not base64")]
)
def test_broken_files(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c").write_text(text)
    with pytest.raises(Unauthorized, match=message) as caught:
        find(tmp_path / "c")
    assert "s3cret" not in str(caught.value)
    assert caught.value.exit_status == 3


def test_nothing_secret_in_a_repr() -> None:
    assert "s3cret" not in repr(Login("s3cret", "s3cret", "s3cret", "s3cret"))


def test_places(tmp_path: Path) -> None:
    home = {"HOME": "/h"}
    assert config_files(None, home) == [Path("/h/.docker/config.json"), Path("/h/.config/containers/auth.json")]
    full = {**home, "DOCKER_CONFIG": "/d", "XDG_RUNTIME_DIR": "/run/u", "XDG_CONFIG_HOME": "/x"}
    expected = ["/d/config.json", "/run/u/containers/auth.json", "/x/containers/auth.json"]
    assert config_files(None, full) == [Path(p) for p in expected]
    assert config_files(None, {**full, "REGISTRY_AUTH_FILE": "/a.json"}) == [Path("/a.json")]
    assert config_files(tmp_path, full) == [tmp_path / "config.json"]
    for unreadable in (tmp_path / ("a" * 300), tmp_path / "file" / "config.json"):
        assert config_files(unreadable, full) == [unreadable]
    assert config_files(tmp_path / "f.json", full) == [tmp_path / "f.json"]


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As containers run: an id that the system has no name for, and no HOME."""

    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", homeless)
    assert config_files(None, {}) == []
    assert config_files(None, {"DOCKER_CONFIG": "/d"}) == [Path("/d/config.json")]
