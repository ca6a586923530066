"""What runs in readers' processes: standard library only, as any program would read."""

from __future__ import annotations

__all__ = ["COMPARE", "LIST", "MAPPED_BYTE", "PREAD"]

# MOUNT TRUTH SEED READS: random ranges of all files, by pread, past the cache, and by both kinds of mapping, are those
# of another folder.
COMPARE = """
import mmap, os, random, sys
mount, truth, seed, reads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
chosen = random.Random(seed)
paths = sorted(os.path.relpath(os.path.join(f, n), truth) for f, _, names in os.walk(truth) for n in names)
files = [(path, os.open(f"{mount}/{path}", os.O_RDONLY), os.open(f"{truth}/{path}", os.O_RDONLY)) for path in paths]
direct = {path: os.open(f"{mount}/{path}", os.O_RDONLY | os.O_DIRECT) for path in paths}
maps = {}
for _ in range(reads):
    path, ours, theirs = chosen.choice(files)
    size = os.fstat(theirs).st_size
    assert os.fstat(ours).st_size == size, path
    offset = chosen.randrange(size + 1)
    length = chosen.choice([1, 4096, 100_000, 2_000_000])
    expected = os.pread(theirs, length, offset)
    how = chosen.choice(["pread", "direct", "shared", "private"]) if size else "pread"
    if how == "pread":
        found = os.pread(ours, length, offset)
    elif how == "direct":
        found = os.pread(direct[path], length, offset)
    else:
        if (path, how) not in maps:
            flags = mmap.MAP_SHARED if how == "shared" else mmap.MAP_PRIVATE
            maps[path, how] = mmap.mmap(ours, 0, flags, mmap.PROT_READ)
        found = maps[path, how][offset : offset + length]
    assert found == expected, (path, offset, length, how)
print("same")
"""

# MOUNT: every path with its type, size, mode and what a link says.
LIST = """
import os, stat, sys
for folder, folders, files in os.walk(sys.argv[1]):
    for name in folders + files:
        path = os.path.join(folder, name)
        st = os.lstat(path)
        link = os.readlink(path) if stat.S_ISLNK(st.st_mode) else ""
        size = 0 if stat.S_ISDIR(st.st_mode) else st.st_size
        print(ascii((os.path.relpath(path, sys.argv[1]), oct(st.st_mode), size, link)))
"""

# FILE OFFSET LENGTH: the bytes in hexadecimal, or the name of the error.
PREAD = """
import errno, os, sys
try:
    file = os.open(sys.argv[1], os.O_RDONLY)
    print(os.pread(file, int(sys.argv[3]), int(sys.argv[2])).hex())
except OSError as e:
    print(errno.errorcode[e.errno])
"""

# FILE OFFSET: one byte by a page fault that is not read around.
MAPPED_BYTE = """
import mmap, os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
memory = mmap.mmap(file, 0, mmap.MAP_SHARED, mmap.PROT_READ)
memory.madvise(mmap.MADV_RANDOM)
print(memory[int(sys.argv[2])])
"""
