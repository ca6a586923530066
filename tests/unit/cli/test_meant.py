"""Who types what another tool would take, or what is natural to guess, is told what to type here."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from modelcar.cli import cli
from modelcar.cli.elsewhere import OPTIONS
from modelcar.cli.groups import LazyGroup
from registry_shim.cli import cli as shim
from registry_shim.cli import main as shim_main
from tests.unit.cli.conftest import ModelcarCli

IMAGE = "localhost:1/a:b"

COMMANDS = {
    "psh": "modelcar push",
    "images": "modelcar list",
    "ls": "modelcar list",
    "rmi IMAGE": "modelcar rm IMAGE",
    "tag IMAGE IMAGE": "modelcar copy IMAGE IMAGE",
    "cp IMAGE": "modelcar copy SRC DST",
    "save IMAGE -o x.tar": "modelcar archive REF -o FILE",
    "import x.tar": "modelcar push oci-archive:FILE registry/repo:tag",
    "download IMAGE 'two words'": "modelcar pull IMAGE -o 'two words'",
    "generate-key-pair": "modelcar keygen",
    "verify-attestation IMAGE": "modelcar verify REF --attestation TYPE",
    "discover IMAGE": "modelcar inspect IMAGE",
    "login localhost:1": "docker login",
    "serve": "registry-shim serve --root DIR",
    "admission start": "modelcar admission serve",
    "template": "modelcar manifests",
    "version": "modelcar --version",
    "help": "modelcar --help",
    "help push": "modelcar push --help",
    "pull IMAGE out": "modelcar pull IMAGE -o out",
    "pull IMAGE 'two words'": "modelcar pull IMAGE -o 'two words'",
    "pull IMAGE --include x out": "modelcar pull IMAGE --include x -o out",
    "pull IMAGE IMAGE": "modelcar copy IMAGE IMAGE",
    "archive IMAGE x.tar": "modelcar archive IMAGE -o x.tar",
    "archive IMAGE IMAGE": "modelcar copy IMAGE IMAGE",
    "export IMAGE out --json": "modelcar export IMAGE --json -o out",
    "convert old new": "modelcar convert old -o new",
    "inject pod.yaml -n default": "modelcar inject -n default -f pod.yaml",
    "keygen name": "modelcar keygen -o name",
    "build model IMAGE": "modelcar build model -t IMAGE",
    "load IMAGE podman": "modelcar load IMAGE --engine podman",
    "verify IMAGE it.pub": "modelcar verify IMAGE --key it.pub",
    "sign IMAGE awskms:///alias/x": "modelcar sign IMAGE --key awskms:///alias/x",
    "inspect IMAGE IMAGE": "modelcar inspect IMAGE --against IMAGE",
    "inspect model tensors": "--tensors",
    "list IMAGE": "modelcar inspect IMAGE",
    "gc IMAGE": "modelcar rm IMAGE",
    "doctor ghcr.io": "modelcar doctor --registry ghcr.io",
    "admission serve :8443": "modelcar admission serve --listen :8443",
    "push --limt-rate 1 IMAGE": "--limit-rate",
    "push IMAGE --debug": "--verbose",
    "push IMAGE --no-progress": "--quiet",
    "pull IMAGE --dest x": "--output",
    "inspect IMAGE --format json": "--json",
    "build model --name IMAGE": "--tag",
    "-V": "--version",
}
LACKING = {
    "archive IMAGE": "modelcar archive IMAGE -o FILE",
    "archive": "modelcar archive REF -o FILE",
    "copy IMAGE": "modelcar copy IMAGE DST",
    "copy": "modelcar copy SRC DST",
    "mount IMAGE": "modelcar mount IMAGE DIR",
    "build -t IMAGE": "modelcar build -t IMAGE SOURCE",
    "rm": "modelcar rm REF",
    "attest IMAGE pred.json": "modelcar attest IMAGE pred.json --type TYPE",
    "completion": "modelcar completion bash",
}
OTHERWISE = {
    "-v list": "options stand behind the command: `modelcar COMMAND -v`",
    "--debug list": "options stand behind the command: `modelcar COMMAND --verbose`",
    "--home x list": "MODELCAR_HOME says where the local store lies",
    "push -t IMAGE": "what it is about stands without an option: `modelcar push REF [TARGET]`",
    "push IMAGE --tls-verify=false": (
        "did you mean `--plain-http`? for a certificate of your own it is `--ca-file FILE`"
    ),
    "copy --all IMAGE IMAGE": "leave it out: an image goes with all its platforms and signatures",
    "push IMAGE --creds somebody:MARKED": "logins are those of `docker login`, `podman login` and `skopeo login`",
    "sign --yes IMAGE": "leave it out: nothing asks, and nothing is overwritten",
    "build -f Dockerfile model": "there is no Dockerfile: `--base IMAGE` says what the image runs",
    "load -i x.tar": "an archive has a name, too: `modelcar load oci-archive:FILE`",
    "push IMAGE --sign": "`modelcar sign REF --key KEY` signs",
    "inspect IMAGE --markdown it.md": f"--markdown prints: `modelcar inspect {IMAGE} --markdown > it.md`",
    "inspect --markdown it.md IMAGE": f"--markdown prints: `modelcar inspect --markdown {IMAGE} > it.md`",
    "controller start": "leave it out: it begins at once",
}
UNKNOWN = (
    "entirely-else",
    "search llama",
    "pull IMAGE one two",
    "pull IMAGE -o out more",
    "list more",
    "scan model model",
    "keygen one two",
    "push IMAGE --xyzzy",
    "sign IMAGE --xyzzy",
)
OF_THE_SHIM = {
    "start": "did you mean `registry-shim serve --root DIR`? ",
    "pull IMAGE": "did you mean `registry-shim precache IMAGE`? ",
    "images": "did you mean `registry-shim status`? ",
    "setup": "did you mean `registry-shim hosts-toml`? ",
    "serve registry": "did you mean `registry-shim serve --root registry`? ",
    "serve :5000": "did you mean `registry-shim serve --listen :5000`? ",
    "serve --port 5000": "did you mean `--listen`? ",
    "serve --mirror ghcr.io": "did you mean `--upstream`? ",
    "hosts-toml ghcr.io": "did you mean `registry-shim hosts-toml --registry ghcr.io`? ",
    "hosts-toml containerd": "did you mean `registry-shim hosts-toml --engine containerd`? ",
    "hosts-toml --remove": "did you mean `--uninstall`? ",
    "gc 100GB": "did you mean `registry-shim gc --free 100GB`? ",
    "gc IMAGE": "",
    "doctor IMAGE": "did you mean `registry-shim doctor --canary IMAGE`? ",
    "doctor containerd": "",
    "snapshotter dir": "did you mean `registry-shim snapshotter --state dir`? ",
    "snapshotter start": "leave it out: it begins at once; ",
    "node n1": "did you mean `registry-shim node --node-name n1`? ",
    "status -w": "did you mean `--watch`? ",
    "--root x status": "options stand behind the command: `registry-shim COMMAND --root`; ",
    "pin": "as in `registry-shim pin REF`; ",
}


def hint(modelcar: ModelcarCli, typed: str) -> str:
    return modelcar.refusal(2, *shlex.split(typed.replace("IMAGE", IMAGE))).hint


def path(group: click.Group, typed: str, program: str = "modelcar") -> str:
    """The commands at the beginning of `typed`."""
    found = [program]
    command: click.Command | None = group
    for word in shlex.split(typed):
        command = command.get_command(click.Context(command), word) if isinstance(command, click.Group) else None
        if command is None:
            break
        found.append(word)
    return " ".join(found)


@pytest.mark.parametrize("typed", COMMANDS)
def test_what_was_mistyped_is_answered_with_what_may_be_meant(modelcar: ModelcarCli, typed: str) -> None:
    meant = COMMANDS[typed].replace("IMAGE", IMAGE)
    assert hint(modelcar, typed) == f"did you mean `{meant}`? see `{path(cli, typed)} --help`"


@pytest.mark.parametrize("typed", LACKING)
def test_what_is_missing_is_shown_in_its_place(modelcar: ModelcarCli, typed: str) -> None:
    assert hint(modelcar, typed) == f"as in `{LACKING[typed].replace('IMAGE', IMAGE)}`; see `{path(cli, typed)} --help`"


@pytest.mark.parametrize("typed", OTHERWISE)
def test_what_is_otherwise_here(modelcar: ModelcarCli, typed: str) -> None:
    assert hint(modelcar, typed) == f"{OTHERWISE[typed]}; see `{path(cli, typed)} --help`"


@pytest.mark.parametrize("typed", UNKNOWN)
def test_nothing_is_made_up(modelcar: ModelcarCli, typed: str) -> None:
    assert hint(modelcar, typed) == f"see `{path(cli, typed)} --help`"


@pytest.mark.parametrize("typed", OF_THE_SHIM)
def test_the_shim_too(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shim_main(shlex.split(typed.replace("IMAGE", IMAGE))) == 2
    said = capsys.readouterr().err.splitlines()[1]
    where = path(shim, typed, "registry-shim")
    assert said == f"  hint: {OF_THE_SHIM[typed].replace('IMAGE', IMAGE)}see `{where} --help`"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("precache list", "registry-shim precache --list"),
        ("precache ls", "registry-shim precache --list"),
        ("precache status --json", "registry-shim precache --list"),
        ("precache cancel IMAGE", "registry-shim precache --cancel REF"),
        ("precache add IMAGE", "registry-shim precache REF"),
        ("pin list", "registry-shim status"),
        ("pin rm IMAGE", "registry-shim unpin REF"),
    ],
)
def test_a_verb_is_no_image_of_the_shim(typed: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    word = typed.split()[1]
    assert shim_main(typed.replace("IMAGE", IMAGE).split()) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"registry-shim: {word!r} would be the name of an image",
        f"  hint: did you mean `{meant}`? the image would be docker.io/library/{word}",
    ]


def test_a_long_command_is_not_said_again(modelcar: ModelcarCli) -> None:
    typed = f"pull {IMAGE} --include {'x' * 200} out"
    assert hint(modelcar, typed) == "did you mean `-o out`? see `modelcar pull --help`"
    assert hint(modelcar, f"keygen {'x' * 200}") == "see `modelcar keygen --help`"


@pytest.mark.parametrize(
    "typed",
    [
        "build https://somebody:MARKED@host/model IMAGE",
        "pull IMAGE https://somebody:MARKED@host/",
        "archive somebody:MARKED@host/model",
        "rmi somebody:MARKED@host/model",
        "pull https://somebody:MARKED@host/",
        "build https://somebody:MARKED@huggingface.co/org/name -t IMAGE",
    ],
)
def test_a_password_is_not_said_again(modelcar: ModelcarCli, typed: str) -> None:
    complaint = modelcar.refusal(2, *shlex.split(typed.replace("IMAGE", IMAGE)))
    assert "MARKED" not in complaint.line + complaint.hint


def test_choices_are_on_the_line(modelcar: ModelcarCli) -> None:
    assert modelcar.refusal(2, "completion").line == "missing argument '{bash|zsh|fish}'"


@pytest.mark.parametrize(
    ("typed", "line", "says"),
    [
        ("pull docker://IMAGE", "'docker://IMAGE' is not an image reference", "leave out the scheme: IMAGE"),
        ("pull oci://IMAGE -o out", "'oci://IMAGE' is not an image reference", "leave out the scheme: IMAGE"),
        (
            "pull hf://org/name -o out",
            "'hf://org/name' is not an image reference",
            "`modelcar build hf://org/name -t registry/repo:tag` makes an image of it",
        ),
        (
            "copy IMAGE docker-archive:x.tar",
            "docker-archive: is no place of modelcar's",
            "`oci-archive:FILE` is the tar that is read and written here",
        ),
        ("load x.tar", "'x.tar' is a file", "an image in a tar is oci-archive:x.tar"),
        ("copy ./x.tar IMAGE", "'./x.tar' is a file", "an image in a tar is oci-archive:./x.tar"),
        (
            "build org/name -t IMAGE",
            "there is no 'org/name'",
            "if it is a model of the Hub, name it hf://org/name",
        ),
        (
            "build https://huggingface.co/org/name/tree/main -t IMAGE",
            "there is no 'https://huggingface.co/org/name/tree/main'",
            "if it is a model of the Hub, name it hf://org/name",
        ),
    ],
)
def test_images_and_models_as_others_name_them(
    modelcar: ModelcarCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, line: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.tar").write_bytes(b"x")
    complaint = modelcar.refusal(2, *shlex.split(typed.replace("IMAGE", IMAGE)))
    assert (complaint.line, complaint.hint) == (line.replace("IMAGE", IMAGE), says.replace("IMAGE", IMAGE))


def commands(group: click.Group) -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        found |= commands(command) if isinstance(command, click.Group) else {name: command}
    return found


@pytest.mark.parametrize(("group", "program"), [(cli, "modelcar"), (shim, "registry-shim")], ids=["modelcar", "shim"])
def test_what_is_proposed_exists(group: LazyGroup, program: str) -> None:
    both = {"modelcar": cli, "registry-shim": shim}
    assert set(group.elsewhere).isdisjoint(group.list_commands(click.Context(group)))
    for command in group.elsewhere.values():
        name, *words = command.split()
        if name in both and not words[0].startswith("--"):
            assert path(both[name], " ".join(words), name) != name, command
        assert name in {*both, "docker"}


def test_options_that_are_proposed_exist() -> None:
    verbs = commands(cli) | {f"shim {name}": command for name, command in commands(shim).items()}
    known = {o for command in verbs.values() for p in command.params for o in p.opts} | {"--version"}
    assert {option for each in OPTIONS.values() for option in each.options} <= known
    sentences = " ".join(each.otherwise + each.besides for each in OPTIONS.values())
    assert set(re.findall(r"--[a-z-]+", sentences)) <= known
    for name in OPTIONS:
        verb, _, option = name.rpartition(" ")
        assert not verb or option not in {o for p in verbs[verb].params for o in p.opts}
