"""The registry as a process: three addresses and a folder."""

from __future__ import annotations

import json
import socket
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from modelcar.testing.registry.api import Api
from modelcar.testing.registry.contents import Contents
from modelcar.testing.registry.control import control
from modelcar.testing.registry.counters import Counters
from modelcar.testing.registry.faults import FaultPlan, Faults
from modelcar.testing.registry.profiles import PROFILES, Profile
from modelcar.testing.registry.server import Site, listen
from modelcar.testing.registry.wire import Shaper

__all__ = ["serve"]


def serve(arguments: Sequence[str], out: IO[str] = sys.stdout, stdin: IO[str] = sys.stdin) -> None:
    """Say on one line of JSON where it listens, and go on until standard input ends, as it does with who started it."""
    parser = ArgumentParser(prog="python -m modelcar.testing.registry", description="A registry that misbehaves.")
    parser.add_argument("--profile", default="distribution", help=f"one of {', '.join(PROFILES)}, or one as JSON")
    parser.add_argument("--folder", type=Path, help="keep what it holds here")
    parser.add_argument("--ports", type=int, nargs=3, default=(0, 0, 0), help="registry, other host, control")
    parser.add_argument("--seed", type=int, default=0, help="of the random faults")
    parser.add_argument("--faults-per-gib", type=float, default=0.0, help="random faults for each GiB that moves")
    parser.add_argument("--rate", type=float, help="bytes a second in each direction, of all requests together")
    chosen = parser.parse_args(arguments)
    text = chosen.profile
    profile = Profile.from_dict(json.loads(text)) if text.startswith("{") else PROFILES[text]
    listeners = [socket.create_server(("127.0.0.1", port), backlog=256) for port in chosen.ports]
    addresses = [f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]
    with TemporaryDirectory(prefix="misbehaving-") as temporary:
        counters, plan = Counters(), FaultPlan()
        contents = Contents(chosen.folder or Path(temporary))
        api = Api(profile, contents, counters, home=f"http://{addresses[0]}", elsewhere=f"http://{addresses[1]}")
        site = Site(api, counters, plan, Shaper(chosen.rate))
        if chosen.faults_per_gib:
            plan.scatter(Faults(seed=chosen.seed, per_gib=chosen.faults_per_gib))
        listen(listeners[0], site)
        listen(listeners[1], site, elsewhere=True)
        control(listeners[2], site)
        out.write(json.dumps(dict(zip(("registry", "elsewhere", "control"), addresses, strict=True))) + "\n")
        out.flush()
        while stdin.read(1):
            pass
