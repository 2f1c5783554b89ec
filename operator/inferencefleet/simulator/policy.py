"""What an autoscaling policy sees in a replay, and what it may say: the same for ours and for every peer's law."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from inferencefleet.domain.capacity import ReplicaShape
from inferencefleet.domain.fleet import Fleet, FleetKey
from inferencefleet.domain.observation import Histogram, Replica
from inferencefleet.domain.snapshot import Snapshot

ANY = "*"
"""Target of a Deployment that is bound to no pool: the node autoscaler chooses where each pod goes."""

Targets = Mapping[str, int]
"""Replicas wanted by pool name, or under `ANY`; what is not named is scaled to 0. A fleet without an answer keeps what
it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSample:
    """One ready engine as its newest scrape shows it (up to one scrape interval old)."""

    name: str
    pool: str
    ready_s: float
    """When it became ready (seconds since the replay began)."""
    running: float
    waiting: float
    kv_cache_usage: float
    """0..1."""
    kv_cache_tokens: float
    prompt_tokens_mean: float
    """Over the last 5 minutes; 0 = nothing finished."""
    output_tokens_mean: float
    output_tokens_per_s: float
    """Over the rate window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One fleet as Prometheus and the API server show it. Histograms are increases over the rate window (a minute)."""

    at_s: float
    """Seconds since the replay began."""
    fleet: Fleet
    wanted: Mapping[str, int]
    """Replicas asked for now, by pool (`ANY` for a Deployment that is bound to none)."""
    replicas: tuple[Replica, ...]
    """All pods, whatever their phase; times in them are epoch seconds like those of the snapshot."""
    blind: bool
    """Prometheus does not answer; everything below is empty."""
    pods: tuple[PodSample, ...]
    completions_per_s: float | None
    arrivals_per_s: float | None
    """Requests that reached the gateway, over the rate window: peers with a gateway read its counter."""
    gateway_waiting: int
    ttft_s: Histogram | None
    itl_s: Histogram | None
    """Token intervals."""
    tpot_s: Histogram | None
    """Mean token interval of each finished request."""
    e2e_s: Histogram | None
    profiled_requests_per_s: Mapping[str, float]
    """By pool: what one replica can truly take within the SLO. For peers that need a profile; ours must not read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """Everything at one tick."""

    at_s: float
    """Seconds since the replay began."""
    period_s: float
    fleets: tuple[Seen, ...]
    snapshot: Snapshot
    """As the operator would gather it, without memory: what the planner remembers is the policy's to keep."""


class Policy(Protocol):
    """Called once a period. State lives in the instance; a new replay gets a new instance."""

    @property
    def name(self) -> str: ...

    def decide(self, sight: Sight) -> Mapping[FleetKey, Targets]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """What a policy says beside the numbers of one fleet."""

    reason: str = ""
    sentence: str = ""
    victims: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """By pool: pods that should die first, best victim first (their deletion cost)."""
    shapes: Mapping[str, ReplicaShape] = field(default_factory=lambda: MappingProxyType({}))
    """By pool: what a new replica should be, where the policy decides that too."""


@runtime_checkable
class Hinting(Protocol):
    """A policy that also explains itself; asked right after `decide`."""

    def hints(self, key: FleetKey) -> Hints: ...
