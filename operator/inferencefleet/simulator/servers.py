"""The engines of one fleet as a replay drives them: two implementations, one contract.

`simulator.reference` steps the token-level `Engine` of the twin (slow, the measure of truth); `simulator.fast` keeps a
virtual decode clock for each replica, so that cost is per request and not per token.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inferencefleet.domain.capacity import ReplicaShape
from inferencefleet.domain.fleet import Routing
from inferencefleet.simulator.truth import Truth

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

CROWDED_FACTOR = 1.25
CROWDED_REQUESTS = 4.0
"""A prefix-aware router leaves the replica that has the prefix when it holds more than factor x mean + this many."""
_PRIME = 2_147_483_647


class NotSimulated(ValueError):
    """A replica that the engines of a replay cannot imitate; the message says what to change."""


class Outcome(IntEnum):
    """What became of a request. All but FINISHED are misses of the SLO."""

    PENDING = 0
    """Not arrived, or still under way when the replay ended."""
    FINISHED = 1
    FAILED = 2
    """Its replica died, and so did that of the one retry."""
    REFUSED = 3
    """Longer than the maximum model length or the KV cache."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrivals:
    """Requests in the order of arrival; all arrays of shape (n,)."""

    arrival_s: Floats
    """Seconds since the replay began, ascending."""
    prompt_tokens: Integers
    output_tokens: Integers
    prefix_tokens: Integers
    """Leading prompt tokens that an earlier request of the same session brought; 0 = nothing shared."""
    session: Integers
    """Who shares prefixes with whom, 0..sessions-1; -1 = a prefix (if any) that every replica has cached."""

    def __len__(self) -> int:
        return int(self.arrival_s.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineKind:
    """What a replica is, and how far it truly is off the physics."""

    shape: ReplicaShape
    truth: Truth


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """Upper bounds of the histograms that engines keep, without infinity; ascending."""

    prompt_tokens: tuple[float, ...]
    output_tokens: tuple[float, ...]
    ttft_s: tuple[float, ...]
    itl_s: tuple[float, ...]
    e2e_s: tuple[float, ...]


@dataclass(slots=True, eq=False)
class Counters:
    """What every replica has counted since its process started: arrays of shape (slots,) or (slots, bounds + 1).

    Slots are numbered in the order of `Servers.add` and never reused. Histogram rows are counts by bucket, not
    cumulative. As in vLLM: prompt tokens include cached ones, aborted requests are in no histogram of finished ones.
    """

    finished: Integers
    first_tokens: Integers
    prompt_tokens: Integers
    output_tokens: Integers
    prefix_queries: Integers
    prefix_hits: Integers
    preemptions: Integers
    computed_tokens: Integers
    """Prompt tokens computed plus tokens generated."""
    prefill_seconds: Floats
    """Sum over requests of the time from being scheduled to the first token."""
    prefills: Integers
    prompt_hist: Integers
    prompt_sum: Floats
    output_hist: Integers
    output_sum: Floats
    ttft_hist: Integers
    ttft_sum: Floats
    itl_hist: Integers
    itl_sum: Floats
    tpot_hist: Integers
    """Mean token interval of each finished request, in the buckets of `itl_s`."""
    tpot_sum: Floats
    e2e_hist: Integers
    e2e_sum: Floats


@dataclass(slots=True, eq=False)
class Gauges:
    """What every replica shows at this moment; arrays of shape (slots,)."""

    running: Integers
    waiting: Integers
    kv_cache_usage: Floats
    """0..1."""
    kv_cache_tokens: Integers
    """Size of the cache."""


@dataclass(slots=True, eq=False)
class Results:
    """The truth about every request, as its client saw it; arrays of shape (n,). NaN = never happened."""

    outcome: Integers
    ttft_s: Floats
    """Arrival (of the first attempt) to first token."""
    tpot_s: Floats
    """(last token - first token) / (output tokens - 1); 0 for one token."""
    e2e_s: Floats
    slot: Integers
    """Replica that finished it, -1 = none."""
    retries: Integers
    preemptions: Integers
    hit_tokens: Integers
    slow_tokens: Integers
    """Token intervals above `itl_target_s`, counted when it finishes."""


class Servers(Protocol):
    """One fleet's engines behind one router. Times are seconds since the replay began and never go back."""

    def add(self, kind: EngineKind, *, seed: int) -> int:
        """A loaded engine that is not routed to yet; returns its slot. Raises `DoesNotStart` as vLLM would exit."""
        ...

    def open(self, slot: int) -> None:
        """Ready: requests are routed to it, and those that wait at the gateway for any replica come first."""
        ...

    def avoid(self, slot: int) -> None:
        """Its node is about to go: new requests only when no other replica is open."""
        ...

    def close(self, slot: int) -> None:
        """Its endpoint is gone; what it has in hand goes on."""
        ...

    def kill(self, slot: int) -> int:
        """The process is gone. Its requests are sent once more (a second loss fails them); returns their number."""
        ...

    def run_until(self, until_s: float) -> None:
        """Arrivals, routing and engine steps up to this time."""
        ...

    @property
    def now_s(self) -> float: ...

    def in_flight(self, slot: int) -> int:
        """Requests waiting or running there."""
        ...

    def gateway_waiting(self) -> int:
        """Requests that arrived while no replica was open."""
        ...

    def counters(self) -> Counters:
        """A copy."""
        ...

    def gauges(self) -> Gauges:
        """A copy."""
        ...

    def results(self) -> Results:
        """So far."""
        ...


class ServersFactory(Protocol):
    """`simulator.fast.servers` and `simulator.reference.servers`."""

    def __call__(
        self, arrivals: Arrivals, *, routing: Routing, buckets: Buckets, seed: int, itl_target_s: float
    ) -> Servers: ...


def uniform_choice(seed: int, request: int, attempt: int, replicas: int) -> int:
    """Which of the open replicas a plain Service sends this request to.

    kube-proxy chooses at random; a hash makes the choice the same in every implementation and order of calls. All
    products stay below 2^63, so that compiled and plain Python agree.
    """
    mixed = (seed % _PRIME + (request % _PRIME) * 48_271 + attempt * 69_621 + 1) % _PRIME
    for multiplier in (739_982_445, 695_872_825, 1_103_515_245):
        mixed = ((mixed ^ (mixed >> 15)) * multiplier) % _PRIME
    return (mixed ^ (mixed >> 13)) % replicas


def check_simulated(shape: ReplicaShape) -> None:
    """Engines here give every sequence one token a step."""
    if shape.speculation is not None:
        raise NotSimulated(
            f"speculation of {shape}: {shape.speculation.draft_tokens} draft tokens cannot be replayed, because "
            "engines give every sequence one token a step; leave `speculative` out of the fleet to replay it without"
        )
