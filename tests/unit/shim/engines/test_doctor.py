"""The doctor finds every way around that it is shown, and nothing on a node that is well."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from modelcar.doctor.finding import Finding, Level
from modelcar.errors import WorldError
from registry_shim.cli import main
from registry_shim.engines import asking
from registry_shim.engines.canary import MARK
from registry_shim.engines.doctor import Doctor
from registry_shim.engines.probes import Attempt
from registry_shim.mirror.settings import MirrorSettings, UpstreamSettings
from registry_shim.testing import running_mirror

pytestmark = pytest.mark.slow

HOSTS = "etc/containerd/certs.d/ghcr.io/hosts.toml"
DROP_IN = "etc/containers/registries.conf.d/99-modelcar-shim.conf"
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def shim() -> Iterator[str]:
    settings = MirrorSettings(upstreams=(UpstreamSettings(registry="ghcr.io", urls=(NOBODY,)),))
    with running_mirror(settings) as address:
        yield f"http://{address}"


@dataclass
class FakeProbe:
    """Answers as an engine that asked `shim`, or as it is told."""

    said: str
    owner: str = "containerd"
    name: str = "engine"
    pulled: bool = False
    asked: list[str] = field(default_factory=list)

    def attempt(self, image: str, *, seconds: float) -> Attempt:
        self.asked.append(image)
        return Attempt(pulled=self.pulled, said=self.said)


class SilentProbe(FakeProbe):
    def attempt(self, image: str, *, seconds: float) -> Attempt:
        raise WorldError("nobody at the socket")


def engine_for(shim: str, owner: str = "containerd") -> FakeProbe:
    host = shim.removeprefix("http://")
    return FakeProbe(f"pulling from host {host} failed with status code [manifests forbidden]: 403 Forbidden", owner)


def install(root: Path, shim: str, *more: str) -> None:
    (root / "etc/containerd").mkdir(parents=True, exist_ok=True)
    (root / "var/lib").mkdir(parents=True, exist_ok=True)
    registry = '[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/etc/containerd/certs.d"\n'
    (root / "etc/containerd/config.toml").write_text(f"version = 2\n{registry}")
    assert main(["hosts-toml", "--root", str(root), "--registry", "ghcr.io", "--shim", shim, *more, "--json"]) == 0


def failures(root: Path, *probes: FakeProbe, canaries: tuple[str, ...] = ()) -> list[str]:
    found = Doctor(root=root, probes=probes, canaries=canaries).examine()
    return [finding.message for finding in found if finding.level is Level.PROBLEM]


def test_a_node_that_is_well(tmp_path: Path, shim: str) -> None:
    install(tmp_path, shim, "--engine", "containerd", "--engine", "podman")
    containerd, podman = engine_for(shim), engine_for(shim, "containers")
    podman.said = "denied: it is refused on purpose"
    findings: list[Finding] = list(Doctor(root=tmp_path, probes=(containerd, podman)).examine())
    assert [f.message for f in findings if f.level is not Level.OK] == [
        "ghcr.io: the gate refuses nothing else: rules for ghcr.io: none; repositories without a rule: served unseen"
    ]
    assert containerd.asked[0].startswith("ghcr.io/modelcar.dev/doctor/")
    assert len({*containerd.asked, *podman.asked}) == 2  # a new one each time


def test_a_node_that_nobody_wired(tmp_path: Path) -> None:
    assert failures(tmp_path) == ["no engine is wired to a shim"]


def test_a_canary_that_comes_is_a_way_around(tmp_path: Path, shim: str) -> None:
    install(tmp_path, shim)
    probe = engine_for(shim)
    probe.pulled = True
    assert any("THERE IS A WAY AROUND" in message for message in failures(tmp_path, probe))


def test_an_image_of_the_users_own_that_must_not_come(tmp_path: Path, shim: str) -> None:
    install(tmp_path, shim)
    probe = FakeProbe("denied: not signed")
    probe.said = engine_for(shim).said
    images = ("ghcr.io/acme/unsigned:v1", "quay.io/not/wired:v1")
    assert failures(tmp_path, probe, canaries=images) == []
    assert "ghcr.io/acme/unsigned:v1" in probe.asked
    assert "quay.io/not/wired:v1" not in probe.asked
    probe.pulled = True
    assert any(
        "ghcr.io/acme/unsigned:v1 was pulled" in message for message in failures(tmp_path, probe, canaries=images)
    )


@pytest.mark.parametrize(
    "said",
    [
        'failed to do request: Head "https://ghcr.io/v2/x/manifests/forbidden": dial tcp: no route to host',
        "ghcr.io/modelcar.dev/doctor/x: 403 Forbidden",
        "",
    ],
)
def test_a_pull_that_fails_elsewhere_is_no_proof(tmp_path: Path, shim: str, said: str) -> None:
    install(tmp_path, shim)
    assert any("the shim was not asked" in message for message in failures(tmp_path, FakeProbe(said)))


def test_a_shim_that_the_engine_cannot_reach(tmp_path: Path, shim: str) -> None:
    install(tmp_path, shim)
    probe = FakeProbe(f"dial tcp {shim.removeprefix('http://')}: connect: connection refused")
    assert any("was asked and did not refuse" in message for message in failures(tmp_path, probe))


def test_an_engine_that_cannot_be_asked_is_no_proof_and_no_failure(tmp_path: Path, shim: str) -> None:
    install(tmp_path, shim)
    for probes in ((), (SilentProbe(""),)):
        levels = [finding.level for finding in Doctor(root=tmp_path, probes=probes).examine()]
        assert Level.NOTE in levels
        assert Level.PROBLEM not in levels


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('server = "{shim}"\n', "no host table"),
        ('[host."{shim}"]\n', "names no server"),
        ('server = "https://ghcr.io"\n[host."{shim}"]\n', "https://ghcr.io as well"),
        ('server = "{shim}"\n[host."https://mirror.example"]\n[host."{shim}"]\n', "https://mirror.example as well"),
        ("server = \n", "cannot be parsed"),
    ],
)
def test_a_hosts_toml_that_leaves_a_way_around(tmp_path: Path, shim: str, text: str, why: str) -> None:
    install(tmp_path, shim)
    (tmp_path / HOSTS).write_text(text.replace("{shim}", shim))
    found = failures(tmp_path, engine_for(shim))
    assert any(why in message for message in found)
    assert any("someone changed it" in message for message in found)


def test_a_hosts_toml_that_is_gone(tmp_path: Path, shim: str) -> None:
    install(tmp_path, shim)
    (tmp_path / HOSTS).unlink()
    assert any("there is no hosts.toml" in message for message in failures(tmp_path, engine_for(shim)))


def test_a_containerd_that_reads_another_folder(tmp_path: Path, shim: str) -> None:
    install(tmp_path, shim)
    (tmp_path / "etc/containerd/config.toml").write_text("version = 2\n")
    assert any("config_path is not set" in message for message in failures(tmp_path, engine_for(shim)))


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("zz.conf", '[[registry]]\nlocation = "ghcr.io"\n', "zz.conf sends ghcr.io to ghcr.io"),
        ("00.conf", '[[registry]]\nprefix = "ghcr.io/acme"\nlocation = "ghcr.io/acme"\n', "00.conf sends ghcr.io/acme"),
        ("zz.conf", '[[registry]]\nprefix = "ghcr.io"\nlocation = "elsewhere.example"\n', "to elsewhere.example"),
        ("zz.conf", "[[registry\n", "cannot be parsed"),
    ],
)
def test_drop_ins_of_others_that_lead_around(tmp_path: Path, shim: str, name: str, text: str, why: str) -> None:
    install(tmp_path, shim, "--engine", "podman")
    (tmp_path / DROP_IN).with_name(name).write_text(text)
    assert any(why in message for message in failures(tmp_path, engine_for(shim, "containers")))


def test_a_mirror_before_the_shim(tmp_path: Path, shim: str) -> None:
    install(tmp_path, shim, "--engine", "podman")
    text = (tmp_path / DROP_IN).read_text() + '[[registry.mirror]]\nlocation = "mirror.example"\n'
    (tmp_path / DROP_IN).write_text(text)
    assert any(
        "mirror.example asked before" in message for message in failures(tmp_path, engine_for(shim, "containers"))
    )


def test_what_was_excluded_on_purpose_is_no_way_around(tmp_path: Path, shim: str) -> None:
    install(tmp_path, shim, "--engine", "podman", "--exclude-repo", "ghcr.io/acme/registry-shim")
    assert failures(tmp_path, engine_for(shim, "containers")) == []


def test_roots_own_configuration_replaces_the_nodes(tmp_path: Path, shim: str) -> None:
    install(tmp_path, shim, "--engine", "podman")
    own = tmp_path / "root/.config/containers/registries.conf"
    own.parent.mkdir(parents=True)
    own.touch()
    assert any(
        "replaces the configuration" in message for message in failures(tmp_path, engine_for(shim, "containers"))
    )


def test_a_shim_that_is_down(tmp_path: Path) -> None:
    install(tmp_path, NOBODY)
    assert any("does not answer" in message for message in failures(tmp_path))


def test_a_registry_that_the_shim_does_not_serve(tmp_path: Path, shim: str) -> None:
    install(tmp_path, shim, "--registry", "quay.io")
    assert any("quay.io: what must be refused is answered" in message for message in failures(tmp_path))


@pytest.mark.parametrize(
    ("summary", "level"),
    [
        ("rules for ghcr.io: 1 enforce; repositories without a rule: served unseen", Level.OK),
        ("rules for ghcr.io: none; repositories without a rule: refused", Level.OK),
        ("rules for ghcr.io: 2 audit; repositories without a rule: served unseen", Level.NOTE),
    ],
)
def test_a_gate_that_only_watches_is_said_to(
    tmp_path: Path, shim: str, monkeypatch: pytest.MonkeyPatch, summary: str, level: Level
) -> None:
    install(tmp_path, shim)
    body = json.dumps({"errors": [{"code": "DENIED", "message": f"x is {MARK}, so that; {summary}"}]})
    answers = {"/v2/": (200, "")}
    monkeypatch.setattr(asking, "_get", lambda _base, path, _ca: answers.get(path, (403, body)))
    (found,) = [f for f in Doctor(root=tmp_path).examine() if "ghcr.io: " in f.message and f.subject == "shim"]
    assert found.level is level
    assert summary in found.message


def test_engines_that_are_left_out_are_mentioned(tmp_path: Path, shim: str) -> None:
    install(tmp_path, shim)
    (tmp_path / "etc/crio").mkdir()
    found = list(Doctor(root=tmp_path, probes=(engine_for(shim),)).examine())
    assert "crio" in [f.subject for f in found if f.level is Level.NOTE]


def test_docker_is_said_to_be_no_gate(tmp_path: Path, shim: str) -> None:
    install(tmp_path, shim, "--registry", "docker.io", "--engine", "docker")
    found = list(Doctor(root=tmp_path).examine())
    assert any(f.level is Level.NOTE and "no gate" in f.message for f in found)


def test_the_command_says_all_and_answers_with_its_status(
    tmp_path: Path, shim: str, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, shim)
    capsys.readouterr()
    assert main(["doctor", "--root", str(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["healthy"] is True
    assert "note" in {finding["level"] for finding in document["findings"]}  # nobody to ask below a folder
    (tmp_path / HOSTS).write_text("")
    assert main(["doctor", "--root", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "problem" in said.out
    assert "past the shim" in said.err
