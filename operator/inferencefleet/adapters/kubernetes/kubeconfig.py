"""A person's own access to a cluster, as kubectl has it: KUBECONFIG or ~/.kube/config, a context and its namespace."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException
from yaml import YAMLError

from inferencefleet.adapters.kubernetes.client import KubernetesClient
from inferencefleet.adapters.kubernetes.errors import Unreachable

DEFAULT_NAMESPACE = "default"


async def connect_as_user(context: str | None, *, timeout_s: float = 10.0) -> tuple[KubernetesClient, str]:
    """A client for this context (None = the current one), and the namespace the context names.

    Raises `Unreachable` when there is no usable kubeconfig.
    """
    path = _path()
    configuration = Configuration()
    try:
        contexts, active = kubernetes_config.list_kube_config_contexts(config_file=path)
        await kubernetes_config.load_kube_config(config_file=path, context=context, client_configuration=configuration)
    except (ConfigException, OSError, TypeError, ValueError, YAMLError) as error:
        why = " ".join(str(error).split())  # YAML errors have lines
        raise Unreachable(0, f"the kubeconfig at {path} cannot be used: {why}") from error
    chosen = next((entry for entry in contexts if entry["name"] == context), None) if context else active
    return KubernetesClient(ApiClient(configuration), timeout_s=timeout_s), _namespace(chosen)


def _path() -> str:
    """One or more files, as kubectl reads them."""
    path = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    if not any(Path(part).is_file() for part in path.split(os.pathsep)):
        raise Unreachable(0, f"there is no kubeconfig at {path}")
    return path


def _namespace(context: dict[str, Any] | None) -> str:
    return str(((context or {}).get("context") or {}).get("namespace") or DEFAULT_NAMESPACE)
