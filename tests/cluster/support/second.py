"""Somebody else's webhook: it adds a container to every pod that it is asked about, as service meshes do."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from tests.support.authority import Authority
from tests.support.kubernetes import Kubernetes

__all__ = ["ADDED", "second_webhook"]

ADDED: Final = {"name": "proxy", "image": "registry.invalid/proxy:v1"}


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = review["request"]
        response: dict[str, Any] = {"uid": asked["uid"], "allowed": True}
        if all(each["name"] != ADDED["name"] for each in asked["object"]["spec"]["containers"]):
            # At the beginning, where it moves all others.
            patch = json.dumps([{"op": "add", "path": "/spec/containers/0", "value": ADDED}]).encode()
            response |= {"patchType": "JSONPatch", "patch": base64.b64encode(patch).decode()}
        body = json.dumps(
            {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the standard library's name
        pass


@contextmanager
def second_webhook(cluster: Kubernetes, folder: Path, namespace: str) -> Iterator[None]:
    """It is asked after ours, about the pods of this namespace."""
    authority = Authority(folder)
    certificate, key = authority.issue_for_loopback("second")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, name="second", daemon=True)
        thread.start()
        cluster.apply(_configuration(server.server_port, authority.ca_file.read_bytes(), namespace))
        try:
            yield
        finally:
            cluster.kubectl("delete", "mutatingwebhookconfiguration", "second")
            server.shutdown()
            thread.join()


def _configuration(port: int, authority: bytes, namespace: str) -> dict[str, Any]:
    bundle = base64.b64encode(authority).decode()
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
    webhook = {
        "name": "second.example.com",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": f"https://127.0.0.1:{port}/", "caBundle": bundle},
        "rules": [pods],
        "sideEffects": "None",
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "second"},  # by name they are asked
        "webhooks": [webhook],
    }
