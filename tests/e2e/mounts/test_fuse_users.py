"""Users without privileges mount by `fusermount3`."""

from __future__ import annotations

import os
import subprocess
from tempfile import TemporaryDirectory

import pytest

from tests.e2e.support.confined import plain_python

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.debian("fusermount3", "setpriv", "unshare")]

MOUNTING = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]  # fusermount3 is set-uid

# Some machines keep /dev/fuse to root: in this mount namespace it is everybody's, as udev makes it.
EVERYBODYS = """
set -e
mknod -m 666 "$0/fuse" c 10 229
mount --bind "$0/fuse" /dev/fuse
exec "$@"
"""


def test_a_user_mounts_reads_and_unmounts() -> None:
    with TemporaryDirectory(prefix="mc-") as name:
        os.chown(name, 65534, 65534)
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", EVERYBODYS, name]
        python = plain_python("modelcar.mounts.process.launch")
        done = subprocess.run(
            [*command, *MOUNTING, python.path, "-m", "tests.e2e.mounts.plain_user", name],
            env={**os.environ, **python.environment},
            capture_output=True,
            text=True,
            timeout=120,
            cwd="/",
        )
        assert done.stdout.splitlines() == ["mounted True read True", "ended 0 mounted False"], done.stderr
