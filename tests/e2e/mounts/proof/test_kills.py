"""Kill -9 of host, worker and supervisor while readers fault: right bytes or an error, never anything else."""

from __future__ import annotations

import os
import random
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from modelcar.mounts.process.unmounting import mounted
from modelcar.mounts.start_times import start_time
from tests.e2e.mounts.proof.models import SmallModel, small_model
from tests.e2e.mounts.proof.node import Mount, Node, kill
from tests.e2e.mounts.proof.pages import ELSEWHERE, WAYS, Found, Way, is_read, read_pages
from tests.e2e.mounts.proof.sizes import RUNS, SEED
from tests.e2e.shim_proof.faults import Fault, Wrong
from tests.e2e.shim_proof.upstream import Upstream
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.root]


def test_kills_at_random_moments(machine: Node, origin: Upstream, place: Path) -> None:
    """A host that was killed is started again by who needs it; a worker by its supervisor."""
    for seed in range(SEED, SEED + RUNS):
        try:
            _one_run(machine, origin, place, seed)
        except (AssertionError, pytest.fail.Exception) as e:
            raise AssertionError(f"LAZY_PROOF_SEED={seed} LAZY_PROOF_RUNS=1, {machine.front}: {e}") from None


def test_a_killed_supervisor_takes_its_mount_along(machine: Node, origin: Upstream, place: Path) -> None:
    """Who has the files open reads on; nobody new gets in, and in the end nothing is left."""
    for seed in range(SEED, SEED + max(1, RUNS // 4)):
        model = _slow_model(origin, place, seed)
        mount = machine.mount(model)
        worker = mount.worker
        with ThreadPoolExecutor(1) as pool:
            reader = pool.submit(_read, mount, model, WAYS[seed % len(WAYS)], seed)
            eventually(partial(is_read, mount.target), "the reader is inside")
            time.sleep(random.Random(seed).uniform(0.1, 0.5))
            kill(mount.supervisor.pid)
            mount.supervisor.wait()
            found = reader.result()
        assert set(found.errors) <= {"EIO", "SIGBUS", "ENOENT", "ENOTCONN"}, f"seed {seed}: {found}"
        assert worker is not None
        gone = partial(_is_over, mount, worker)
        eventually(gone, f"seed {seed}: mount and worker go away", within=30)
        assert found.right, f"seed {seed}: nothing was read"
        origin.behave()


def test_supervisor_and_worker_killed_at_once(machine: Node, origin: Upstream, place: Path) -> None:
    """Nobody is left who could serve the mount: errors, and never the zeros that lie under what has not come."""
    for seed in range(SEED, SEED + RUNS):
        chance = random.Random(seed)
        model = _slow_model(origin, place, seed)
        mount = machine.mount(model)
        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(_read, mount, model, way, seed) for way in chance.sample(WAYS, 2)]
            time.sleep(chance.uniform(0, 1))
            worker = mount.worker
            assert worker is not None
            victims = [mount.supervisor.pid, worker]
            chance.shuffle(victims)
            for victim in victims:
                os.kill(victim, signal.SIGKILL)
            found = [reader.result() for reader in readers]
        allowed = {"EIO", "SIGBUS", "ENOENT", "ENOTCONN", "ECONNABORTED"}
        assert all(set(f.errors) <= allowed for f in found), f"seed {seed}: {found}"
        mount.supervisor.wait()
        eventually(partial(_is_over, mount, worker), f"seed {seed}: the mount goes away", within=30)
        origin.behave()


def _one_run(machine: Node, origin: Upstream, place: Path, seed: int) -> None:
    chance = random.Random(seed)
    model = _slow_model(origin, place, seed)
    mount = machine.mount(model)
    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(_read, mount, model, way, seed) for way in chance.sample(WAYS, 2)]
        _kill_for_a_while(machine, mount, chance, readers)
        origin.behave()
        found = [reader.result() for reader in readers]
    assert all(set(f.errors) <= {"EIO", "SIGBUS"} for f in found), found
    machine.start()
    last = read_pages(mount.target, model.truth, chance.choice(WAYS), seed=seed, within=60)
    assert last.is_whole, "a reader is stuck after the last kill"
    assert not last.errors, f"{last.errors} after the last kill"
    machine.unmount(mount)


def _kill_for_a_while(machine: Node, mount: Mount, chance: random.Random, readers: list[Future[Found]]) -> None:
    for _ in range(chance.randrange(1, 5)):
        time.sleep(chance.uniform(0, 0.4))
        if all(reader.done() for reader in readers):
            return
        if chance.random() < 0.5:
            machine.kill_keeper()
            time.sleep(chance.choice([0, 0.3]))
            machine.start()
        elif (worker := mount.worker) is not None:
            kill(worker)


def _slow_model(origin: Upstream, place: Path, seed: int) -> SmallModel:
    """Takes some seconds to come."""
    model = small_model(origin.library, place, seed)
    slow = Fault(wrong=Wrong.SLOW, amount=300_000)
    origin.misbehave(*(Fault(wrong=slow.wrong, amount=slow.amount, path=f"/blobs/{w.digest}") for w in model.weights))
    return model


def _read(mount: Mount, model: SmallModel, way: Way, seed: int) -> Found:
    return read_pages(mount.target, model.truth, way, seed=seed, within=20, before=ELSEWHERE if seed % 2 else ())


def _is_over(mount: Mount, worker: int) -> bool:
    return mounted(mount.target) is None and start_time(worker) is None
