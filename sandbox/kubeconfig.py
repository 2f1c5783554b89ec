"""Writing kubeconfig files: one cluster, one user, one context."""

from __future__ import annotations

import base64
from pathlib import Path

import yaml

from sandbox.pki import Identity


def write_kubeconfig(
    path: Path,
    *,
    server: str,
    ca_file: Path,
    user: str,
    identity: Identity | None = None,
    token: str | None = None,
    namespace: str | None = None,
) -> Path:
    """Write atomically and readable by the owner only: the file is a credential."""
    credentials: dict[str, str] = {}
    if identity is not None:
        credentials["client-certificate-data"] = base64.b64encode(identity.certificate).decode()
        credentials["client-key-data"] = base64.b64encode(identity.key).decode()
    if token is not None:
        credentials["token"] = token
    authority = base64.b64encode(ca_file.read_bytes()).decode()
    context = {"cluster": "sandbox", "user": user} | ({"namespace": namespace} if namespace else {})
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "sandbox", "cluster": {"server": server, "certificate-authority-data": authority}}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "sandbox", "context": context}],
        "current-context": "sandbox",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.touch(mode=0o600)
    fresh.write_text(yaml.safe_dump(document, sort_keys=False))
    fresh.replace(path)
    return path
