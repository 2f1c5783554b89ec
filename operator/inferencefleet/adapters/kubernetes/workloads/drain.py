"""How a replica leaves: endpoint removed, requests finished, then the process ends; and how long each may take."""

from __future__ import annotations

import math
from dataclasses import dataclass

from inferencefleet.adapters.kubernetes.workloads.vllm_args import SHUTDOWN_TIMEOUT_SINCE, knows
from inferencefleet.domain.fleet import EngineTerms
from inferencefleet.domain.pool import CapacityType, Pool

ENDPOINT_REMOVAL_S = 15
"""Until every proxy has seen that the endpoint is gone; a request sent before that must still be served."""
EXIT_MARGIN_S = 15
"""For the process to end after its last request."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Seconds. The grace period starts with preStop and bounds the sum."""

    pre_stop_s: int
    shutdown_timeout_s: int
    grace_s: int


def drain_for(engine: EngineTerms, pool: Pool) -> Drain:
    """Drain as declared; on spot as far as the notice of the cloud allows.

    Before 0.18 vLLM aborts running requests on SIGTERM, so there preStop itself waits for them: the engine still serves
    while it sleeps, at the price of always waiting in full.
    """
    removal, margin = ENDPOINT_REMOVAL_S, EXIT_MARGIN_S
    requests = math.ceil(engine.drain_s)
    if pool.capacity_type is CapacityType.SPOT:
        notice = max(1, math.floor(pool.spot_notice_s))
        removal, margin = min(removal, max(1, notice // 4)), min(margin, notice // 4)
        requests = max(0, min(requests, notice - removal - margin))
    grace = removal + requests + margin
    if knows(engine.image, SHUTDOWN_TIMEOUT_SINCE):
        return Drain(pre_stop_s=removal, shutdown_timeout_s=requests, grace_s=grace)
    return Drain(pre_stop_s=removal + requests, shutdown_timeout_s=0, grace_s=grace)
