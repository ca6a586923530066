"""What docker, skopeo, podman, cosign, oras, helm and the Hub's tools call what our commands call otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["OPTIONS", "SUBJECTS", "Elsewhere"]


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What stands for an option of other tools.

    Attributes:
        options: ours; the first that the command has is meant.
        otherwise: what to do where the command has none of them.
        besides: what to know of the option.
    """

    options: tuple[str, ...] = ()
    otherwise: str = ""
    besides: str = ""


def _all(names: str, *options: str, otherwise: str = "", besides: str = "") -> dict[str, Elsewhere]:
    return dict.fromkeys(names.split(), Elsewhere(options, otherwise, besides))


_WHOLE: Final = Elsewhere(otherwise="leave it out: an image goes with all its platforms and signatures")
_LOGINS: Final = "logins are those of `docker login`, `podman login` and `skopeo login`"
_UNASKED: Final = "leave it out: nothing asks, and nothing is overwritten"

OPTIONS: Final[Mapping[str, Elsewhere]] = {
    **_all("-o --out --output --output-dir --local-dir --dest --destination --to -C", "--output", "--json"),
    **_all("-d --dir --directory --path --data --data-dir", "--output", "--root", "--verbose"),
    **_all("--format --template --raw", "--json"),
    **_all("-n --name -t --tag --image", "--tag", "--node-name", "--canary"),
    **_all(
        "--insecure --http --insecure-registry --allow-insecure-registry --allow-http-registry --tls-verify"
        " --src-tls-verify --dest-tls-verify --insecure-skip-tls-verify --tls-skip-verify --skip-tls-verify"
        " --insecure-skip-verify -k --src-plain-http --from-plain-http --to-plain-http --src-insecure --dest-insecure"
        " --from-insecure --to-insecure",
        "--plain-http",
        besides="for a certificate of your own it is `--ca-file FILE`",
    ),
    **_all("--cacert --ca --cert-dir --src-cert-dir --dest-cert-dir --certs-dir --registry-cacert", "--ca-file"),
    **_all(
        "--creds --src-creds --dest-creds -u --username --password --password-stdin --authfile --auth"
        " --registry-username --registry-password --registry-token --registry-config --src-username --src-password",
        otherwise=_LOGINS,
    ),
    **_all("-p", "--listen", otherwise=_LOGINS),
    **_all(
        "--token --hf-token", "--identity-token", otherwise="the Hub's token is HF_TOKEN, or that of `hf auth login`"
    ),
    **_all("--debug -D --trace --log-level --loglevel", "--verbose"),
    **_all("--no-progress --progress --silent -s", "--quiet"),
    **_all("--no-color --no-colour --color", otherwise="NO_COLOR=1 in the environment takes colours away"),
    **_all("-y --yes --assume-yes --force --overwrite -f", "--watch", otherwise=_UNASKED),
    **_all("--follow -w", "--watch"),
    **_all("--port --host --bind --addr --address", "--listen", "--socket", "--registry"),
    **_all("--sign --sign-by --key --sign-key", "--sign-key", "--key", otherwise="`modelcar sign REF --key KEY` signs"),
    **_all("--cert-identity --identity", "--certificate-identity"),
    **_all("--mirror", "--upstream", "--registry"),
    **_all("--revision --rev", otherwise="a revision is a part of the name: hf://org/name@REVISION"),
    **_all("--kube-config", "--kubeconfig"),
    **_all("--remove --delete --unwire", "--uninstall", "--cancel"),
    **_all("--home --store --cache-dir", "--root", otherwise="MODELCAR_HOME says where the local store lies"),
    **_all("-j --jobs --parallel --concurrency", otherwise="leave it out: it finds out how many are best"),
    **_all("--retry --retries --retry-times", otherwise="leave it out: what may pass is tried again"),
    **_all("-V", "--version"),
    **{
        f"{verb} {option}": _WHOLE
        for verb in ("push", "copy", "export", "archive")
        for option in ("-a", "--all", "-r", "--recursive", "--all-platforms", "--multi-arch", "--platform")
    },
    "build -f": Elsewhere(otherwise="there is no Dockerfile: `--base IMAGE` says what the image runs"),
    "build -o": (_STORED := Elsewhere(otherwise="it goes to the local store; `modelcar export` writes it to a folder")),
    "build --output": _STORED,
    "manifests -o": (_PRINTED := Elsewhere(otherwise="they are printed: `modelcar manifests > FILE`")),
    "manifests --output": _PRINTED,
    "convert --format": (_ONE := Elsewhere(otherwise="leave it out: safetensors is what it writes")),
    "convert --to": _ONE,
    "mount -o": Elsewhere(otherwise="leave it out: mounts are read-only"),
    "load -i": (_NAMED := Elsewhere(otherwise="an archive has a name, too: `modelcar load oci-archive:FILE`")),
    "load --input": _NAMED,
}
"""By option, or by verb and option where it depends."""

SUBJECTS: Final = frozenset(
    {"-t", "--tag", "-n", "--name", "--image", "--ref", "--reference", "--model", "--repo"}
    | {"-i", "--input", "--src", "--source", "--from", "-f", "--file"}
)
"""Options of other tools for what our commands take as arguments."""
