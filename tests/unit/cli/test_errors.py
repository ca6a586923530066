"""Every way to fail: the exit status, one line that says what, and a line that says what to do."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelcar.store import LocalStore
from modelcar.store.tree import walk
from tests.unit.cli.conftest import ModelcarCli

pytestmark = pytest.mark.slow

USAGE, WORLD, NO = 2, 3, 1
ZEROS = "0" * 64

NAME_ONE = "name a folder, a weights file, hf://org/name, or s3://bucket/folder"


@dataclass(frozen=True, slots=True)
class Case:
    """`command` is split at spaces; `{…}` are filled in: see `places`."""

    command: str
    status: int
    line: str
    hint: str = ""

    def __str__(self) -> str:
        return self.command


@pytest.fixture
def places(checkpoint: Path, registry: str, ref: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """What commands in the tables refer to."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "empty").mkdir()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # where nobody listens, nor can begin to
        yield {
            "model": str(checkpoint),
            "config": str(checkpoint / "config.json"),
            "registry": registry,
            "ref": ref,
            "tmp": str(tmp_path),
            "closed": f"127.0.0.1:{closed.getsockname()[1]}",
            "zeros": ZEROS,
        }


USAGE_CASES = [
    Case("sell", USAGE, "no such command 'sell'", "see `modelcar --help`"),
    Case("--xyzzy", USAGE, "no such option '--xyzzy'$", "see `modelcar --help`"),
    Case("list --xyzzy", USAGE, "no such option '--xyzzy'$", "see `modelcar list --help`"),
    Case("list more", USAGE, "got unexpected extra argument", "see `modelcar list --help`"),
    Case("build", USAGE, "missing argument 'SOURCE'", "see `modelcar build --help`"),
    Case("plan", USAGE, r"missing argument 'SOURCE\|REF'", "see `modelcar plan --help`"),
    Case("push", USAGE, "missing argument 'REF'", "see `modelcar push --help`"),
    Case("pull", USAGE, "missing argument 'REF'", "see `modelcar pull --help`"),
    Case("inspect", USAGE, r"missing argument 'REF\|SOURCE'", "see `modelcar inspect --help`"),
    Case("rm", USAGE, r"missing argument 'REF\.\.\.'", "see `modelcar rm --help`"),
    Case("copy a", USAGE, "missing argument 'DST'", "see `modelcar copy --help`"),
    Case("export a", USAGE, "missing option '-o' / '--output'", "see `modelcar export --help`"),
    Case("export a -o", USAGE, "option '-o' requires an argument", "see `modelcar export --help`"),
    Case("build {model}", USAGE, "an image needs a name", "add -t registry/repo:tag"),
    Case("build {model} -t Acme/Tiny:v1", USAGE, "'Acme/Tiny:v1' is not an image reference: ", "lower-case"),
    Case("build {model} -t a:b:c", USAGE, "'a:b:c' is not an image reference: 'b:c' is not a tag", "letters"),
    Case("build {model} -t a@sha256:12", USAGE, "'a@sha256:12': a sha256 digest has 64 ", ""),
    Case("build {model} -t a@sha256:{zeros}", USAGE, "has a digest, and what will be built has its own", "name it"),
    Case("build {model} -t https://a/b:v1", USAGE, "'https://a/b:v1' is not an image reference", "the scheme"),
    Case("build {model} -t oci:{tmp}/layout", USAGE, "is an OCI layout, and here an image", "`modelcar copy`"),
    Case("build {model} -t a --platform nonsense", USAGE, "'nonsense' is not a platform", "linux/amd64"),
    Case("build {model} -t a --platform linux/s390x", USAGE, "there is no holder for linux/s390x", "--base"),
    Case("build {model} -t a --max-layers 0", USAGE, "invalid value for '--max-layers': 0 is not in the range", "see"),
    Case("build {model} -t a --max-layers many", USAGE, "invalid value for '--max-layers': 'many' is not a", "see"),
    Case("build {model} -t a --base no:b:c", USAGE, "'no:b:c' is not an image reference: ", ""),
    Case("build {model} -t a --base oci:{tmp}/none", USAGE, "there is no folder .*/none", ""),
    Case("build {tmp}/none -t a", USAGE, "there is no '.*/none'", NAME_ONE),
    Case("build {config} -t a", USAGE, "config.json is not a weights file", "name the folder that holds the model"),
    Case("build {tmp}/empty -t a", USAGE, "empty holds no file to package", "name the folder that holds the model"),
    Case("build /dev/null -t a", USAGE, "'/dev/null' is neither a folder nor a file", "name a folder"),
    Case("build hf://nonsense -t a", USAGE, "'hf://nonsense' names no model", "write hf://org/name"),
    Case("plan {tmp}/none", USAGE, "there is no '.*/none'", NAME_ONE),
    Case("push a", USAGE, "there is no image docker.io/library/a:latest in the local store", "modelcar build"),
    Case("push a@sha256:{zeros}", USAGE, "has no tag", "registry/repo:tag"),
    Case("push oci:{tmp}/layout", USAGE, "nothing says where to push oci:", "`modelcar push oci:"),
    Case("push oci:{tmp}/empty a:b", USAGE, "/empty is not an OCI image layout: it has no file ", ""),
    Case("push oci-archive:{config} a:b", NO, "config.json is no archive that can be used: it ends at byte ", ""),
    Case("archive a", USAGE, "missing option '-o' / '--output'", "see `modelcar archive --help`"),
    Case("rm oci-archive:a.tar", USAGE, "is an OCI layout, and here an image", "`modelcar copy`"),
    Case("pull oci-archive:{tmp}/none -o {tmp}/out", USAGE, "there is no file .*/none$", ""),
    Case("verify {ref} --key sha256:{zeros}", USAGE, "is a fingerprint, and picks a key out of an archive", "give the"),
    Case(
        "verify oci-archive:{tmp}/none --key sha256:12",
        USAGE,
        "'sha256:12' is no fingerprint: a sha256 digest has 64 ",
        "",
    ),
    Case("rm a", USAGE, "there is no image docker.io/library/a:latest in the local store", "`modelcar list`"),
    Case("export a -o {tmp}/out", USAGE, "there is no image docker.io/library/a:latest in the local ", "modelcar copy"),
    Case("pull a@sha256:{zeros}", USAGE, "has no name to keep it under in the local store", "add -o DIR"),
    Case("pull {ref} --platform linux", USAGE, "'linux' is not a platform", "it looks like linux/amd64"),
    Case("pull {ref} --ca-file {tmp}/none", USAGE, "invalid value for '--ca-file': File .* does not exist", "see"),
    Case("pull oci:", USAGE, "'oci:' names no folder", "it looks like oci:DIR or oci:DIR:TAG"),
    Case("pull oci::v1 -o {tmp}/out", USAGE, "'oci::v1' names no folder", "it looks like oci:DIR or oci:DIR:TAG"),
    Case("pull oci:{tmp}/none -o {tmp}/out", USAGE, "there is no folder .*/none", ""),
    Case("inspect oci:{model}", USAGE, "model is not an OCI image layout: it has no file oci-layout", ""),
    Case("copy oci:{tmp}/none {ref}", USAGE, "there is no folder .*/none", ""),
    Case("copy ./model {ref}", USAGE, "'./model' is a path, and an image is named registry/repo:tag", "modelcar build"),
    Case("copy {ref} oci:{tmp}/x:-", USAGE, "'-' in 'oci:.*/x:-' is not a name for an image", "letters"),
    Case("copy {ref} {ref}", USAGE, "would be copied onto itself", ""),
]

