"""`python -m tests.support.contention HOME ME ROUNDS`: one of many processes that work in the same store at once.

Each round names an image of its own and one that all share; `ME` of `gc` collects and validates instead.
"""

from __future__ import annotations

import sys
from pathlib import Path

from modelcar.store import LocalStore
from tests.support.images import put_image, random_image, validate_in

__all__ = ["main"]


def main(home: Path, me: str, rounds: int) -> None:
    store = LocalStore(home)
    for i in range(rounds):
        if me == "gc":
            store.collect()
            with store.session():
                for root in store.names.list().values():
                    validate_in(store.content, root)
            continue
        with store.session():
            store.names.put("shared", put_image(store.content, random_image(i, sizes=(5_000, 5_000))))
            store.names.put(
                f"{me} {i}", put_image(store.content, random_image(i * 1000 + int(me), sizes=(5_000, 5_000)))
            )
        if i % 3 == 2:
            store.names.remove(f"{me} {i - 1}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
