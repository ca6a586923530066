"""An import pulls by the engine, and shares what needs no copy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcar.errors import StorageError, UsageError, WorldError
from modelcar.oci import Digest
from registry_shim.engines.importing import Importer
from registry_shim.engines.settings import ImportSettings
from tests.unit.shim.engines.fake_cri import PULL, FakeCri, fake_cri

pytestmark = pytest.mark.slow

IMAGE = "ghcr.io/acme/tiny:v1"
CONTENT = b"weights" * 1000


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeCri]:
    with fake_cri(tmp_path / "socket") as found:
        yield found


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "content/blobs").mkdir(parents=True)
    return tmp_path / "content"


@pytest.fixture
def blob(tmp_path: Path) -> dict[Digest, Path]:
    path = tmp_path / "blob"
    path.write_bytes(CONTENT)
    path.chmod(0o644)
    return {Digest.of(CONTENT): path}


def importer(engine: FakeCri, store: Path | None) -> Importer:
    return Importer(ImportSettings(socket=engine.path, content=store, seconds=10))


def placed(store: Path) -> Path:
    return store / "blobs/sha256" / Digest.of(CONTENT).hex


@pytest.mark.root
def test_what_is_shared_is_there_before_the_pull(engine: FakeCri, store: Path, blob: dict[Digest, Path]) -> None:
    seen = []

    def pull(request: bytes) -> bytes:
        seen.append(placed(store).read_bytes())
        return b""

    engine.answers[PULL] = pull
    assert importer(engine, store).import_image(IMAGE, blobs=blob).shared == len(CONTENT)
    assert seen == [CONTENT]
    assert not [path for path in (store / "blobs").rglob("*") if path.is_file() and path != placed(store)]


@pytest.mark.root
def test_again_is_no_error(engine: FakeCri, store: Path, blob: dict[Digest, Path]) -> None:
    for _ in range(2):
        importer(engine, store).import_image(IMAGE, blobs=blob)
    assert placed(store).read_bytes() == CONTENT


def test_what_the_engine_has_already_stays(engine: FakeCri, store: Path, blob: dict[Digest, Path]) -> None:
    placed(store).parent.mkdir()
    placed(store).write_bytes(CONTENT)
    before = placed(store).stat().st_ino
    assert importer(engine, store).import_image(IMAGE, blobs=blob).shared == 0
    assert placed(store).stat().st_ino == before


@pytest.mark.root
@pytest.mark.parametrize("weakness", ["writable", "owned"])
def test_no_link_to_what_somebody_else_may_write_to(
    engine: FakeCri, store: Path, blob: dict[Digest, Path], weakness: str
) -> None:
    (path,) = blob.values()
    if weakness == "writable":
        path.chmod(0o664)
    else:
        os.chown(path, 12345, -1)
    importer(engine, store).import_image(IMAGE, blobs=blob)
    assert not placed(store).exists() or placed(store).stat().st_ino != path.stat().st_ino
    assert [method for method, _ in engine.asked] == [PULL]


@pytest.mark.parametrize("where", ["nowhere", None])
def test_without_a_content_store_the_engine_fetches_everything(
    engine: FakeCri, tmp_path: Path, blob: dict[Digest, Path], where: str | None
) -> None:
    done = importer(engine, None if where is None else tmp_path / where).import_image(IMAGE, blobs=blob)
    assert done.shared == 0
    assert [method for method, _ in engine.asked] == [PULL]


def test_a_pull_that_fails_is_said(engine: FakeCri, store: Path) -> None:
    engine.answers[PULL] = "403 Forbidden"
    with pytest.raises(WorldError, match=f"cannot import {IMAGE}: 403 Forbidden"):
        importer(engine, store).import_image(IMAGE)


def test_a_blob_that_went_is_left_to_the_engine(engine: FakeCri, store: Path, tmp_path: Path) -> None:
    done = importer(engine, store).import_image(IMAGE, blobs={Digest.of(CONTENT): tmp_path / "gone"})
    assert done.shared == 0
    assert [method for method, _ in engine.asked] == [PULL]


def test_a_content_store_that_cannot_be_written_is_said(engine: FakeCri, store: Path, blob: dict[Digest, Path]) -> None:
    (store / "blobs/sha256").touch()
    with pytest.raises(StorageError, match="cannot write"):
        importer(engine, store).import_image(IMAGE, blobs=blob)


def test_an_import_takes_time() -> None:
    with pytest.raises(UsageError):
        ImportSettings(seconds=0)
