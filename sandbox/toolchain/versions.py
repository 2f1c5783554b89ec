"""The versions the sandbox wants (go.mod is the single source) and those that a binary reports."""

from __future__ import annotations

import hashlib
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MODULE = Path(__file__).resolve().parent.parent / "controlplane"
TAGS = "netgo,builtinassets_none,remove_all_sd,enable_kubernetes_sd"

Number = tuple[int, int, int]
_NUMBER = re.compile(r"\bv?(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True)
class Versions:
    """What the Go module pins. Prometheus numbers its module 0.315.0 for release 3.15.0."""

    kubernetes: Number
    etcd: Number
    prometheus: Number
    helm: Number
    fingerprint: str

    @classmethod
    def wanted(cls, module: Path = MODULE) -> Versions:
        text = (module / "go.mod").read_text()
        sources = [module / "go.mod", module / "go.sum", *sorted(module.glob("*.go"))]
        digest = hashlib.sha256(f"{TAGS} {platform.system()} {platform.machine()}".encode())
        for path in sources:
            digest.update(path.read_bytes())
        _, minor, patch = _pinned(text, "github.com/prometheus/prometheus")
        return cls(
            kubernetes=_pinned(text, "k8s.io/kubernetes"),
            etcd=_pinned(text, "go.etcd.io/etcd/server/v3"),
            prometheus=(minor // 100, minor % 100, patch),
            helm=_pinned(text, "helm.sh/helm/v4"),
            fingerprint=digest.hexdigest()[:10],
        )

    @property
    def key(self) -> str:
        """Name of the cache folder: readable, and different whenever the build would be."""
        return (
            f"kubernetes-{dotted(self.kubernetes)}_etcd-{dotted(self.etcd)}"
            f"_prometheus-{dotted(self.prometheus)}_helm-{dotted(self.helm)}_{self.fingerprint}"
        )


def _pinned(go_mod: str, module: str) -> Number:
    found = re.search(rf"^\s*{re.escape(module)} v(\d+)\.(\d+)\.(\d+)", go_mod, re.MULTILINE)
    if found is None:
        raise ValueError(f"sandbox/controlplane/go.mod requires no version of {module}")
    return int(found[1]), int(found[2]), int(found[3])


def dotted(number: Number) -> str:
    return ".".join(str(part) for part in number)


def reported(command: Sequence[str], timeout_s: float = 20) -> Number | None:
    """The first x.y.z a version command prints; None when it cannot be run or prints none."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _NUMBER.search(done.stdout + done.stderr) if done.returncode == 0 else None
    return None if found is None else (int(found[1]), int(found[2]), int(found[3]))