WORLD_CASES = [
    Case(
        "pull {closed}/a/b:v1 -o {tmp}/out",
        WORLD,
        "{closed}: .* a/b:v1: nothing listens at {closed}$",
        "start the registry",
    ),
    Case("inspect {closed}/a/b:v1", WORLD, "{closed}: .* a/b:v1: nothing listens at {closed}$", "start the registry"),
    Case(
        "copy {closed}/a/b:v1 oci:{tmp}/out",
        WORLD,
        "{closed}: .* a/b:v1: nothing listens at {closed}$",
        "start the registry",
    ),
    Case(
        "build {model} -t a --base {closed}/a/b:v1",
        WORLD,
        "{closed}: reading manifest a/b:v1: nothing listens at {closed}",
        "start",
    ),
    Case(
        "build {model} -t {closed}/a/b:v1 --push",
        WORLD,
        "{closed}: uploading sha256:.*: nothing listens at {closed}",
        "start",
    ),
    Case(
        "pull {registry}/no/such:v1 -o {tmp}/out",
        WORLD,
        "(resolving|reading manifest) no/such:v1: 404 Not Found",
        "check the name",
    ),
    Case(
        "pull {registry}/no/such:v1", WORLD, "(resolving|reading manifest) no/such:v1: 404 Not Found", "check the name"
    ),
    Case(
        "inspect {registry}/no/such:v1",
        WORLD,
        "(resolving|reading manifest) no/such:v1: 404 Not Found",
        "check the name",
    ),
    Case(
        "copy {registry}/no/such:v1 {ref}",
        WORLD,
        "(resolving|reading manifest) no/such:v1: 404 Not Found",
        "check the name",
    ),
    Case(
        "inspect {registry}/a/b:v1 --ca-file {config}", USAGE, "config.json holds no PEM certificate", "it begins with"
    ),
]


