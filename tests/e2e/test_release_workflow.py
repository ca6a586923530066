"""The release workflow, job by job, from its own file: what would fail the first time on a runner fails here.

Registries, the index of packages, `gh` and `docker login` are stood in for; keys take the place of the runner's
identity. Everything else is what the workflow says, in clones of a repository with the locks of what is at hand.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelcar import __version__
from modelcar.store.layout import OciLayout
from modelcar.store.names import Names
from scripts.release.source import ROOT
from tests.e2e.support.commands import BIN, Done, Modelcar, run
from tests.e2e.support.python_base import write_small_base
from tests.e2e.support.registries import embedded_registry
from tests.e2e.support.releases import make_wheels
from tests.e2e.support.workflows import Runner

pytestmark = pytest.mark.slow
REPOSITORY = "Acme/modelcar"
PASSWORD = "correct horse"
# What it was told is kept. A release is `true` as long as it is a draft.
_GH = """#!/bin/sh
set -eu
printf '%s\\n' "$*" >>"$TOLD"
case "$1 $2" in
'release view') cat "$TOLD.draft" ;;
'release create')
	for last in "$@"; do [ ! -f "$last" ] || printf 'file %s\\n' "$last" >>"$TOLD"; done ;;
esac
"""
_DOCKER = """#!/bin/sh
set -eu
read -r password || :
printf '%s\\n' "docker $*" >>"$TOLD"
"""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """`told`: what `gh` and `docker` were told, a line each."""

    runner: Runner
    registry: str
    keys: Path
    told: Path


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("workflow")
    keys = folder / "keys"
    keys.mkdir()
    modelcar = Modelcar(folder / "home")
    modelcar.environment["COSIGN_PASSWORD"] = PASSWORD
    for name in ("sign", "attest"):
        modelcar("keygen", "-o", keys / name)
    with embedded_registry(folder / "registry") as registry:
        lock = publish_base(folder, registry, modelcar)
        make_wheels(folder / "index")
        repository = make_repository(folder, lock, folder / "index")
        make_programs(folder / "bin")
        yield Stage(
            runner=make_runner(folder, repository, registry, keys),
            registry=registry,
            keys=keys,
            told=folder / "told",
        )


def publish_base(folder: Path, registry: str, modelcar: Modelcar) -> dict[str, str]:
    """Push a base; returns its lock."""
    digest = write_small_base(folder / "base")
    modelcar("copy", f"oci:{folder / 'base'}", f"{registry}/library/python:slim")
    return {"image": f"{registry}/library/python@{digest}", "tag": "slim"}


def make_repository(folder: Path, lock: dict[str, str], index: Path) -> Path:
    """This one as it is committed, with the release's files as they lie here, and locks of the base and of `index`."""
    repository = folder / "repository"
    run("git", "clone", "--quiet", "--no-hardlinks", ROOT, repository)
    for place in ("scripts/release", ".github"):
        shutil.rmtree(repository / place)
        shutil.copytree(ROOT / place, repository / place, ignore=shutil.ignore_patterns("__pycache__"))
    locks = repository / "scripts/release/locks"
    (locks / "base.json").write_text(json.dumps(lock))
    lines = []
    for wheel in sorted(index.iterdir()):
        name, version = wheel.name.split("-")[:2]
        lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    (locks / "image.txt").write_text("".join(lines))
    author = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    run("git", "-C", repository, *author, "commit", "--quiet", "--all", "--message", "Locks of what is at hand")
    return repository


