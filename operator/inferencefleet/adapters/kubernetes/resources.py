"""The kinds this adapter reads and writes, and their addresses."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

GROUP = "inferencefleet.io"
VERSION = "v1alpha1"


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object on the API server."""

    api_version: str
    plural: str
    kind: str
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """`/apis/apps/v1/namespaces/prod/deployments/chat`. Without a namespace: the whole cluster."""
        parts = ["api" if "/" not in self.api_version else "apis", self.api_version]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        parts += [quote(part, safe="") for part in (name, subresource) if part is not None]
        return "/" + "/".join(parts)


FLEETS = Resource(f"{GROUP}/{VERSION}", "inferencefleets", "InferenceFleet")
POOLS = Resource(f"{GROUP}/{VERSION}", "gpupools", "GPUPool", namespaced=False)
PODS = Resource("v1", "pods", "Pod")
NODES = Resource("v1", "nodes", "Node", namespaced=False)
SERVICES = Resource("v1", "services", "Service")
EVENTS = Resource("v1", "events", "Event")
DEPLOYMENTS = Resource("apps/v1", "deployments", "Deployment")
DISRUPTION_BUDGETS = Resource("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget")