def check(modelcar: ModelcarCli, places: dict[str, str], case: Case) -> None:
    refused = modelcar.refusal(case.status, *(word.format(**places) for word in case.command.split()))
    assert re.search(case.line.replace("{closed}", re.escape(places["closed"])), refused.line), refused
    assert case.hint in refused.hint
    assert bool(case.hint) <= bool(refused.hint), refused


@pytest.mark.parametrize("case", USAGE_CASES, ids=str)
def test_wrong_usage(modelcar: ModelcarCli, places: dict[str, str], case: Case) -> None:
    check(modelcar, places, case)
    assert not (modelcar.home / "memo").exists(), "nothing was read"
    assert modelcar.json("list") == []


@pytest.mark.parametrize("case", WORLD_CASES, ids=str)
def test_the_world_fails(modelcar: ModelcarCli, places: dict[str, str], case: Case, tmp_path: Path) -> None:
    check(modelcar, places, case)
    assert modelcar.json("list") == []
    assert {path.name for path in tmp_path.iterdir()} <= {"empty", "full", "home"}


@pytest.mark.parametrize("target", ["full", "full/file"])
def test_a_folder_with_something_in_it_is_left_alone(
    modelcar: ModelcarCli, places: dict[str, str], tmp_path: Path, target: str
) -> None:
    modelcar("build", places["model"], "-t", places["ref"], "--push")
    for command in (
        ["pull", places["ref"], "-o", tmp_path / target],
        ["export", places["ref"], "-o", tmp_path / target],
        ["copy", places["ref"], f"oci:{tmp_path / target}"],
    ):
        refused = modelcar.refusal(USAGE, *command)
        assert str(tmp_path / target) in refused.line
        assert re.search("is not empty|is neither empty nor an OCI layout|is not a folder", refused.line)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["file"]


def no_index(store: LocalStore) -> None:
    (store.home / "store" / "index.json").unlink()


def broken_index(store: LocalStore) -> None:
    (store.home / "store" / "index.json").write_bytes(b"{")


def store_is_a_file(store: LocalStore) -> None:
    place = store.home / "store"
    place.rename(store.home / "elsewhere")
    place.write_bytes(b"")