def make_programs(folder: Path) -> None:
    folder.mkdir()
    for name, text in {"gh": _GH, "docker": _DOCKER}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def make_runner(folder: Path, repository: Path, registry: str, keys: Path) -> Runner:
    commit = run("git", "-C", repository, "rev-parse", "HEAD").stdout.strip()
    environment = {
        "PATH": os.pathsep.join([str(folder / "bin"), str(BIN), os.environ["PATH"]]),
        "HOME": str(folder / "runner-home"),
        "COSIGN_PASSWORD": PASSWORD,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder / "index"),
        "TOLD": str(folder / "told"),
        "GITHUB_ACTIONS": "true",
        "GITHUB_ACTOR": "somebody",
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_SHA": commit,
        "GITHUB_RUN_ID": "1",
        "REGISTRY": registry,
    }
    (folder / "runner-home").mkdir()
    values = {
        "inputs.version": __version__,
        "github.repository": REPOSITORY,
        "github.server_url": "https://github.com",
        "github.token": "a-token",
    }
    return Runner(
        workflow=ROOT / ".github/workflows/release.yml",
        repository=repository,
        folder=folder / "machines",
        values=values,
        environment=environment,
        made={"modelcar/holder/bin": ROOT / "modelcar/holder/bin"},
        instead=with_keys(keys),
    )


def with_keys(keys: Path) -> dict[str, str]:
    """Steps that need the identity of a runner, and what does the same with keys."""
    issuer = "--issuer https://token.actions.githubusercontent.com"
    return {
        "python -m scripts.release sign dist": (
            f"python -m scripts.release sign dist --key {keys}/sign.key --attest-key {keys}/attest.key"
        ),
        f'python -m scripts.release verify dist --identity "$IDENTITY" {issuer}': (
            f"python -m scripts.release verify dist --key {keys}/attest.pub"
        ),
        'modelcar verify oci:dist/image --certificate-identity "$IDENTITY"'
        " --certificate-oidc-issuer https://token.actions.githubusercontent.com": (
            f"modelcar verify oci:dist/image --key {keys}/sign.pub"
        ),
    }


def passed(said: list[Done], steps: int) -> list[Done]:
    failed = [f"{done.args[-1]}\n{done.stdout}{done.stderr}" for done in said if done.returncode]
    assert not failed, failed[0]
    assert len(said) == steps
    return said


def test_what_is_out_stays_as_it_is_and_drafts_are_replaced(stage: Stage, tmp_path: Path) -> None:
    draft = stage.told.with_name("told.draft")
    runner = stage.runner
    (tmp_path / "dist").mkdir()
    environment = {**runner.environment, "VERSION": "1", "REGISTRY": "127.0.0.1:1"}
    publish = (ROOT / "scripts/release/publish.sh", tmp_path / "dist")
    for is_draft, told in (("false", "1 is out already"), ("true", "there is no folder image")):
        draft.write_text(is_draft)
        done = run(*publish, check=False, environment=environment)
        assert done.returncode != 0
        assert told in done.stderr
    draft.unlink()
    assert stage.told.read_text().splitlines()[-1] == "release delete v1 --yes"
    stage.told.unlink()


def test_from_a_commit_to_a_release(stage: Stage) -> None:
    runner = stage.runner
    for copy in ("first", "second"):
        passed(runner.run("build", copy, copy=copy), 3)
    passed(runner.run("sign", "signer"), 3)
    passed(runner.run("publish", "publisher"), 5)

    root = Names(OciLayout(runner.folder / "publisher/work/dist/image", create=False)).only()
    modelcar = Modelcar(runner.folder / "home")
    image = f"{stage.registry}/acme/modelcar:{__version__}"
    verified = modelcar("verify", image, "--key", stage.keys / "sign.pub")
    assert verified["digest"] == str(root.digest)
    modelcar("verify", image, "--key", stage.keys / "attest.pub", "--attestation", "provenance")

    told = stage.told.read_text().splitlines()
    assert told[0].startswith(f"docker login {stage.registry} ")
    files = {line.removeprefix("file ").removeprefix("./") for line in told if line.startswith("file ")}
    assert files == {
        *(f"modelcar-{__version__}-{rest}" for rest in ("kustomize.tar", "py3-none-any.whl")),
        *("SHA256SUMS", "sbom.cdx.json", "provenance.intoto.json", "provenance.sigstore.json"),
    }
    assert told[-1] == f"release edit v{__version__} --draft=false"
    assert "a-token" not in "".join(told)
