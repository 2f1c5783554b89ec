"""The embedded cluster: a genuine control plane and Prometheus as local processes, with simulated GPU nodes.

`python -m sandbox up` starts it, `python -m sandbox down` stops it. Tests start one in a temporary directory:

    with Cluster.start(tmp_path, detached=False) as cluster:
        cluster.kubectl("get", "namespaces")
"""

from sandbox.cluster import Cluster
from sandbox.errors import CommandError, ComponentError, SandboxError, ToolchainError

__all__ = ["Cluster", "CommandError", "ComponentError", "SandboxError", "ToolchainError"]
