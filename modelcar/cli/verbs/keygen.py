"""`modelcar keygen`."""

from __future__ import annotations

from pathlib import Path

import click

from modelcar.cli.options import NAMED_PATH, output_options
from modelcar.cli.output import Output
from modelcar.cli.passwords import ask_new_password
from modelcar.errors import UsageError
from modelcar.signing.keys.generate import check_absent, generate_key, write_new
from modelcar.signing.keys.pem import cosign_pem


@click.command("keygen")
@click.option(
    "-o",
    "--output",
    "prefix",
    type=NAMED_PATH,
    default=Path("modelcar"),
    show_default=True,
    help="Write PREFIX.key and PREFIX.pub.",
    metavar="PREFIX",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["cosign", "pkcs8"]),
    default="cosign",
    show_default=True,
    help="How the private key is encrypted; pkcs8 is what openssl reads.",
)
@output_options
def command(prefix: Path, form: str, output: Output) -> None:
    """Make a key pair to sign with: ECDSA P-256, as cosign's.

    The private key is encrypted with a password, which is asked for, or taken from COSIGN_PASSWORD. Nothing is ever
    overwritten.

    \b
      modelcar keygen
      modelcar keygen -o ci
    """
    if prefix.name in ("", ".."):
        raise UsageError(f"{prefix} is a folder, and what the files are called is missing", hint=f"-o {prefix / 'ci'}")
    private, public = prefix.with_name(f"{prefix.name}.key"), prefix.with_name(f"{prefix.name}.pub")
    check_absent(private, public)
    password = ask_new_password()
    key = generate_key()
    write_new(private, cosign_pem(key, password) if form == "cosign" else key.pkcs8_pem(password), mode=0o600)
    write_new(public, key.public.pem, mode=0o644)
    output.document({"private": str(private), "public": str(public), "fingerprint": key.public.fingerprint})
    output.line(f"wrote {private} and {public}")
    output.line(key.public.fingerprint)
    if not password:
        output.aside(f"the password is empty: whoever can read {private} can sign with it")
