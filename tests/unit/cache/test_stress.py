"""Everything at once, for a while: no wrong byte, no error that nobody foresaw, nothing left open."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

from modelcar.cache.cache import Cache
from modelcar.cache.lease import Purpose
from modelcar.cache.origins import Origins
from modelcar.cache.settings import CacheSettings
from modelcar.errors import Denied, InvalidContent, ModelcarError, NotFound, StorageError, Unreachable
from modelcar.lazy.scheduler import Scheduler
from modelcar.lazy.settings import FetchSettings
from modelcar.lazy.sources import Router, SourceKind
from modelcar.oci import Descriptor
from modelcar.store.layout import OciLayout
from tests.support.chunks import Content, Fault, MemorySource, Reports
from tests.support.leaks import open_files
from tests.support.waiting import eventually
from tests.unit.cache.leases import read

from .conftest import ORIGIN

pytestmark = pytest.mark.slow

SECONDS = 3.0
CONTENTS = [Content(300_000 + 50_000 * n, seed=n) for n in range(6)]


class Troubled(MemorySource):
    """Every now and then something goes wrong."""

    def fetch(self, grid, offset, length):  # type: ignore[no-untyped-def]  # as the source's own
        faults = [Fault(cut=30_000), Fault(short=10), Fault(refuse=Unreachable("down"))]
        if grid.verifiable and self.kind is SourceKind.MIRROR:
            faults.append(Fault(wrong=True))
        if random.random() < 0.2:
            self.faults.append(random.choice(faults))
        return super().fetch(grid, offset, length)


def user(cache: Cache, seed: int, end: float, problems: list[BaseException]) -> None:
    chance = random.Random(seed)
    while time.monotonic() < end and not problems:
        content = chance.choice(CONTENTS)
        grid = chance.choice([None, content.table(40_000), content.table(40_000, first=100)])
        try:
            with cache.lease(ORIGIN, content.descriptor, grid=grid, purpose=chance.choice(list(Purpose))) as lease:
                offset = chance.randrange(len(content.data))
                length = chance.randrange(len(content.data) - offset)
                if chance.random() < 0.8 and read(lease, offset, length) != content.data[offset : offset + length]:
                    problems.append(AssertionError("wrong bytes"))
        except (Unreachable, Denied, StorageError):
            pass
        except InvalidContent as e:
            problems.append(e)
        except BaseException as e:
            problems.append(e)


def operator(cache: Cache, seed: int, end: float, problems: list[BaseException]) -> None:
    chance = random.Random(seed)
    while time.monotonic() < end and not problems:
        content = chance.choice(CONTENTS)
        try:
            match chance.randrange(6):
                case 0:
                    cache.evict(content.digest)
                case 1:
                    cache.remove(content.digest)
                case 2:
                    cache.revoke(content.digest, Denied("no"))
                    cache.allow(content.digest)
                case 3:
                    cache.quarantine(content.digest)
                case 4:
                    if peeked := cache.peek(content.digest, "plain"):
                        peeked.close()
                case 5:
                    cache.status()
                    cache.leased()
        except (NotFound, StorageError):
            pass
        except BaseException as e:
            problems.append(e)
        time.sleep(0.003)


def test_everything_at_once(tmp_path: Path) -> None:
    scheduler = Scheduler(FetchSettings(backoff=0.005, backoff_limit=0.02, attempts=5))
    by_digest = {c.digest: c for c in CONTENTS}

    def router_for(blob: Descriptor, _: Origins) -> Router:
        data = by_digest[blob.digest].data
        return Reports(Troubled(data, name="mirror", kind=SourceKind.MIRROR), Troubled(data))

    before = open_files()
    cache = Cache(tmp_path, OciLayout(tmp_path), scheduler, router_for, CacheSettings(linger=0.02, mismatch_pause=0.0))
    problems: list[BaseException] = []
    end = time.monotonic() + SECONDS
    threads = [threading.Thread(target=user, args=(cache, n, end, problems)) for n in range(8)]
    threads += [threading.Thread(target=operator, args=(cache, n, end, problems)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert problems == []
    for content in CONTENTS:  # and it works as on the first day
        while not cache.contains(content.digest):
            try:
                with cache.lease(ORIGIN, content.descriptor) as lease:
                    assert read(lease) == content.data
                    eventually(lambda content=content: cache.contains(content.digest))  # type: ignore[misc]  # mypy takes no lambda with a default
            except ModelcarError:
                continue
    cache.close()
    scheduler.close()
    assert not open_files() - before
