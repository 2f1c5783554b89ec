"""A fixed number of replicas: what most teams run. The caller gives the number: of the peak, or of the mean, demand.

Source: none needed. llm-d publishes its static pool sized for the peak (8 replicas, 100 % attainment) beside its law
(guides/workload-autoscaling/slo-aware/benchmark-templates/BENCHMARK.md, d38c9f0c).
"""

from __future__ import annotations

from inferencefleet.simulator.laws.common import Knobs, capped
from inferencefleet.simulator.policy import ANY, Seen, Sight, Targets


class Static:
    def __init__(self, *, replicas: int) -> None:
        if replicas < 0:
            raise ValueError(f"replicas={replicas}: a fixed fleet has 0 or more replicas; give the number of them")
        self._replicas = replicas

    def targets(self, seen: Seen, sight: Sight) -> Targets:
        return {ANY: capped(self._replicas, seen.fleet)}

    @staticmethod
    def grid() -> tuple[Knobs, ...]:
        """Nothing to tune: the number is derived from the demand."""
        return ()
