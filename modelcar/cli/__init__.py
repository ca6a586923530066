"""The command `modelcar`: one verb a file in `verbs`; the only place that prints, prompts or exits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from modelcar import __version__
from modelcar.cli.groups import LazyGroup
from modelcar.cli.program import run_program

__all__ = ["cli", "main"]

_SECTIONS: Final = {
    "Package": {
        "build": "Package a checkpoint as an OCI image in the local store.",
        "plan": "Show what `build` would make, or what a rank needs.",
        "convert": "Turn pickled weights into safetensors, or divide weights anew.",
        "inspect": "Show what an image is made of, without reading weights.",
        "diff": "Show what differs between two models.",
    },
    "Trust": {
        "scan": "Look for what does harm, and say what nobody can vouch for.",
        "keygen": "Make a key pair to sign with: ECDSA P-256, as cosign's.",
        "sign": "Sign an image and every manifest in it.",
        "attest": "Attach a signed statement about an image.",
        "verify": "Check that an image is signed by whom you name.",
    },
    "Move": {
        "push": "Push an image of the store to its registry, or to TARGET.",
        "pull": "Pull a model's files into a folder, or an image to the store.",
        "copy": "Copy an image between registries and OCI layouts.",
        "archive": "Write an image to one file, for places without a network.",
        "export": "Write an image of the local store to a folder: an OCI layout.",
        "load": "Load an image into a local docker or podman.",
    },
    "Run": {
        "mount": "Mount a model before it is here.",
        "umount": "Take a mounted model down.",
        "status": "Tell how far a mounted model is; without DIR, what is mounted.",
        "inject": "Rewrite pods in files, as the webhook does, to stdout.",
        "admission": "The webhook that gives pods their models.",
        "controller": "Keep models where ModelCaches want them.",
        "manifests": "Print the objects that install everything.",
    },
    "Look after": {
        "list": "List the images in the local store.",
        "rm": "Remove images from the local store, and what only they used.",
        "gc": "Free what no image in the local store uses.",
        "doctor": "Look at what modelcar needs here, and say what is wrong.",
        "completion": "Print the script that completes commands in a shell.",
    },
}
_ELSEWHERE: Final = {
    word: command
    for words, command in {
        "images ls": "modelcar list",
        "ps mounts": "modelcar status",
        "rmi remove delete del untag": "modelcar rm REF",
        "tag cp sync mirror promote retag": "modelcar copy SRC DST",
        "save": "modelcar archive REF -o FILE",
        "import": "modelcar push oci-archive:FILE registry/repo:tag",
        "unpack extract download fetch get clone": "modelcar pull REF -o DIR",
        "upload publish": "modelcar push REF",
        "create pack package bundle": "modelcar build SOURCE -t REF",
        "info show describe manifest history tree discover cat ls-files": "modelcar inspect REF",
        "generate-key-pair generate-key gen-key genkey": "modelcar keygen",
        "verify-attestation verify-blob-attestation": "modelcar verify REF --attestation TYPE",
        "attach sbom provenance": "modelcar attest REF --type TYPE",
        "prune cleanup clean system": "modelcar gc",
        "validate check lint audit": "modelcar scan SOURCE",
        "unmount fusermount": "modelcar umount DIR",
        "compare": "modelcar diff A B",
        "run": "modelcar load REF",
        "serve registry shim": "registry-shim serve --root DIR",
        "webhook admission-webhook": "modelcar admission serve",
        "operator": "modelcar controller",
        "template install deploy crds": "modelcar manifests",
        "env debug config": "modelcar doctor",
        "autocomplete completions": "modelcar completion bash",
        "login": "docker login",
        "logout": "docker logout",
        "version": "modelcar --version",
        "help": "modelcar --help",
    }.items()
    for word in words.split()
}
_WITHOUT_CONFIGURATION: Final = ("doctor", "completion")  # they help those whose configuration is broken
_ASKING_FOR_HELP: Final = {"-h", "--help"}


def _configure(context: click.Context, verb: str, words: Sequence[str]) -> None:
    """Let the user's configuration have its say, unless the verb is for those whose configuration is broken."""
    if verb in _WITHOUT_CONFIGURATION or _ASKING_FOR_HELP.intersection(words):
        return
    from modelcar.cli.configuration import apply

    apply(context, words)


@click.group(
    cls=LazyGroup,
    package="modelcar.cli.verbs",
    sections=_SECTIONS,
    prepare=_configure,
    elsewhere=_ELSEWHERE,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="modelcar")
def cli() -> None:
    """Move models the way you move containers.

    A checkpoint becomes a layered OCI image, one weight shard a layer, without a second copy of the weights.

    \b
      modelcar build ./my-model -t localhost:5000/my-model:v1
      modelcar push localhost:5000/my-model:v1
      modelcar pull localhost:5000/my-model:v1 -o ./copy
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0 done, 1 the answer is no, 2 wrong usage, 3 the world failed."""
    return run_program(cli, "modelcar", arguments)
