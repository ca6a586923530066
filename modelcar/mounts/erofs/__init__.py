"""The kernel-native mount: EROFS whose devices are the sparse blobs, filled when the kernel asks (fanotify).

```text
image.py      a plan -> the metadata image that the kernel mounts (tree.py, crc32c.py)
clones.py     blobs through mounts that only EROFS uses
mounting.py   the mount, by file descriptors
fanotify.py   the kernel's questions before it reads, and our answers
questions.py  those that are taken and not answered, for the next worker, too
filler.py     answers them from a door
marks.py      blobs that ask no more, since they are whole; and those that are revoked
copies.py     lets go of the second copy of what was read (resident.py)
canary.py     no mount is shown before each blob of it was seen to ask
guard.py      says no to everything when all others are gone
front.py      all of it together, under the supervisor
support.py    whether this machine can
```

No process stands in the data path: what is here is read by the kernel alone, from the page cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelcar.mounts.erofs.front import ErofsFront

if TYPE_CHECKING:
    from modelcar.mounts.process.front import Front

__all__ = ["FRONT"]

FRONT: Final[Front] = ErofsFront()
