"""Pods that ask for a model, at a steady rate over kept connections, and how long the webhook takes for each.

python -m tests.bench.programs.reviews HOST:PORT CA-FILE IMAGE RATE SECONDS CONNECTIONS

Time is counted from when a request was due, so one that waits for those before it counts its waiting.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
import time
from typing import Any

_OWNERS = 50
_WARM = 300  # requests that do not count: verdicts come into memory, and the interpreter warms up


def review(image: str, number: int) -> bytes:
    """A pod of one of many ReplicaSets: a server with what servers have, that wants a model."""
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "llm", "uid": f"owner-{number % _OWNERS}"}
    env = [{"name": f"VARIABLE_{n}", "value": f"value {n}"} for n in range(20)]
    probe = {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 5}
    server: dict[str, Any] = {
        "name": "server",
        "image": image,
        "args": ["--model", "/mnt/models", "--port", "8000"],
        "env": env,
        "ports": [{"containerPort": 8000}],
        "resources": {"limits": {"nvidia.com/gpu": "1"}, "requests": {"cpu": "4", "memory": "32Gi"}},
        "readinessProbe": probe,
        "livenessProbe": probe,
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],  # noqa: S108  # in a pod
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "llm-",
            "labels": {"app": "llm"},
            "annotations": {"modelcar.dev/model": f"oci://{image}"},
            "ownerReferences": [{**owner, "controller": True}],
        },
        "spec": {
            "containers": [server],
            "securityContext": {"runAsUser": 1000, "runAsGroup": 1000},
            "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}],
        },
    }
    request = {
        "uid": f"request-{number}",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": "models",
        "operation": "CREATE",
        "object": pod,
    }
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
    head = f"POST /mutate?timeout=10s HTTP/1.1\r\nHost: w\r\nContent-Length: {len(body)}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
    answer = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(answer[answer.index(b"content-length:") + 15 :].split(b"\r\n", 1)[0])
    content = await reader.readexactly(length)
    if b'"patch"' not in content:
        raise SystemExit(content.decode()[:500])


async def load(address: str, ca_file: str, image: str, rate: float, seconds: float, connections: int) -> list[float]:
    """The latency of each request in seconds."""
    host, _, port = address.rpartition(":")
    trust = ssl.create_default_context(cafile=ca_file)
    open_ = [await asyncio.open_connection(host, int(port), ssl=trust) for _ in range(connections)]
    for number in range(_WARM):
        await ask(*open_[number % connections], review(image, number))
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for connection in open_:
        free.put_nowait(connection)
    latencies: list[float] = []

    async def one(number: int, due: float) -> None:
        connection = await free.get()
        await ask(*connection, bodies[number % len(bodies)])
        latencies.append(time.perf_counter() - due)
        free.put_nowait(connection)

    bodies = [review(image, number) for number in range(_OWNERS)]
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(one(number, due))
    for _, writer in open_:
        writer.close()
    return latencies


def main(address: str, ca_file: str, image: str, rate: str, seconds: str, connections: str) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # the webhook has the first core for itself
    began = time.perf_counter()
    latencies = sorted(asyncio.run(load(address, ca_file, image, float(rate), float(seconds), int(connections))))
    print(latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.99)], latencies[-1])
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main(*sys.argv[1:])
