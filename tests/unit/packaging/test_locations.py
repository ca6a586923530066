"""Where images are, as people type it, and where a layout may be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.errors import InvalidReference, NotFound, StorageError, UsageError
from modelcar.oci import Reference
from modelcar.packaging.locations import (
    ArchiveLocation,
    LayoutLocation,
    open_layout,
    open_target_layout,
    parse_location,
)
from modelcar.store import OciLayout
from modelcar.store.archiving import write_archive


@pytest.mark.parametrize(
    ("text", "folder", "name"),
    [
        ("oci:layout", "layout", None),
        ("oci:./a/b", "a/b", None),
        ("oci:/a b/ü:v1", "/a b/ü", "v1"),
        ("oci:layout:", "layout", None),
        ("oci:layout:org/model:v1.2", "layout", "org/model:v1.2"),
        ("oci:layout:v1--2+x@y", "layout", "v1--2+x@y"),
    ],
)
def test_layouts(text: str, folder: str, name: str | None) -> None:
    location = parse_location(text)
    assert location == LayoutLocation(Path(folder), name)
    assert parse_location(str(location)) == location


@pytest.mark.parametrize(
    ("text", "file", "name"),
    [("oci-archive:a.tar", "a.tar", None), ("oci-archive:/a b/ü.tar:org/m:v1.2", "/a b/ü.tar", "org/m:v1.2")],
)
def test_archives(text: str, file: str, name: str | None) -> None:
    location = parse_location(text)
    assert location == ArchiveLocation(Path(file), name)
    assert parse_location(str(location)) == location


def test_what_is_there(tmp_path: Path) -> None:
    OciLayout(tmp_path / "layout")
    layout = open_layout(LayoutLocation(tmp_path / "layout"))
    assert (layout.root, layout.location) == (tmp_path / "layout", f"oci:{tmp_path}/layout")
    write_archive(tmp_path / "a.tar", [])
    archive = open_layout(ArchiveLocation(tmp_path / "a.tar"))
    assert (archive.root, archive.location) == (tmp_path / "a.tar", f"oci-archive:{tmp_path}/a.tar")
    for location in (LayoutLocation(tmp_path / "none"), ArchiveLocation(tmp_path / "none")):
        with pytest.raises(NotFound):
            open_layout(location)


def test_everything_else_is_a_reference() -> None:
    assert parse_location("tiny") == Reference.parse("docker.io/library/tiny:latest")


@pytest.mark.parametrize(
    "text",
    [
        "oci:",
        "oci::v1",
        "oci:a:-",
        "oci:a:v1 ",
        "oci:a:a//b",
        "oci:a:\x1b",
        "oci:a:v1..2",
        "oci-archive:",
        "oci-archive::v1",
        "oci-archive:a.tar:-",
        "docker-archive:/a.tar",
        "docker://a/b:v1",
        "",
        "A:b",
    ],
)
def test_nonsense(text: str) -> None:
    with pytest.raises(InvalidReference):
        parse_location(text)


@pytest.mark.parametrize("before", [[], ["blobs/"], ["blobs/", "ingest/", ".index.json.0123456789ab"], ["lost+found/"]])
def test_a_layout_begins_in_an_empty_folder_or_goes_on_where_a_crash_ended(tmp_path: Path, before: list[str]) -> None:
    folder = tmp_path / "layout"
    for name in before:
        (folder / name).mkdir(parents=True) if name.endswith("/") else (folder / name).touch()
    open_target_layout(folder)
    assert (folder / "oci-layout").exists()
    assert open_target_layout(folder).root == folder


@pytest.mark.parametrize("there", ["config.json", ".git/", "index.json.bak"])
def test_a_layout_is_not_mixed_with_something_else(tmp_path: Path, there: str) -> None:
    (tmp_path / there).mkdir() if there.endswith("/") else (tmp_path / there).touch()
    with pytest.raises(UsageError, match="neither empty nor an OCI layout"):
        open_target_layout(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    OciLayout(tmp_path / "layout")
    (tmp_path / "layout" / "notes.txt").touch()
    open_target_layout(tmp_path / "layout")  # whoever put something into a layout meant to


def test_a_layout_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is not a folder"):
        open_target_layout(tmp_path / "file")
    with pytest.raises(StorageError, match="cannot create"):
        open_target_layout(tmp_path / "file" / "below")
