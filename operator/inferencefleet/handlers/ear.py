"""The watch on our two kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import kopf

from inferencefleet.api.base import GROUP, VERSION


def build_registry(wake: Callable[[], None]) -> kopf.OperatorRegistry:
    """Handlers of one operator. `on.event` stores nothing in the objects and adds no finalizer."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.event(GROUP, VERSION, "inferencefleets", registry=registry, when=is_news)
    async def fleet_changed(**_: Any) -> None:
        wake()

    @kopf.on.event(GROUP, VERSION, "gpupools", registry=registry, when=is_news)
    async def pool_changed(**_: Any) -> None:
        wake()

    return registry


def is_news(type: str | None, meta: Mapping[str, Any], status: Mapping[str, Any], **_: Any) -> bool:
    """Not what we wrote ourselves: a status that has seen this generation is our own echo, and must not wake us again.

    What else changes (annotations) wakes the loop through its own cache, which compares.
    """
    return type == "DELETED" or meta.get("generation") != status.get("observedGeneration")


def build_settings() -> kopf.OperatorSettings:
    """No scanning of namespaces and CRDs (less RBAC), no Events from log lines, short waits for a broken watch."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.networking.request_timeout = 30
    settings.watching.client_timeout = 600
    settings.queueing.error_delays = [1, 2, 5, 10, 30]
    return settings
