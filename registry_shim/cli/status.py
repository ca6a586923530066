"""`registry-shim status`."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any, Final

import click

from modelcar.cli.options import output_options
from modelcar.cli.output import Output, Table, human_size
from registry_shim.cli.asking import ago, called, lasting, root_option
from registry_shim.operations.admin.client import AdminClient

__all__ = ["command"]

_WATCH_SECONDS: Final = 2.0


@click.command("status")
@click.option("--watch", is_flag=True, help="Show it again every two seconds, until Ctrl-C.")
@root_option
@output_options
def command(watch: bool, client: AdminClient, output: Output) -> None:
    """What this node has, what is arriving, and how much room there is.

    \b
      registry-shim status
      registry-shim status --json | jq .images
    """
    while True:
        answer = client.get("status")
        if watch and not output.as_json:
            click.clear()
        output.document(answer)
        if not output.as_json:
            _show(answer, output)
        if not watch:
            return
        time.sleep(_WATCH_SECONDS)


def _show(answer: dict[str, Any], output: Output) -> None:
    about, space = answer["about"], answer["space"]
    upstreams = ", ".join(about["upstreams"]) or "none"
    up = lasting(max(0.0, about["time"] - about["started"]))
    output.line(f"registry-shim {about['version']} at {about['address']}, up for {up}")
    output.line(f"upstreams: {upstreams}")
    output.line(_room(space))
    for show in (_images, _precached, _arriving, _peers):
        show(answer, output)
    if (problem := answer["gate"].get("policies", {}).get("problem")) is not None:
        output.line(f"policies: {problem}")
    for name, problem in answer["precache"].get("problems", {}).items():
        output.line(f"precache.d/{name}: {problem}")
    if answer["revoked"]:
        output.line(f"revoked on this node: {len(answer['revoked'])}")


def _room(space: dict[str, Any]) -> str:
    parts = [f"{human_size(space['taken'])} taken"]
    if space["budget"]:
        parts[0] += f" of {human_size(space['budget'])}"
    if space["coming"]:
        parts.append(f"{human_size(space['coming'])} coming")
    parts.append(f"{human_size(space['evictable'])} may go")
    parts.append(f"{human_size(space['disk']['free'])} of the disk free")
    return "room: " + ", ".join(parts)


def _images(answer: dict[str, Any], output: Output) -> None:
    rows = [
        [
            called(image),
            human_size(image["size"]),
            "whole" if image["whole"] else "parts",
            " ".join(word for word in ("pinned", "in_use") if image[word]).replace("_", " "),
            (image["verdict"] or {}).get("state", ""),
            ago(image["used"]),
        ]
        for image in answer["images"]
    ]
    _table(output, "images", ["image", "size", "here", "kept", "gate", "used"], rows, right={"size"})


def _precached(answer: dict[str, Any], output: Output) -> None:
    rows = []
    for image in answer["precache"]["images"]:
        progress = image["progress"]
        share = f"{100 * progress['done'] / progress['total']:.0f} %" if progress["total"] else ""
        eta = lasting(progress["eta"]) if image["running"] and progress["eta"] is not None else ""
        rate = f"{human_size(progress['rate'])}/s" if image["running"] else ""
        rows.append([image["reference"], image["phase"], share, rate, eta, image["error"] or ""])
    _table(output, "pre-caching", ["image", "", "done", "rate", "left", "problem"], rows, right={"done", "rate"})


def _arriving(answer: dict[str, Any], output: Output) -> None:
    rows = [
        [
            blob["digest"][:19],
            f"{human_size(blob['present'])} of {human_size(blob['size'])}",
            f"{human_size(blob['rate'])}/s",
            ", ".join(f"{name} {human_size(size)}" for name, size in blob["sources"].items()),
            str(blob["waiting"]),
            blob["error"] or "",
        ]
        for blob in answer["blobs"]
        if blob["state"] != "whole"
    ]
    columns = ["blob", "here", "rate", "from", "waiting", "problem"]
    _table(output, "arriving", columns, rows, right={"rate", "waiting"})


def _peers(answer: dict[str, Any], output: Output) -> None:
    rows = [[str(peer.get("name", "")), str(peer.get("state", ""))] for peer in answer["peers"]]
    _table(output, "peers", ["peer", "state"], rows)


def _table(output: Output, title: str, columns: list[str], rows: list[list[str]], right: Collection[str] = ()) -> None:
    if rows:
        output.table(Table(title=title, columns=columns, rows=rows, right=frozenset(right)))
