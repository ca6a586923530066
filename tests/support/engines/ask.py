"""ask.py URL: print the status with which it answers, or 0 where nothing does. Standard library only."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request


def main(url: str) -> None:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  # our own test says which
            print(answer.status)
    except urllib.error.HTTPError as e:
        print(e.code)
    except OSError:
        print(0)


if __name__ == "__main__":
    main(sys.argv[1])
