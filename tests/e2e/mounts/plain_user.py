"""What a user without privileges does with a mount, told as it goes: `python -m tests.e2e.mounts.plain_user FOLDER`."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from modelcar.mounts.process.launch import start
from modelcar.mounts.process.task import Task
from modelcar.mounts.process.unmounting import mounted, unmount
from tests.e2e.mounts.folder_worker import COMMAND
from tests.e2e.mounts.mounting import Reader
from tests.support.folder_door import FolderBlobs
from tests.support.plans import plan_of

SIZE = 3_000_000


def main(folder: Path) -> None:
    target = folder / "mount"
    target.mkdir()
    content = bytes(range(250)) * (SIZE // 250)
    blobs = FolderBlobs(folder / "door", [content])
    task = Task(front="fuse", target=str(target), socket=str(blobs.folder), mount="test", patience=60)
    supervisor = start(
        [*COMMAND, "open", task.to_argument()], plan_of([SIZE], {"weights": (0, 0, SIZE)}), log=folder / "log"
    )
    try:
        threading.Timer(0.3, blobs.arrive_all).start()
        script = "import sys; print(open(sys.argv[1], 'rb').read() == bytes(range(250)) * 12000)"
        print("mounted", mounted(target) is not None, "read", Reader(script, target / "weights").result().strip())
    finally:
        unmount(target)
    print("ended", supervisor.wait(timeout=20), "mounted", mounted(target) is not None)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
