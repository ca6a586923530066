"""`modelcar scan`, and the scan beside `modelcar build`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelcar.scanning import memo as memo_module
from modelcar.signing.ruleset import RuleSet
from registry_shim.testing import running_registry
from tests.support.policies import as_file, model_policy
from tests.unit.cli.conftest import ModelcarCli

EVIL = b"\x80\x02cposix\nsystem\nU\x02idR."
CODE = b"print('hello')\n"
NAME = "localhost:5000/acme/tiny:v1"


@pytest.fixture
def evil(folder: Path) -> Path:
    (folder / "pytorch_model.bin").write_bytes(EVIL)
    return folder


@pytest.fixture
def code(folder: Path) -> Path:
    (folder / "modeling_tiny.py").write_bytes(CODE)
    return folder


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modelcar: ModelcarCli) -> Path:
    monkeypatch.setenv("COSIGN_PASSWORD", "")
    for name in ("ci", "scanner"):
        assert modelcar.run("keygen", "-o", tmp_path / name)[0] == 0
    return tmp_path


def test_a_clean_folder(modelcar: ModelcarCli, checkpoint: Path) -> None:
    lines = modelcar("scan", checkpoint).splitlines()
    assert lines[0].split() == ["file", "format", "size", "verdict"]
    assert all(line.endswith("clean") for line in lines[1:-1])
    assert lines[-1].startswith(f"clean: {checkpoint} (8 files, no findings; rules modelcar ")


def test_a_malicious_folder_says_why_and_what_to_do(modelcar: ModelcarCli, evil: Path) -> None:
    status, out, err = modelcar.run("scan", evil)
    assert (status, err) == (1, "")
    assert "[pickle.dangerous-global]" in out
    assert "pytorch_model.bin at byte 2: " in out
    assert "  why: " in out
    assert "  do:  " in out
    assert out.splitlines()[-1].startswith(f"malicious: {evil} (9 files, ")


def test_json_has_every_finding_with_its_place(modelcar: ModelcarCli, evil: Path) -> None:
    status, out, _ = modelcar.run("scan", evil, "--json")
    answer = json.loads(out)
    assert (status, answer["verdict"]) == (1, "malicious")
    (file,) = [file for file in answer["files"] if file["path"] == "pytorch_model.bin"]
    assert file["verdict"] == "malicious"
    finding = next(f for f in file["findings"] if f["rule"] == "pickle.dangerous-global")
    assert (finding["severity"], finding["path"], finding["offset"]) == ("malicious", "pytorch_model.bin", 2)
    assert finding["why"]
    assert finding["fix"]


@pytest.mark.parametrize(
    ("kind", "level", "status"),
    [
        ("evil", "unverified", 1),
        ("evil", "malicious", 1),
        ("evil", "never", 0),
        ("code", "unverified", 1),
        ("code", "malicious", 0),
        ("checkpoint", "unverified", 0),
    ],
)
def test_what_is_a_no(
    modelcar: ModelcarCli, request: pytest.FixtureRequest, kind: str, level: str, status: int
) -> None:
    source = request.getfixturevalue(kind)
    assert modelcar.run("scan", source, "--fail-on", level, "--json")[0] == status


def test_all_images_and_what_is_a_no(modelcar: ModelcarCli, code: Path) -> None:
    modelcar("build", code, "-t", NAME, "--no-scan")
    assert modelcar.run("scan", "--all")[0] == 1
    assert modelcar.run("scan", "--all", "--fail-on", "malicious")[0] == 0


def test_markdown(modelcar: ModelcarCli, evil: Path, tmp_path: Path) -> None:
    assert modelcar.run("scan", evil, "--markdown", tmp_path / "out.md")[0] == 1
    text = (tmp_path / "out.md").read_text()
    assert text.startswith("### ❌ Scan: malicious\n")
    assert "| malicious | <code>pytorch&#95;model.bin at byte 2</code> | " in text


def test_one_form_is_the_answer_on_standard_output(modelcar: ModelcarCli, evil: Path) -> None:
    status, out, err = modelcar.run("scan", evil, "--markdown", "-")
    assert (status, err) == (1, "")
    assert out.startswith("### ❌ Scan: malicious\n")
    status, out, err = modelcar.run("scan", evil, "--sarif", "-", "-q")
    assert (status, err, json.loads(out)["version"]) == (1, "", "2.1.0")
    for more in (["--json"], ["--sarif", "-"]):
        complaint = modelcar.refusal(2, "scan", evil, "--markdown", "-", *more)
        assert complaint.line == "two forms want standard output"


def test_markdown_that_cannot_be_written(modelcar: ModelcarCli, checkpoint: Path, tmp_path: Path) -> None:
    complaint = modelcar.refusal(3, "scan", checkpoint, "--markdown", tmp_path / "none" / "out.md")
    assert complaint.line.startswith("cannot write ")


def test_sarif(modelcar: ModelcarCli, evil: Path, tmp_path: Path) -> None:
    assert modelcar.run("scan", evil, "--sarif", tmp_path / "out.sarif")[0] == 1
    document = json.loads((tmp_path / "out.sarif").read_text())
    (run,) = document["runs"]
    results = {result["ruleId"]: result for result in run["results"]}
    result = results["pickle.dangerous-global"]
    assert (document["version"], result["level"]) == ("2.1.0", "error")
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "pickle.dangerous-global"
    place = result["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "pytorch_model.bin"}, "region": {"byteOffset": 2}}


@pytest.mark.parametrize("damage", [b"", b"\x80", b"\xff" * 100])
def test_a_damaged_file_is_a_verdict(modelcar: ModelcarCli, folder: Path, damage: bytes) -> None:
    (folder / "model-00001-of-00003.safetensors").write_bytes(damage)
    status, out, err = modelcar.run("scan", folder)
    assert (status, err) == (1, "")
    assert "file.malformed" in out
    assert out.splitlines()[-1].startswith("unverified: ")


def test_an_image_in_the_local_store(modelcar: ModelcarCli, code: Path) -> None:
    modelcar.run("build", code, "-t", NAME)
    status, out, _ = modelcar.run("scan", NAME, "--json", "--again")
    answer = json.loads(out)
    assert (status, answer["verdict"], answer["scope"]) == (1, "unverified", "everything")
    assert answer["digest"] == str(modelcar.store.names.get(NAME).digest)
    assert [f["path"] for f in answer["files"] if f["verdict"] != "clean"] == ["modeling_tiny.py"]


def test_what_was_scanned_by_the_present_rules_is_not_read_again(
    modelcar: ModelcarCli, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modelcar("build", checkpoint, "-t", NAME)
    first = modelcar.json("scan", NAME, "--again")
    assert modelcar.json("scan", NAME) == first
    newer = RuleSet(name="modelcar", version="9999.1")
    monkeypatch.setattr(memo_module, "RULE_SET", newer)
    again = modelcar.json("scan", "--all")
    assert [image["scannedAt"] >= first["scannedAt"] for image in again] == [True]
    for blob in (modelcar.store.content.root / "blobs" / "sha256").iterdir():
        blob.unlink()
    assert modelcar.json("scan", "--all") == again  # by now nothing is left to read


def test_a_report_that_others_may_have_written_is_void(modelcar: ModelcarCli, evil: Path, checkpoint: Path) -> None:
    modelcar("build", checkpoint, "-t", NAME)
    modelcar("scan", NAME)
    (report,) = (modelcar.home / "scans").iterdir()
    forged = json.loads(report.read_text())
    forged["report"]["files"][0]["path"] = "forged"
    report.write_text(json.dumps(forged))
    assert modelcar.json("scan", NAME)["files"][0]["path"] == "forged", "the report at hand is used"
    report.chmod(0o666)
    assert modelcar.json("scan", NAME)["files"][0]["path"] != "forged"


@pytest.mark.slow
def test_a_remote_image(modelcar: ModelcarCli, code: Path, ref: str) -> None:
    modelcar.run("build", code, "-t", ref, "--push", "-q")
    modelcar("rm", ref)
    status, out, err = modelcar.run("scan", ref, "--json")
    assert (status, err) == (1, "")
    assert [f["path"] for f in json.loads(out)["files"] if f["verdict"] != "clean"] == ["modeling_tiny.py"]
    assert list((modelcar.home / "spool").iterdir()) == [], "what was downloaded is gone"


@pytest.mark.slow
def test_a_quick_scan_reads_little_and_never_says_clean(modelcar: ModelcarCli, checkpoint: Path, ref: str) -> None:
    modelcar("build", checkpoint, "-t", ref, "--push", "-q")
    status, out, _ = modelcar.run("scan", ref, "--quick", "--json")
    answer = json.loads(out)
    assert (status, answer["verdict"], answer["scope"]) == (1, "unverified", "headers")
    assert 0 < answer["bytesRead"] <= 1 << 20
    assert {f["rule"] for f in answer["findings"]} == {"image.headers-only"}


@pytest.mark.slow
def test_a_quick_scan_sees_what_is_malicious(modelcar: ModelcarCli, evil: Path, ref: str) -> None:
    modelcar("build", evil, "-t", ref, "--push", "--no-scan", "-q")
    status, out, _ = modelcar.run("scan", ref, "--quick", "--json")
    assert (status, json.loads(out)["verdict"]) == (1, "malicious")


def test_a_build_refuses_what_is_malicious_and_names_nothing(modelcar: ModelcarCli, evil: Path) -> None:
    status, out, err = modelcar.run("build", evil, "-t", NAME)
    assert (status, out) == (1, "")
    assert err.splitlines()[0] == "modelcar: the scan says no, and nothing was built"
    assert "malicious: pytorch_model.bin: " in err
    assert modelcar.store.names.list() == {}
    modelcar("build", evil, "-t", NAME, "--no-scan")
    assert list(modelcar.store.names.list()) == [NAME]


@pytest.mark.slow
def test_a_build_pushes_nothing_of_what_is_malicious(modelcar: ModelcarCli, evil: Path, tmp_path: Path) -> None:
    root = tmp_path / "registry"
    with running_registry(root) as address:
        assert modelcar.run("build", evil, "-t", f"{address}/acme/tiny:v1", "--push")[0] == 1
    assert [path for path in root.rglob("*") if path.is_file() and path.stat().st_size > 1000] == []


def test_a_build_says_what_nobody_can_vouch_for(modelcar: ModelcarCli, code: Path) -> None:
    status, _, err = modelcar.run("build", code, "-t", NAME)
    assert status == 0
    assert "the scan cannot vouch for modeling_tiny.py; `modelcar scan" in err
    assert modelcar.run("build", code, "-t", NAME, "--json")[1].count('"verdict": "unverified"') == 1


def test_a_build_says_whose_name_nobody_can_vouch_for(modelcar: ModelcarCli, folder: Path) -> None:
    (folder / "zero\u200bwidth.txt").write_text("x")
    status, _, err = modelcar.run("build", folder, "-t", NAME)
    assert status == 0
    assert "the scan cannot vouch for zero" in err


def policy(keys: Path, **scan: str) -> bytes:
    authority = {"name": "scanner", "key": {"data": (keys / "scanner.pub").read_text()}}
    rules = {"name": "modelcar", "minVersion": scan.get("least", "2026.11")}
    return as_file(model_policy(scan={"authorities": [authority], "maxAge": "1d", "ruleSet": rules}))


@pytest.mark.slow
def test_a_policy_asks_for_the_verdict(modelcar: ModelcarCli, checkpoint: Path, keys: Path, ref: str) -> None:
    modelcar("build", checkpoint, "-t", ref, "--push", "--sign-key", keys / "ci.key", "-q")
    (keys / "policy.yaml").write_bytes(policy(keys))
    assert modelcar.run("verify", ref, "--remote", "--policy", keys / "policy.yaml")[0] == 1
    status, _, err = modelcar.run("scan", ref, "--remote", "--key", keys / "scanner.key")
    assert status == 0, err
    assert "the verdict is attached, signed by " in err
    status, _, err = modelcar.run("verify", ref, "--remote", "--policy", keys / "policy.yaml")
    assert status == 0, err
    (keys / "newer.yaml").write_bytes(policy(keys, least="9999"))
    assert modelcar.run("verify", ref, "--remote", "--policy", keys / "newer.yaml")[0] == 1


@pytest.mark.slow
def test_a_verdict_that_is_not_clean_opens_nothing(modelcar: ModelcarCli, code: Path, keys: Path, ref: str) -> None:
    modelcar.run("build", code, "-t", ref, "--push", "-q")
    assert modelcar.run("scan", ref, "--remote", "--key", keys / "scanner.key")[0] == 1
    (keys / "policy.yaml").write_bytes(policy(keys))
    status, _, err = modelcar.run("verify", ref, "--remote", "--policy", keys / "policy.yaml")
    assert status == 1
    assert "came to no verdict: unverified" in err


@pytest.mark.slow
def test_who_signed_the_image_does_not_attest_it(modelcar: ModelcarCli, checkpoint: Path, keys: Path, ref: str) -> None:
    modelcar("build", checkpoint, "-t", ref, "--push", "--sign-key", keys / "ci.key", "-q")
    complaint = modelcar.refusal(2, "scan", ref, "--remote", "--key", keys / "ci.key")
    assert "--allow-same-signer" in complaint.hint


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "nothing says what to scan"),
        (("--all", "x"), "--all scans the images of the local store"),
        (("--trust-layer", "x", "y"), "x"),
        (("./missing",), "missing"),
    ],
)
def test_wrong_usage(modelcar: ModelcarCli, arguments: tuple[str, ...], line: str) -> None:
    assert line in modelcar.refusal(2, "scan", *arguments).line


def test_a_folder_carries_no_verdict(modelcar: ModelcarCli, checkpoint: Path, keys: Path) -> None:
    assert "is no image" in modelcar.refusal(2, "scan", checkpoint, "--key", keys / "scanner.key").line


def test_a_policy_forbids_the_licence(modelcar: ModelcarCli, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_bytes(as_file(model_policy(licenses={"allowed": ["MIT"]})))
    status, out, _ = modelcar.run("scan", checkpoint, "--policy", tmp_path / "policy.yaml")
    assert status == 1
    assert "forbidden: the policy does not allow this licence [licence.denied]" in out
    (tmp_path / "open.yaml").write_bytes(as_file(model_policy(licenses={"allowed": ["Apache-2.0"]})))
    assert modelcar.run("scan", checkpoint, "--policy", tmp_path / "open.yaml")[0] == 0


def test_a_policy_without_licences_is_no_policy_here(modelcar: ModelcarCli, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_bytes(as_file(model_policy(formats={"allowed": ["safetensors"]})))
    assert "no policy says" in modelcar.refusal(2, "scan", checkpoint, "--policy", tmp_path / "policy.yaml").line


@pytest.mark.slow
def test_scanners_are_listed(modelcar: ModelcarCli) -> None:
    assert {"clamav", "picklescan"} <= {each["name"] for each in modelcar.json("scan", "--scanners")}
    assert "no scanner 'norton' is installed" in modelcar.refusal(2, "scan", ".", "--with", "norton").line


def test_what_a_quick_scan_saw_is_not_signed(modelcar: ModelcarCli, keys: Path, ref: str) -> None:
    """Nobody has checked that the image has these bytes, and *malicious* would be for ever."""
    complaint = modelcar.refusal(2, "scan", ref, "--quick", "--key", keys / "scanner.key")
    assert complaint.line == "what a quick scan saw is not signed"


@pytest.mark.slow
def test_what_cannot_be_attested_is_said_before_the_scan(
    modelcar: ModelcarCli, checkpoint: Path, keys: Path, ref: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    modelcar("build", checkpoint, "-t", ref, "--push", "--sign-key", keys / "ci.key", "-q")
    monkeypatch.setattr("modelcar.cli.verbs.scan.scan_at", None)
    assert "has signed this image" in modelcar.refusal(2, "scan", ref, "--remote", "--key", keys / "ci.key").line


def test_a_file_that_was_never_downloaded_is_a_verdict(modelcar: ModelcarCli, folder: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"
    (folder / "model-00001-of-00003.safetensors").write_bytes(pointer)
    status, out, err = modelcar.run("scan", folder)
    assert (status, err) == (1, "")
    assert "[file.lfs-pointer]" in out
    assert modelcar.run("build", folder, "-t", NAME)[0] == 2


@pytest.mark.parametrize("name", ["config.json", "model-00001-of-00003.safetensors"])
def test_a_single_file_of_any_kind(modelcar: ModelcarCli, checkpoint: Path, name: str) -> None:
    answer = modelcar.json("scan", checkpoint / name)
    assert (answer["subject"], answer["verdict"]) == (str(checkpoint / name), "clean")
    assert [file["path"] for file in answer["files"]] == [name]


def test_what_is_left_out_is_said(modelcar: ModelcarCli, folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / "__pycache__").mkdir()
    status, _, err = modelcar.run("scan", folder)
    assert (status, err) == (0, "note: not scanned, as no image would hold it: .git/ and 1 more\n")
    assert modelcar.json("scan", folder)["excluded"] == [".git/", "__pycache__/"]


def test_one_image_that_cannot_be_read_does_not_keep_the_others_from_it(modelcar: ModelcarCli, folder: Path) -> None:
    other = "localhost:5000/acme/other:v1"
    modelcar("build", folder, "-t", NAME)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    modelcar("build", folder, "-t", other)
    status, out, err = modelcar.run("scan", "--all", "--again", "--json")
    found = {image["name"]: image for image in json.loads(out)}
    assert (status, found[other]["verdict"]) == (3, "clean")
    assert "has changed since it was hashed" in found[NAME]["error"]
    lines = err.splitlines()
    assert lines[0] == "modelcar: 1 of 2 images could not be scanned"
    assert lines[1].startswith(f"  - {NAME}: ")
    rows = [line.split() for line in modelcar.run("scan", "--all", "--again")[1].splitlines()]
    assert [NAME, "not", "scanned"] in rows
