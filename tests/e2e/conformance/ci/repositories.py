"""Repositories of people who use modelcar, as CI systems find them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.support.sigstore.instance import EMAIL, ISSUER

__all__ = ["commit_all", "keyless_policy", "write_program"]


def commit_all(folder: Path, origin: str) -> None:
    """Make the folder a repository with one commit of all that is in it."""
    who = ("-c", "user.name=A", "-c", "user.email=a@acme.example")
    for words in (
        ("init", "--quiet", "--initial-branch", "main"),
        ("remote", "add", "origin", origin),
        ("add", "."),
        (*who, "commit", "--quiet", "--message", "models"),
    ):
        subprocess.run(["git", *words], cwd=folder, check=True)


def write_program(file: Path, text: str) -> None:
    """A shell script that may be run."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\nset -eu\n{text}\n")
    file.chmod(0o755)


def keyless_policy(name: str, **more: Any) -> str:
    """Every image has to be signed as the job; with `attestations` in `more`, those have to be there instead."""
    identity = {"issuer": ISSUER, "subject": EMAIL}
    authority = {"name": "ci", "keyless": {"identities": [identity]}, **more}
    return yaml.safe_dump(
        {
            "apiVersion": "policy.sigstore.dev/v1beta1",
            "kind": "ClusterImagePolicy",
            "metadata": {"name": name},
            "spec": {"images": [{"glob": "**"}], "authorities": [authority]},
        }
    )
