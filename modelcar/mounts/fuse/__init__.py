"""Mounts by FUSE: everywhere, for everybody who may open `/dev/fuse` or has `fusermount3`."""

from modelcar.mounts.fuse.front import FRONT

__all__ = ["FRONT"]
