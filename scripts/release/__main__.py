"""`python -m scripts.release`: the steps of a release, each of which can be run anywhere.

python BASE                                which Python the base has, as 3.13
build OUT --base BASE --wheels amd64=DIR --wheels arm64=DIR
sign OUT [--key KEY --attest-key KEY]      without keys as who you are
verify OUT --key PUBLIC-KEY | --identity WHO --issuer URL
lock                                       the packages and the base, anew

A Sigstore of your own: `--trust-config FILE` for both.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from modelcar.cli.identities import IdentityChoice
from modelcar.cli.trust import TrustChoice
from modelcar.errors import ModelcarError, UsageError
from modelcar.packaging.locations import parse_location
from modelcar.store.layout import OciLayout
from scripts.release.base import BaseLock, python_of
from scripts.release.bundle import PLACE, write_bundle
from scripts.release.image import ARCHITECTURES, ImageRequest, build_image, labels_of
from scripts.release.lock import BASE, EXTRAS, lock, lock_base
from scripts.release.provenance import predicate_of, statement_about, sums
from scripts.release.sbom import to_cyclonedx
from scripts.release.sign import IMAGE, SBOM, STATEMENT, SUMS, Keys, sign, verify
from scripts.release.source import export
from scripts.release.wheels import build_wheel, read_wheels

_SIGSTORE = "Sigstore ClientTrustConfig of an instance of your own; by default the public one"


def build(
    out: Path,
    *,
    revision: str,
    version: str | None,
    image: str,
    url: str | None,
    base: Path,
    base_lock: Path | None,
    wheels: dict[str, Path],
) -> None:
    """Everything of a release, unsigned, in the new folder `out`; the same bytes for the same commit and wheels.

    Raises:
        ModelcarError: it cannot be built; `out` is then not there.
    """
    if out.exists():
        raise UsageError(f"{out} is there already")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".modelcar-release-") as temporary:
        source = export(Path(temporary) / "source", revision)
        if version not in (None, source.version):
            raise UsageError(f"the commit says that it is {source.version}, and not {version}")
        new = Path(temporary) / "out"
        new.mkdir()
        ours = build_wheel(source, new)
        locked = BaseLock.read(base_lock or source.folder / "scripts/release/locks/base.json")
        others = {architecture: read_wheels(folder) for architecture, folder in wheels.items()}
        request = ImageRequest(
            name=source.version,
            ours=ours,
            extras=EXTRAS["image"],
            wheels=others,
            lock=locked,
            labels=labels_of(source, locked, url),
            epoch=source.epoch,
        )
        root = build_image(request, OciLayout(base, create=False), OciLayout(new / IMAGE))
        write_bundle(new / f"modelcar-{source.version}-kustomize.tar", f"{image}@{root.digest}")
        document = to_cyclonedx(ours, others, locked, source.epoch)
        (new / SBOM).write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
        files = sums(new, [file.name for file in new.iterdir() if file.is_file()])
        (new / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in files.items()))
        files |= sums(new, [SUMS])
        statement = statement_about(files, root.digest, predicate_of(source, locked, url, os.environ))
        (new / STATEMENT).write_bytes(statement.to_bytes())
        new.rename(out)
    print(f"{source.version} {root.digest}")


def _verify(options: argparse.Namespace) -> None:
    identity = IdentityChoice(
        subject=options.identity,
        subject_regexp=None,
        issuer=options.issuer,
        issuer_regexp=None,
        trusted_root=options.trusted_root,
        trust_config=options.trust_config,
        offline=False,
    )
    choice = TrustChoice(keys=(options.key,) if options.key else (), identity=identity)
    verify(options.out, choice.authority(parse_location(f"oci:{options.out / IMAGE}")))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.release", description="The steps of a release.")
    commands = parser.add_subparsers(dest="command", required=True)
    asking = commands.add_parser("python", help="which Python the base has")
    asking.add_argument("base", type=Path, help="an OCI layout with the base alone")
    asking.add_argument("--base-lock", type=Path, metavar="FILE", default=BASE, help="another than locks/base.json")
    building = commands.add_parser("build", help="build everything, unsigned")
    building.add_argument("out", type=Path)
    building.add_argument(
        "--image", default=PLACE, metavar="REPOSITORY", help="where the image will be, for the bundle"
    )
    building.add_argument("--base", required=True, type=Path, metavar="DIR", help="an OCI layout with the base alone")
    building.add_argument("--base-lock", type=Path, metavar="FILE", help="another than locks/base.json")
    building.add_argument("--wheels", required=True, action="append", metavar="ARCH=DIR", help="those of others")
    building.add_argument("--source", metavar="URL", help="where its source is, for the image's labels")
    building.add_argument("--version", help="what the commit has to say that it is")
    building.add_argument("--revision", default="HEAD", metavar="COMMIT")
    signing = commands.add_parser("sign", help="sign what was built")
    signing.add_argument("out", type=Path)
    signing.add_argument("--key", metavar="KEY", help="of the image; by default an identity signs")
    signing.add_argument("--attest-key", metavar="KEY", help="of all statements")
    signing.add_argument("--trust-config", type=Path, metavar="FILE", help=_SIGSTORE)
    signing.add_argument("--identity-token", type=Path, metavar="FILE", help="a file with the identity token")
    verifying = commands.add_parser("verify", help="hold every file against the signed statement")
    verifying.add_argument("out", type=Path)
    verifying.add_argument("--key", metavar="KEY")
    verifying.add_argument("--identity", metavar="WHO")
    verifying.add_argument("--issuer", metavar="URL")
    verifying.add_argument(
        "--trusted-root", type=Path, metavar="FILE", help="Sigstore trusted_root.json: verify without a network"
    )
    verifying.add_argument("--trust-config", type=Path, metavar="FILE", help=_SIGSTORE)
    commands.add_parser("lock", help="lock packages and base anew")
    return parser


def _run(options: argparse.Namespace) -> None:
    if options.command == "python":
        layout, base_lock = OciLayout(options.base, create=False), BaseLock.read(options.base_lock)
        print(python_of(layout, base_lock, ARCHITECTURES).version)
    elif options.command == "build":
        wheels = dict(each.partition("=")[::2] for each in options.wheels)
        build(
            options.out,
            revision=options.revision,
            version=options.version,
            image=options.image,
            url=options.source,
            base=options.base,
            base_lock=options.base_lock,
            wheels={name: Path(folder) for name, folder in wheels.items()},
        )
    elif options.command == "sign":
        if (options.key is None) != (options.attest_key is None):
            raise UsageError("two keys sign, or none", hint="give --key and --attest-key")
        keys = Keys(
            sign=options.key,
            attest=options.attest_key,
            trust_config=options.trust_config,
            token_file=options.identity_token,
        )
        sign(options.out, keys)
    elif options.command == "verify":
        _verify(options)
    else:
        lock()
        lock_base()


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status, as the command `modelcar` does."""
    try:
        _run(_parser().parse_args(arguments))
    except ModelcarError as error:
        print(f"release: {error}", *(f"  - {reason}" for reason in error.reasons), sep="\n", file=sys.stderr)
        if error.hint:
            print(f"  hint: {error.hint}", file=sys.stderr)
        return error.exit_status
    except OSError as error:
        print(f"release: {error.filename}: {error.strerror}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
