"""The image written a second time, from `docs/formats/` alone. It shares no code with `modelcar`."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.golden.independent_tar import chunk_table, write_layer

__all__ = ["File", "Image"]

OCI = "application/vnd.oci.image."
MODEL = "application/vnd.cncf.model."
Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class File:
    path: str
    content: bytes
    role: str


@dataclass(kw_only=True)
class Image:
    """An image of `shards`, one a layer, and `small` files, on `holders` (architecture: program) or on nothing."""

    shards: Sequence[File]
    small: Sequence[File]
    annotations: Mapping[str, str]
    descriptor: Json  # of the ModelPack configuration
    config: Json  # likewise
    holders: Mapping[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def write(self) -> str:
        """Fill `blobs` and return the digest of the image index."""
        groups = [("weights", [shard]) for shard in self.shards] + [("files", list(self.small))]
        described, model = [], []
        for kind, files in groups:
            blob, payloads = write_layer({f"models/{f.path}": (f.content, False) for f in files})
            descriptor = self.add(f"{OCI}layer.v1.tar", blob)
            described.append({**index_layer(descriptor, files, payloads, kind), "chunks": chunks(blob, payloads)})
            model.append((kind, files, descriptor))
        index = {
            "schemaVersion": 1,
            "mediaType": "application/vnd.modelcar.index.v1+json",
            "root": "/models",
            "layers": described,
        }
        index_blob, _ = write_layer({".modelcar/index.json": (dump(index), False)})
        index_descriptor = self.add(f"{OCI}layer.v1.tar", index_blob)
        entries = [self.platform(arch, model, index_descriptor) for arch in ("amd64", "arm64")]
        entries.append(self.modelpack(model, index_descriptor))
        root = {"schemaVersion": 2, "mediaType": f"{OCI}index.v1+json", "manifests": entries, **self.annotated()}
        return str(self.add(f"{OCI}index.v1+json", dump(root))["digest"])

    def platform(self, architecture: str, model: list[tuple[str, list[File], Json]], index: Json) -> Json:
        layers, history = [], []
        for kind, files, descriptor in model:
            annotations = {"dev.modelcar.layer": kind}
            if kind == "weights":
                annotations["containerd.io/snapshot/dev.modelcar.layer"] = kind
                annotations["containerd.io/snapshot/dev.modelcar.index"] = index["digest"]
            layers.append({**descriptor, "annotations": in_order(annotations)})
            comment = files[0].path if len(files) == 1 else f"{len(files)} small files"
            history.append({"created_by": f"modelcar {kind}", "comment": comment})
        layers.append({**index, "annotations": {"dev.modelcar.layer": "index"}})
        history.append({"created_by": "modelcar index", "comment": ".modelcar/index.json"})
        runtime: Json = {}
        if architecture in self.holders:
            blob, _ = write_layer({".modelcar/holder": (self.holders[architecture], True)})
            layers.append({**self.add(f"{OCI}layer.v1.tar", blob), "annotations": {"dev.modelcar.layer": "holder"}})
            history.append({"created_by": "modelcar holder", "comment": "keeps the model mounted and publishes it"})
            runtime = {"User": "65532:65532", "Entrypoint": ["/.modelcar/holder"], "WorkingDir": "/"}
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {**runtime, "Labels": in_order(self.annotations)},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
            "history": history,
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}manifest.v1+json",
            "config": self.add(f"{OCI}config.v1+json", dump(config)),
            "layers": layers,
            **self.annotated(),
        }
        descriptor = self.add(f"{OCI}manifest.v1+json", dump(manifest))
        return {**descriptor, "platform": {"architecture": architecture, "os": "linux"}}

    def modelpack(self, model: list[tuple[str, list[File], Json]], index: Json) -> Json:
        layers = []
        for kind, files, descriptor in model:
            name = "weight" if kind == "weights" else "weight.config"
            path = f"models/{files[0].path}" if len(files) == 1 else "models"
            layers.append(retyped(descriptor, f"{MODEL}{name}.v1.tar", path))
        layers.append(retyped(index, f"{MODEL}doc.v1.tar", ".modelcar/index.json"))
        config = {
            "descriptor": self.descriptor,
            "config": self.config,
            "modelfs": {"type": "layers", "diffIds": [layer["digest"] for layer in layers]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}manifest.v1+json",
            "artifactType": f"{MODEL}manifest.v1+json",
            "config": self.add(f"{MODEL}config.v1+json", dump(config)),
            "layers": layers,
            **self.annotated(),
        }
        descriptor = self.add(f"{OCI}manifest.v1+json", dump(manifest))
        return {
            **descriptor,
            "annotations": {"dev.modelcar.kind": "modelpack"},
            "platform": {"architecture": "unknown", "os": "unknown"},
        }

    def annotated(self) -> Json:
        return {"annotations": in_order(self.annotations)} if self.annotations else {}

    def add(self, media_type: str, blob: bytes) -> Json:
        self.blobs[digest(blob)] = blob
        return {"mediaType": media_type, "digest": digest(blob), "size": len(blob)}


def index_layer(descriptor: Json, files: Sequence[File], payloads: Sequence[tuple[str, int, int]], kind: str) -> Json:
    contents = {f"models/{f.path}": f for f in files}
    entries = [index_file(contents[path], offset, digested=kind == "files") for path, offset, _ in payloads]
    return {
        "digest": descriptor["digest"],
        "size": descriptor["size"],
        "mediaType": descriptor["mediaType"],
        "files": entries,
    }


def index_file(file: File, offset: int, *, digested: bool) -> Json:
    entry: Json = {"path": file.path, "offset": offset, "size": len(file.content), "role": file.role}
    if file.path.endswith(".safetensors"):
        entry["format"] = "safetensors"
    if digested:
        entry["digest"] = digest(file.content)
    if file.path.endswith(".safetensors"):
        start = 8 + int.from_bytes(file.content[:8], "little")
        header = json.loads(file.content[8:start])
        header.pop("__metadata__", None)
        entry["headerSize"] = start
        entry["header"] = base64.b64encode(file.content[:start]).decode("ascii")
        entry["tensors"] = [
            {"name": n, "dtype": t["dtype"], "shape": t["shape"], "offset": start + begin, "size": end - begin}
            for n, t in sorted(header.items(), key=lambda item: item[1]["data_offsets"])
            for begin, end in [t["data_offsets"]]
        ]
    return entry


def chunks(blob: bytes, payloads: list[tuple[str, int, int]]) -> list[Json]:
    table = chunk_table(len(blob), payloads)
    return [{"offset": o, "size": s, "digest": digest(blob[o : o + s])} for o, s in table]


def retyped(descriptor: Json, media_type: str, path: str) -> Json:
    return {**descriptor, "mediaType": media_type, "annotations": {"org.cncf.model.filepath": path}}


def in_order(annotations: Mapping[str, str]) -> dict[str, str]:
    return {key: annotations[key] for key in sorted(annotations)}


def digest(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def dump(value: Any) -> bytes:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for character, escape in (("&", r"\u0026"), ("<", r"\u003c"), (">", r"\u003e")):
        text = text.replace(character, escape)
    return text.encode("utf-8")
