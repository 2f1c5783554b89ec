"""From how much traffic on are own GPUs cheaper than an API?

The usual answer, fixed cost / API price, forgets that a GPU is full at some point. Own cost is a staircase: operations
plus one replica for each `requests_per_month` that a replica can serve. With r replicas of c dollars, operations of F
dollars, p dollars for a request at the API and q requests a month for each replica:

    own(m) = F + c ceil(m / q)          api(m) = p m

A replica that is full saves p q - c. When that is not positive, own GPUs never win, whatever the volume.
"""

from __future__ import annotations

from dataclasses import dataclass

from inferencefleet.economics.dollars import HOURS_PER_MONTH, SECONDS_PER_HOUR, usd_per_month
from inferencefleet.physics.quick import whole_replicas


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnGpus:
    """Replicas that could serve the traffic instead of an API."""

    usd_per_gpu_hour: float
    requests_per_s: float
    """What one replica takes within its SLOs, from `physics.capacity`."""
    gpus_per_replica: int = 1
    operations_usd_per_month: float = 0.0
    """On-call, monitoring, updates: what does not grow with the traffic."""
    utilisation: float = 1.0
    """Mean load over the capacity that must stand by for the peak, 0..1. 1 is traffic that never varies and a fleet
    without headroom: the most that own GPUs can hope for. 0.7 with daily swings of 2 to 1 is nearer 0.5."""
    least_replicas: int = 1
    hours_per_month: float = HOURS_PER_MONTH

    def __post_init__(self) -> None:
        for field in ("usd_per_gpu_hour", "requests_per_s", "hours_per_month"):
            if not getattr(self, field) > 0:
                raise ValueError(f"{field} = {getattr(self, field):g}: must be above 0; a replica costs and serves")
        if not 0 < self.utilisation <= 1:
            raise ValueError(f"utilisation = {self.utilisation:g}: must be in (0, 1]; 0.7 leaves 30 % for bursts")
        for field in ("gpus_per_replica", "least_replicas"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} = {getattr(self, field)}: must be at least 1; give whole GPUs")
        if self.operations_usd_per_month < 0:
            raise ValueError(f"operations_usd_per_month = {self.operations_usd_per_month:g}: must be 0 or more")

    @property
    def replica_usd_per_month(self) -> float:
        return usd_per_month(self.usd_per_gpu_hour, self.gpus_per_replica, self.hours_per_month)

    @property
    def replica_requests_per_month(self) -> float:
        return self.requests_per_s * self.utilisation * SECONDS_PER_HOUR * self.hours_per_month

    def replicas_for(self, requests_per_month: float) -> int:
        """Replicas that this volume needs."""
        return max(self.least_replicas, whole_replicas(requests_per_month / self.replica_requests_per_month))

    def usd_per_month_for(self, requests_per_month: float) -> float:
        """Dollars of a month with this volume."""
        return self.operations_usd_per_month + self.replicas_for(requests_per_month) * self.replica_usd_per_month


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """The answer, with what it rests on."""

    requests_per_month: float | None
    """The smallest volume at which own GPUs cost no more; None when they never do."""
    replicas: int | None
    """Replicas at that volume."""
    always_from_requests_per_month: float | None
    """From here on own GPUs are never dearer; in between, a replica just added may be too empty to pay."""
    uncapped_requests_per_month: float
    """Fixed cost / API price as if `least_replicas` could serve any volume: the figure that calculators print."""
    saving_of_full_replica_usd_per_month: float
    """What the API would charge for the requests of one full replica, minus the replica."""
    sentence: str


def break_even(own: OwnGpus, api_usd_per_request: float) -> BreakEven:
    """Compare own GPUs with an API that charges so much for a request (`ApiPrice.usd_per_request`)."""
    if not api_usd_per_request > 0:
        raise ValueError(
            f"api_usd_per_request = {api_usd_per_request:g}: must be above 0; a free API is always cheaper"
        )
    cost, full = own.replica_usd_per_month, own.replica_requests_per_month
    fixed = own.operations_usd_per_month + own.least_replicas * cost
    uncapped = fixed / api_usd_per_request
    saving = api_usd_per_request * full - cost
    if saving <= 0:
        sentence = (
            f"Never: a full replica serves {full:,.0f} requests a month, for which the API charges "
            f"${api_usd_per_request * full:,.0f}, and costs ${cost:,.0f}. More requests need more replicas."
        )
        return BreakEven(
            requests_per_month=None,
            replicas=None,
            always_from_requests_per_month=None,
            uncapped_requests_per_month=uncapped,
            saving_of_full_replica_usd_per_month=saving,
            sentence=sentence,
        )
    replicas = max(own.least_replicas, whole_replicas(own.operations_usd_per_month / saving))
    requests = (own.operations_usd_per_month + replicas * cost) / api_usd_per_request
    # After `before` full replicas the next one comes empty; from there on it is paid by the others' savings.
    before = max(own.least_replicas, whole_replicas((own.operations_usd_per_month + cost) / saving))
    always = max(requests, (own.operations_usd_per_month + before * cost) / api_usd_per_request)
    return BreakEven(
        requests_per_month=requests,
        replicas=replicas,
        always_from_requests_per_month=always,
        uncapped_requests_per_month=uncapped,
        saving_of_full_replica_usd_per_month=saving,
        sentence=(
            f"From {requests:,.0f} requests a month on {replicas} replica{'s' if replicas > 1 else ''}, "
            f"each full at {full:,.0f}."
        ),
    )


def break_even_tokens_per_month(monthly_usd: float, api_usd_per_million_tokens: float) -> float:
    """Tokens a month for which an API charges what the GPUs cost.

    A volume to compare with what the GPUs can produce: divided by the seconds of a month it is the speed they must
    keep day and night (`dollars.tokens_per_s_for` gives the same).
    """
    if not api_usd_per_million_tokens > 0:
        raise ValueError(f"api_usd_per_million_tokens = {api_usd_per_million_tokens:g}: must be above 0; give a price")
    return monthly_usd / api_usd_per_million_tokens * 1e6
