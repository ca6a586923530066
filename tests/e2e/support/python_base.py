"""A base image with a Python that works, laid out as `python:3.N-slim` is: this machine's, at /usr/local, with the
libraries that it is linked with and what else of a Debian a program without a shell asks for."""

from __future__ import annotations

import fnmatch
import gzip
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from modelcar.layers.bytemap import ByteMap, Literal
from modelcar.layers.tar import Entry, build_tar
from modelcar.oci import Descriptor, Digest, ImageConfig, Index, Manifest, Platform, media_types
from modelcar.store.base import write_document
from modelcar.store.layout import OciLayout
from modelcar.store.names import Names
from scripts.release.image import ARCHITECTURES
from tests.e2e.support.commands import program, run
from tests.e2e.support.linked import shared_libraries

__all__ = ["VERSION", "write_index", "write_python_base", "write_small_base"]

VERSION: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
# As in `python:3.N-slim`, which has neither tests nor what was compiled.
_LEFT_OUT: Final = ("test", "tests", "idle_test", "site-packages", "dist-packages", "config-*", "__pycache__", "*.a")
_TREES: Final = {"system": ("etc", "root", "tmp", "bin", "lib", "lib64", "sbin", "usr/bin", "usr/lib", "usr/lib64",
                            "usr/sbin"), "python": ("usr/local",)}  # fmt: skip
_PATH: Final = "/usr/local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROGRAMS: Final = {"dash": "usr/bin/sh", "ldconfig": "usr/sbin/ldconfig"}
# Wheels may be linked with these, and a Debian has them.
_LIBRARIES: Final = ("libstdc++.so.6", "libgcc_s.so.1", "libz.so.1", "libdl.so.2", "librt.so.1", "libpthread.so.0",
                     "libresolv.so.2", "libutil.so.1", "libnss_dns.so.2", "libnss_files.so.2")  # fmt: skip
_LINKS: Final = {
    **{name: f"usr/{name}" for name in ("bin", "lib", "lib64", "sbin")},
    "usr/lib/ssl/cert.pem": "/etc/ssl/certs/ca-certificates.crt",
    "usr/lib/ssl/certs": "/etc/ssl/certs",
}
_FILES: Final = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/ld.so.conf": "/usr/local/lib\n/usr/lib/{triplet}\n",
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux"\nID=debian\n',
}


def write_python_base(folder: Path, trusted: Path) -> Digest:
    """Write it to the new OCI layout `folder`, as `base`; returns its digest. For root alone.

    Its index has two architectures, with equal layers: this machine's. `trusted` is its bundle of authorities.
    """
    tree = folder.with_name(f"{folder.name}-tree")
    lay_out_python(tree, trusted)
    digest = write_index(folder, {name: _tar(tree, places) for name, places in _TREES.items()})
    shutil.rmtree(tree)
    return digest


def write_small_base(folder: Path, *, version: str = VERSION) -> Digest:
    """The same without anything in it but the names of a Python's files."""
    names = (f"usr/local/bin/python{version}", f"usr/local/lib/python{version}/os.py")
    with build_tar([Entry(path=name, content=Literal(b"")) for name in names]).content.open() as reader:
        return write_index(folder, {"small": reader.read()})


def write_index(folder: Path, tars: Mapping[str, bytes]) -> Digest:
    """An index of images for two architectures, of the same layers, in a new OCI layout, as `base`."""
    layout = OciLayout(folder)
    layers = tuple(_add(layout, gzip.compress(tar, 1, mtime=0)) for tar in tars.values())
    manifests = []
    for architecture in ARCHITECTURES:
        config = ImageConfig(
            architecture=architecture,
            os="linux",
            diff_ids=tuple(map(Digest.of, tars.values())),
            runtime={"Env": [f"PATH={_PATH}", f"PYTHON_VERSION={platform.python_version()}"], "Cmd": ["python3"]},
            history=tuple({"created": "2020-01-01T00:00:00Z", "created_by": name} for name in tars),
        )
        write_document(layout, config.content)
        manifest = Manifest(media_type=media_types.MANIFEST, config=config.descriptor, layers=layers)
        write_document(layout, manifest.content)
        manifests.append(
            Descriptor(
                media_type=manifest.media_type,
                digest=manifest.digest,
                size=len(manifest.content),
                platform=Platform(os="linux", architecture=architecture),
            )
        )
    index = Index(media_type=media_types.INDEX, manifests=tuple(manifests))
    write_document(layout, index.content)
    Names(layout).put("base", index.descriptor)
    return index.digest