def no_root(store: LocalStore) -> None:
    for root in store.names.list().values():
        store.content.delete(root.digest)


def flipped_root(store: LocalStore) -> None:
    for root in store.names.list().values():
        path = store.content.path(root.digest)
        path.write_bytes(path.read_bytes().replace(b"schemaVersion", b"schemaversion"))


def broken_recipe(store: LocalStore) -> None:
    for root in store.names.list().values():
        virtual = next(d for d in walk(store.content, root) if store.content.is_virtual(d.digest))
        store.content.recipe_path(virtual.digest).write_bytes(b"{}")


DAMAGES = [
    (no_index, ["list"], USAGE, "it has no file index.json"),
    (no_index, ["push", "{ref}"], USAGE, "it has no file index.json"),
    (broken_index, ["list"], WORLD, "index.json is damaged"),
    (broken_index, ["rm", "{ref}"], WORLD, "index.json is damaged"),
    (broken_index, ["gc"], WORLD, "index.json is damaged"),
    (broken_index, ["build", "{model}", "-t", "{ref}"], WORLD, "index.json is damaged"),
    (store_is_a_file, ["build", "{model}", "-t", "{ref}"], WORLD, "cannot create .*store"),
    (no_root, ["push", "{ref}"], USAGE, "sha256:.* is not in "),
    (no_root, ["inspect", "{ref}"], USAGE, "sha256:.* is not in "),
    (no_root, ["export", "{ref}", "-o", "{tmp}/out"], USAGE, "sha256:.* is not in "),
    (no_root, ["gc"], WORLD, "cannot collect: sha256:.* is damaged"),
    (flipped_root, ["push", "{ref}"], NO, "hashes to sha256:.*, not to"),
    (flipped_root, ["inspect", "{ref}"], NO, "hashes to sha256:.*, not to"),
    (flipped_root, ["export", "{ref}", "-o", "{tmp}/out"], NO, "hashes to sha256:.*, not to"),
    (broken_recipe, ["push", "{ref}"], WORLD, "the recipe of sha256:.* is damaged"),
    (broken_recipe, ["export", "{ref}", "-o", "{tmp}/out"], WORLD, "the recipe of sha256:.* is damaged"),
]


@pytest.mark.parametrize(
    ("damage", "command", "status", "line"), DAMAGES, ids=[f"{d[0].__name__} {d[1][0]}" for d in DAMAGES]
)
def test_a_damaged_store(
    modelcar: ModelcarCli,
    places: dict[str, str],
    damage: Callable[[LocalStore], None],
    command: list[str],
    status: int,
    line: str,
) -> None:
    modelcar("build", places["model"], "-t", places["ref"])
    damage(modelcar.store)
    refused = modelcar.refusal(status, *(word.format(**places) for word in command))
    assert re.search(line, refused.line), refused
    assert "404" in modelcar.refusal(WORLD, "inspect", places["ref"], "--remote").line


def test_a_damaged_memo(modelcar: ModelcarCli, places: dict[str, str]) -> None:
    modelcar("build", places["model"], "-t", places["ref"])
    memo = modelcar.home / "memo" / "layers.sqlite"
    memo.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    for command in (["plan", places["model"]], ["build", places["model"], "-t", places["ref"]]):
        refused = modelcar.refusal(WORLD, *command)
        assert refused.line.startswith(f"the digest memo {memo} is damaged: ")
        assert refused.hint == "remove it; it is made anew"
    memo.unlink()
    modelcar("build", places["model"], "-t", places["ref"])
    memo.chmod(0o644)
    assert "is not private to this user" in modelcar.refusal(WORLD, "plan", places["model"]).line


