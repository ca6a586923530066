"""Answers to everything but READ: names, attributes, links, listings. Pure."""

from __future__ import annotations

import errno
import os
from itertools import islice

from modelcar.errors import InvalidDocument
from modelcar.mounts.fuse import wire
from modelcar.mounts.fuse.tree import Node, Tree
from modelcar.mounts.fuse.wire import Opcode, Request

__all__ = ["answer"]

# SETATTR, SYMLINK, MKNOD, MKDIR, UNLINK, RMDIR, RENAME, LINK, WRITE, SETXATTR, REMOVEXATTR, CREATE, FALLOCATE, RENAME2,
# TMPFILE
_CHANGES = frozenset({4, 6, 8, 9, 10, 11, 12, 13, 16, 21, 24, 35, 43, 45, 51})


def answer(tree: Tree, request: Request) -> bytes:
    """The whole reply to a request, an error if need be.

    ENOSYS is the answer to all that is not known, and to OPEN, too: it tells the kernel that opening needs no message,
    and that it may keep what it has read of a file when that is closed.
    """
    try:
        return wire.reply(request.unique, _body(tree, request))
    except InvalidDocument:
        return wire.reply(request.unique, error=errno.EINVAL)
    except OSError as e:
        return wire.reply(request.unique, error=e.errno or errno.EIO)


def _body(tree: Tree, request: Request) -> bytes:
    if request.opcode == Opcode.STATFS:
        return wire.file_system_reply(size=tree.size, files=len(tree))
    if request.opcode in _CHANGES:
        raise _failure(errno.EROFS)
    if request.opcode not in (Opcode.LOOKUP, Opcode.GETATTR, Opcode.READLINK, Opcode.READDIR, Opcode.READDIRPLUS):
        raise _failure(errno.ENOSYS)
    if (node := tree.get(request.node)) is None:
        raise _failure(errno.ESTALE)
    if request.opcode == Opcode.GETATTR:
        return wire.attributes_reply(node.attributes)
    if request.opcode == Opcode.READLINK:
        if not node.target:
            raise _failure(errno.EINVAL)
        return node.target
    if not node.names:
        raise _failure(errno.ENOTDIR)
    if request.opcode == Opcode.LOOKUP:
        child = tree.get(node.names.get(wire.name_of(request.body), 0))
        return wire.entry_reply(child.attributes if child else None)
    return _listing(tree, node, request)


def _listing(tree: Tree, folder: Node, request: Request) -> bytes:
    """As many entries as fit."""
    wanted = wire.Read.parse(request.body)
    listing = bytearray()
    after = wanted.offset
    for name, number in islice(folder.names.items(), wanted.offset, None):
        node = tree[number]
        after += 1
        entry = wire.directory_entry(name, node.attributes, after, plus=request.opcode == Opcode.READDIRPLUS)
        if len(listing) + len(entry) > wanted.size:
            break
        listing += entry
    return bytes(listing)


def _failure(number: int) -> OSError:
    return OSError(number, os.strerror(number))
