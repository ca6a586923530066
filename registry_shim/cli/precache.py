"""`registry-shim precache`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import click

from modelcar.cli.options import output_options
from modelcar.cli.output import Output, Table, human_size
from modelcar.cli.progress import progress
from modelcar.errors import NotFound, Refused, UsageError, WorldError
from modelcar.progress import Progress
from modelcar.units import parse_rate
from registry_shim.cli.asking import lasting, reject_verb, root_option
from registry_shim.operations.admin.client import AdminClient

__all__ = ["command"]

_POLL: Final = 0.25  # seconds
_MEANT: Final = {
    "list ls ps show status progress queue": "registry-shim precache --list",
    "cancel rm remove delete stop forget": "registry-shim precache --cancel REF",
    "add create get fetch pull start run": "registry-shim precache REF",
    "wait watch": "registry-shim precache REF --wait",
    "pin": "registry-shim precache REF --pin",
}
_OVER: Final = ("ready", "refused", "failed")


@click.command("precache")
@click.argument("references", metavar="[REF]...", nargs=-1)
@click.option("--wait", is_flag=True, help="Wait until all of them are ready, and show how far they are.")
@click.option("--priority", metavar="N", type=int, default=0, show_default=True, help="What has more comes first.")
@click.option("--pin", is_flag=True, help="Keep them, whatever the disk says.")
@click.option("--load", is_flag=True, help="Import them into containerd once they are ready.")
@click.option(
    "--platform", metavar="OS/ARCH", help="Which one of an image for several, or `all`; by default this node's."
)
@click.option(
    "--limit-rate",
    "rate",
    metavar="RATE",
    help="The most for all pre-caching from now on, such as 100MB/s; 0 lifts the limit.",
)
@click.option("--list", "show_list", is_flag=True, help="Show what was asked for, and how far it is.")
@click.option("--cancel", is_flag=True, help="Forget these images.")
@root_option
@output_options
def command(
    references: tuple[str, ...],
    wait: bool,
    show_list: bool,
    cancel: bool,
    rate: str | None,
    client: AdminClient,
    output: Output,
    **options: Any,
) -> None:
    """Fetch images before anyone asks for them.

    The running shim does it, also when this command has ended: an image is ready once all of it was verified and the
    gate lets it through. What somebody pulls meanwhile goes first.

    \b
      registry-shim precache ghcr.io/acme/llm:v1 --pin --wait
      registry-shim precache --list
    """
    if not references and not show_list and rate is None:
        raise UsageError("no image is named", hint="registry-shim precache ghcr.io/acme/llm:v1, or --list")
    reject_verb(references, _MEANT)
    if cancel and (wait or show_list):
        raise UsageError("--cancel goes with neither --wait nor --list")
    if rate is not None:
        client.post("precache/limit", rate=parse_rate(rate, least=0))
    if cancel:
        cancelled = [client.delete("precache", reference=reference)["reference"] for reference in references]
        output.document({"cancelled": cancelled})
        for name in cancelled:
            output.line(f"cancelled {name}")
        return
    images = [client.post("precache", reference=reference, source="command", **options) for reference in references]
    if wait:
        images = _wait(client, [image["reference"] for image in images], output)
    status = client.get("precache")
    output.document(status if show_list or not references else {"images": images})
    if show_list:
        _list(status, output)
    else:
        _summary(images, status, output)
    if wait:
        _judge(images)


def _wait(client: AdminClient, names: Sequence[str], output: Output) -> list[dict[str, Any]]:
    shown: dict[str, int] = {}
    done: dict[str, dict[str, Any]] = {}
    whole: set[str] = set()  # here at the first look: a rate would be too good to be true
    with progress(output, "precache") as report:
        while len(done) < len(set(names)):
            for name in names:
                if name not in done:
                    image = _look(client, name)
                    is_new = name not in shown
                    _report(report, shown, name, image)
                    if is_new and shown.get(name) == image["progress"]["total"]:
                        whole.add(name)
                    if image["phase"] in _OVER and not image["running"]:
                        done[name] = image
                        is_news = image["phase"] != "ready" or name in whole
                        report.finish(name, image["phase"] if is_news else "")
            time.sleep(_POLL)
    return [done[name] for name in names]


def _look(client: AdminClient, name: str) -> dict[str, Any]:
    try:
        return client.get("precache", reference=name)
    except NotFound:
        raise Refused(f"{name} was cancelled meanwhile") from None


def _report(report: Progress, shown: dict[str, int], name: str, image: dict[str, Any]) -> None:
    """Tell the bars what is new."""
    done, total = image["progress"]["done"], image["progress"]["total"]
    if total and name not in shown:
        report.expect(total)
        report.start(name, name, total)
        shown[name] = 0
    if name in shown:
        report.advance(name, done - shown[name])
        shown[name] = done


def _summary(images: Sequence[dict[str, Any]], status: dict[str, Any], output: Output) -> None:
    for image in images:
        what = image["phase"] if image["phase"] in _OVER else "queued"
        size = f" ({human_size(image['progress']['total'])})" if image["phase"] == "ready" else ""
        output.line(f"{image['reference']}: {what}{size}")
    if not status["open"]:
        output.aside(f"the next window opens in {lasting(max(0.0, status['opens_at'] - time.time()))}")


def _list(status: dict[str, Any], output: Output) -> None:
    rows = []
    for image in status["images"]:
        progress_ = image["progress"]
        share = f"{100 * progress_['done'] / progress_['total']:.0f} %" if progress_["total"] else ""
        options = [word for word in ("pin", "load") if image[word]]
        rows.append(
            [
                image["reference"],
                image["phase"],
                share,
                str(image["priority"]),
                " ".join(options),
                ", ".join(image["sources"]),
                _problem(image),
            ]
        )
    columns = ["image", "", "done", "priority", "options", "asked for by", "problem"]
    output.table(Table(columns=columns, rows=rows, right=frozenset({"done", "priority"})))


def _problem(image: dict[str, Any]) -> str:
    if not image["error"]:
        return ""
    soon = max(0.0, image["retry_at"] - time.time())
    return f"{image['error']} (again in {lasting(soon)})" if image["retry_at"] else str(image["error"])


def _judge(images: Sequence[dict[str, Any]]) -> None:
    """The command's exit status says whether all are ready."""
    for image in images:
        if image["phase"] == "refused":
            raise Refused(f"{image['reference']}: {image['error']}", hint=image["hint"])
    for image in images:
        if image["phase"] == "failed":
            raise WorldError(f"{image['reference']}: {image['error']}", hint=image["hint"] or "it is tried again")