@pytest.mark.parametrize(
    ("home", "line"),
    [("{tmp}/full/file", "cannot create"), ("/proc/none", "cannot create /proc/none"), ("/dev/null", "cannot create")],
)
def test_a_home_that_is_none(
    modelcar: ModelcarCli, places: dict[str, str], monkeypatch: pytest.MonkeyPatch, home: str, line: str
) -> None:
    monkeypatch.setenv("MODELCAR_HOME", home.format(**places))
    for command in (["build", places["model"], "-t", "a"], ["pull", places["ref"]]):
        refused = modelcar.refusal(WORLD, *command)
        assert line in refused.line
        assert "MODELCAR_HOME" in refused.hint
    assert modelcar.json("list") == []
    assert modelcar.json("gc")["removed"] == []
    modelcar("plan", places["model"])


def test_no_home_at_all(modelcar: ModelcarCli, places: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODELCAR_HOME", "XDG_DATA_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    assert modelcar.refusal(WORLD, "list").hint == "set MODELCAR_HOME"


def test_a_home_that_may_not_be_written(
    modelcar: ModelcarCli, monkeypatch: pytest.MonkeyPatch, public: Path, unprivileged: None
) -> None:
    home = public / "home"
    monkeypatch.setenv("MODELCAR_HOME", str(home))
    LocalStore(home)
    home.chmod(0o500)
    (home / "store").chmod(0o500)
    (public / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    assert modelcar.json("list") == []
    refused = modelcar.refusal(WORLD, "build", public / "model.safetensors", "-t", "a")
    assert "Permission denied" in refused.line
    for path in (home, home / "store"):
        path.chmod(0o700)


def test_an_output_folder_that_may_not_be_written(
    modelcar: ModelcarCli, places: dict[str, str], public: Path, request: pytest.FixtureRequest
) -> None:
    modelcar("build", places["model"], "-t", "a:b")
    modelcar("export", "a:b", "-o", public / "layout")
    (public / "closed").mkdir(mode=0o555)
    request.getfixturevalue("unprivileged")
    for command in (
        ["pull", f"oci:{public / 'layout'}", "-o", public / "closed" / "out"],
        ["copy", f"oci:{public / 'layout'}", f"oci:{public / 'closed' / 'out'}"],
    ):
        refused = modelcar.refusal(WORLD, *command)
        assert str(public / "closed") in refused.line
        assert "Permission denied" in refused.line
        assert "MODELCAR_HOME" not in refused.hint, "that has nothing to do with it"


@pytest.mark.parametrize(
    "command",
    [
        ["build", "\udcff\udcfe", "-t", "a"],
        ["plan", "\x1b[31m\n"],
        ["build", "{model}", "-t", "\udcff"],
        ["build", "{model}", "-t", "a\x1b[31m"],
        ["pull", "oci:\udcff", "-o", "{tmp}/out"],
        ["copy", "oci:{tmp}/full:\udcff", "a"],
        ["rm", "\x9b31m"],
        ["\udcff"],
        ["list", "--\udcff"],
        ["build", "{model}", "-t", "a", "--platform", "linux/\x1b\udcff"],
        ["build", "{model}", "-t", "a", "--max-layers", "\udcff"],
        ["pull", "a", "--ca-file", "\udcff"],
        ["inspect", ""],
        ["build", "", "-t", "a"],
    ],
    ids=repr,
)
def test_arguments_in_odd_bytes(modelcar: ModelcarCli, places: dict[str, str], command: list[str]) -> None:
    modelcar.refusal(USAGE, *(word.format(**places) for word in command))


def test_an_output_folder_in_odd_bytes(modelcar: ModelcarCli, places: dict[str, str], tmp_path: Path) -> None:
    modelcar("build", places["model"], "-t", places["ref"], "--push")
    for number, verb in enumerate(("pull", "export")):
        folder = Path(os.fsdecode(bytes(tmp_path) + b"/\xff" + verb.encode()))
        assert f"/\\xff{verb}" in modelcar(verb, places["ref"], "-o", folder)
        again = folder.with_name(f"{folder.name}{number}")
        assert modelcar.json(verb, places["ref"], "-o", again)["folder"] == str(again)
        assert any(folder.iterdir())
