"""`openssl dgst`: how fast this machine hashes."""

from __future__ import annotations

from tests.bench.measure import Measurement
from tests.bench.race import Run

__all__ = ["digest_in_pairs", "digests"]


def digest_in_pairs(run: Run) -> Measurement:
    """`openssl dgst -sha256` of every shard, two processes at a time."""
    files = "\0".join(str(f) for f in run.bench.model.shards)
    names = run.folder / "names"
    names.write_text(files)
    return run.measure(["xargs", "-0", "-a", names, "-n1", "-P2", "openssl", "dgst", "-sha256"])


def digests(run: Run) -> dict[str, str]:
    """Preparation: the digest of every shard, by path."""
    result = {}
    for shard in run.bench.model.shards:
        run.prepare(["openssl", "dgst", "-sha256", "-r", shard])
        result[str(shard)] = "sha256:" + (run.folder / "preparation").read_text().split()[0]
    return result
