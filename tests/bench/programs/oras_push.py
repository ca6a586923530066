"""Push files with oras-py, as its documentation shows; it has no command of its own.

PEERS/bin/python oras_push.py HOST:PORT/REPOSITORY:TAG FILE...
"""

import sys

import oras.client


def main(target: str, *files: str) -> None:
    client = oras.client.OrasClient(insecure=True)
    client.push(target=target, files=list(files), disable_path_validation=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