def lay_out_python(root: Path, trusted: Path) -> None:
    """Write the root file system to the new folder `root`."""
    triplet = f"{platform.machine()}-linux-gnu"
    for place in ("usr/local/bin", f"usr/lib/{triplet}", "usr/lib64", "usr/bin", "usr/sbin", "etc/ssl/certs", "root"):
        (root / place).mkdir(parents=True)
    (root / "usr/lib/ssl").mkdir()  # where Debian's OpenSSL looks
    for link, target in _LINKS.items():
        (root / link).symlink_to(target)
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    for name, text in _FILES.items():
        (root / name).write_text(text.format(triplet=triplet))
    shutil.copy(trusted, root / "etc/ssl/certs/ca-certificates.crt")
    for name, place in _PROGRAMS.items():
        shutil.copy(program(name), root / place)
    binaries = [Path(os.path.realpath(sys.executable)), *(root / place for place in _PROGRAMS.values())]
    shutil.copy(binaries[0], root / f"usr/local/bin/python{VERSION}")
    (root / "usr/local/bin/python3").symlink_to(f"python{VERSION}")
    library = root / f"usr/local/lib/python{VERSION}"
    stdlib = Path(sysconfig.get_path("stdlib"))
    for file in _files(stdlib):
        (library / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(stdlib / file, library / file)
        if file.suffix == ".so":
            binaries.append(stdlib / file)
    (library / "site-packages").mkdir()
    system = Path("/usr/lib", triplet)
    for needed in shared_libraries(binaries) | {system / name for name in _LIBRARIES}:
        _place_library(needed, root)
    run("ldconfig", "-r", root)
    _find_packages(root)


def _place_library(library: Path, root: Path) -> None:
    """Debian's own where they are, others in /usr/local."""
    if library.parts[:2] == ("/", "lib") or library.parts[:3] == ("/", "usr", "lib"):
        place = root / library.relative_to("/")
    elif library.parts[1] == "lib64":
        place = root / "usr/lib64" / library.name
    else:
        place = root / "usr/local/lib" / library.name
    shutil.copy(library, place)


def _find_packages(root: Path) -> None:
    """Debian's Python looks elsewhere than others; a file there leads it on."""
    wanted = f"/usr/local/lib/python{VERSION}/site-packages"
    ask = "import json, site, sys; print(json.dumps([sys.prefix, site.getsitepackages()]))"
    command = ["chroot", str(root), f"/usr/local/bin/python{VERSION}", "-c", ask]
    said = subprocess.run(command, env={"PATH": _PATH}, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    prefix, places = json.loads(said.stdout)
    assert prefix == "/usr/local"
    if wanted not in places:
        place = root / places[0].lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        (place / "others.pth").write_text(f"{wanted}\n")


def _files(folder: Path) -> Iterator[Path]:
    def is_left_out(name: str) -> bool:
        return any(fnmatch.fnmatch(name, pattern) for pattern in _LEFT_OUT)

    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_left_out(name)]
        yield from (Path(where, name).relative_to(folder) for name in names if not is_left_out(name))


def _tar(root: Path, names: tuple[str, ...]) -> bytes:
    def owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in names:
            tar.add(root / name, arcname=name, filter=owned_by_root)
    return buffer.getvalue()


def _add(layout: OciLayout, blob: bytes) -> Descriptor:
    digest = Digest.of(blob)
    layout.materialise(digest, ByteMap([Literal(blob)]))
    return Descriptor(media_type=media_types.LAYER_TAR_GZIP, digest=digest, size=len(blob))
