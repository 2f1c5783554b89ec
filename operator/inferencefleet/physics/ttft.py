"""Time to first token and end-to-end latency of one replica at one arrival rate (sizing physics 1.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferencefleet.physics.arrivals import Arrivals
from inferencefleet.physics.limits import replicas
from inferencefleet.physics.residence import Load
from inferencefleet.physics.traffic import traffic

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Latencies:
    """Sampled requests at one arrival rate."""

    arrivals: Arrivals
    scale: float
    """Multiplies TTFT."""
    most_requests_per_s: float
    """What a full replica completes: more that arrives only waits longer and longer."""

    @property
    def utilisation(self) -> float:
        """Of what a full replica completes, 0..1."""
        return float(self.arrivals.utilisation[0, 0])

    @property
    def running(self) -> float:
        """Mean resident requests."""
        return float(self.arrivals.seqs[0, 0])

    @property
    def itl_mean_s(self) -> float:
        return float(self.arrivals.itl_mean_s[0, 0])

    def ttft_mean_s(self) -> float:
        return float(self.arrivals.ttft_mean_s(self.scale)[0, 0])

    def ttft_percentile_s(self, percentile: float) -> float:
        return self.ttft_percentiles_s((percentile,))[0]

    def ttft_percentiles_s(self, percentiles: Sequence[float]) -> list[float]:
        found: list[float] = self.arrivals.ttft(np.array(percentiles) / 100, self.scale)[0, 0].tolist()
        return found

    def e2e_percentile_s(self, percentile: float) -> float:
        return self.e2e_percentiles_s((percentile,))[0]

    def e2e_percentiles_s(self, percentiles: Sequence[float]) -> list[float]:
        found: list[float] = self.arrivals.e2e(np.array(percentiles) / 100, self.scale)[0, 0].tolist()
        return found


def latencies(state: Load, rate: float, ttft_scale: float = 1.0) -> Latencies:
    """Sampled requests that arrive as a Poisson stream of `rate` requests/s at a replica that holds as many as `state`.

    A rate above what it completes is answered as that rate: a queue grows there for as long as it lasts.
    """
    mix = traffic(state.shape, state.lengths)
    asked = replicas([state.shape], [state.step], mix, most=float(state.seqs[-1]))
    found = asked.queue.sample(np.array([[rate]])) if rate > 0 else asked.queue.alone()
    return Latencies(arrivals=found, scale=ttft_scale, most_requests_per_s=float(asked.room.rate[0, 0]))


def alone(state: Load, ttft_scale: float = 1.0) -> Latencies:
    """The same for requests that meet an empty replica: the floor."""
    return latencies(state, 0.0, ttft_scale)
