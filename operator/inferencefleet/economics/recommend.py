"""Which GPU, how many of them in a replica, and which format: ranked by dollars per hour at the objectives.

The seven questions in order: workload, model and context, memory fit, throughput, latency, hardware, cost. Rules of
the choice: one GPU where it serves, smaller weights before more GPUs, tensor parallelism within NVLink only, and whole
replicas, because nobody can rent half of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from inferencefleet.domain.capacity import EngineLimits, Limit, ReplicaCapacity, ReplicaShape, Speculation
from inferencefleet.domain.hardware import GpuSpec, NumberFormat
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.model import ModelSpec
from inferencefleet.domain.pool import CapacityType
from inferencefleet.domain.slo import Slo, SloMetric
from inferencefleet.economics.dollars import TokenPrices, token_prices
from inferencefleet.economics.formats import Checkpoint, checkpoint_of
from inferencefleet.physics.capacity import replica_capacities
from inferencefleet.physics.quick import whole_replicas
from inferencefleet.physics.refusals import SIZES
from inferencefleet.physics.tensor_parallel import Option, Question

WORTH_ANOTHER_BUDGET = 1.05
"""A smaller token budget slows prompts a little, so it must buy at least 5 %."""
NEARLY_CHEAPEST = 1.1
"""Of two sizes of the same GPU and format the smaller wins within 10 %: it scales in finer steps, and fails smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTag:
    """What one GPU costs for an hour, and who says so."""

    usd_per_gpu_hour: float
    capacity_type: CapacityType
    source: str
    """Cloud, list and date; or the flag or pool that named it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A GPU type that can be had; `price` is None when nobody knows one."""

    gpu: GpuSpec
    price: PriceTag | None
    gpus_per_node: int = 8
    """A replica does not span nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be served, and what there is to choose from."""

    model: ModelSpec
    requests_per_s: float
    lengths: LengthMix
    slos: tuple[Slo, ...]
    kv_cache: NumberFormat
    limits: EngineLimits
    planned_share: Callable[[ReplicaShape], float]
    """Share of a replica's capacity that is counted on: headroom, and what the uncertainty about it takes."""
    offers: tuple[Offer, ...]
    formats: tuple[NumberFormat, ...]
    """Ranked."""
    other_formats: tuple[NumberFormat, ...] = ()
    """Evaluated as well and shown apart: somebody must publish the model in them first."""
    sizes: tuple[int, ...] = SIZES
    token_budgets: tuple[int, ...] = ()
    """maxNumBatchedTokens to try where prompts in a step break the inter-token latency; empty = only that of `limits`.
    It is a flag of the engine and costs nothing, so a GPU should not lose for want of it."""
    force_pcie: bool = False
    """Rank tensor parallelism over PCIe as well."""
    speculation: Speculation | None = None


class Standing(StrEnum):
    """What became of a candidate."""

    RANKED = "Ranked"
    LARGER_THAN_NEEDED = "LargerThanNeeded"
    """Another size of the same GPU and format is cheaper, or smaller at nearly the same price."""
    NO_PRICE = "NoPrice"
    PCIE = "TensorParallelOverPCIe"
    SLO_UNREACHABLE = "SLOUnreachable"
    DOES_NOT_FIT = "DoesNotFit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One kind of replica, evaluated. Fleet and dollars are None when it does not serve, dollars when unpriced."""

    shape: ReplicaShape
    price: PriceTag | None
    capacity: ReplicaCapacity
    checkpoint: Checkpoint
    standing: Standing
    planned_requests_per_s: float
    """What the plan counts on for one replica."""
    replicas: int | None = None
    usd_per_hour: float | None = None
    tokens: TokenPrices | None = None
    used: float = 0.0
    """Share of the planned capacity of the whole replicas that the rate needs, 0..1."""

    @property
    def token_budget(self) -> int:
        """maxNumBatchedTokens with which it was evaluated."""
        return self.shape.limits.max_num_batched_tokens

    @property
    def gpus(self) -> int:
        return (self.replicas or 0) * self.shape.tensor_parallel

    @property
    def planned_per_gpu(self) -> float:
        """Requests/s that the plan counts on for each GPU."""
        return self.planned_requests_per_s / self.shape.tensor_parallel


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """All candidates, each in exactly one place, best first. `economics.reasons` says why each is where it is."""

    request: Request
    ranked: tuple[Candidate, ...]
    """One for each GPU type and format, by dollars per hour."""
    other_checkpoints: tuple[Candidate, ...]
    """The same for `Request.other_formats`."""
    other_sizes: tuple[Candidate, ...]
    unpriced: tuple[Candidate, ...]
    """They serve, by requests/s for each GPU."""
    refused: tuple[Candidate, ...]
    """They do not fit, miss an SLO alone, or need PCIe for tensor parallelism."""

    @property
    def best(self) -> Candidate | None:
        return self.ranked[0] if self.ranked else None


def recommend(request: Request) -> Recommendation:
    """Evaluate every possible replica and rank them.

    Tensor parallelism over PCIe is ranked only when it is forced: by `force_pcie`, or because nothing else serves.
    """
    candidates = _evaluated(request)
    if not any(_in_running(candidate) for candidate in candidates):
        candidates = [_forced(candidate, request) for candidate in candidates]
    chosen, other_sizes = _one_size(candidates)
    priced = sorted(chosen, key=_dollars)
    ranked = tuple(candidate for candidate in priced if candidate.shape.weights in request.formats)
    return Recommendation(
        request=request,
        ranked=ranked,
        other_checkpoints=tuple(candidate for candidate in priced if candidate.shape.weights not in request.formats),
        other_sizes=tuple(sorted(other_sizes, key=_dollars)),
        unpriced=tuple(
            sorted(
                (candidate for candidate in candidates if candidate.standing is Standing.NO_PRICE),
                key=lambda candidate: -candidate.planned_per_gpu,
            )
        ),
        refused=tuple(
            candidate
            for candidate in candidates
            if candidate.standing in (Standing.DOES_NOT_FIT, Standing.SLO_UNREACHABLE, Standing.PCIE)
        ),
    )


def _evaluated(request: Request) -> list[Candidate]:
    asked = [
        (offer, _question(request, offer, weights), size)
        for offer in request.offers
        for weights in (*request.formats, *request.other_formats)
        for size in _question(request, offer, weights).possible()
    ]
    shapes = [question.shape(size) for _, question, size in asked]
    best = _best_budgets(request, list(zip(shapes, _capacities(request, shapes), strict=True)))
    return [
        _candidate(request, offer, shape, capacity)
        for (offer, _, _), (shape, capacity) in zip(asked, best, strict=True)
    ]


def _question(request: Request, offer: Offer, weights: NumberFormat) -> Question:
    return Question(
        model=request.model,
        gpu=offer.gpu,
        weights=weights,
        kv_cache=request.kv_cache,
        limits=request.limits,
        lengths=request.lengths,
        slos=request.slos,
        sizes=[size for size in request.sizes if size <= offer.gpus_per_node],
        speculation=request.speculation,
    )


def _capacities(request: Request, shapes: Sequence[ReplicaShape]) -> list[ReplicaCapacity]:
    return replica_capacities(shapes, request.lengths, request.slos)


def _best_budgets(request: Request, options: list[Option]) -> list[Option]:
    """Each replica with the token budget that lets it do most, where chunks of prompts are what limits it."""
    limits = request.limits
    budgets = [
        budget for budget in request.token_budgets if limits.max_num_seqs <= budget < limits.max_num_batched_tokens
    ]
    tunable = [place for place, option in enumerate(options) if _held_up_by_prompts(request, option[1])]
    others = [
        (place, replace(options[place][0], limits=replace(limits, max_num_batched_tokens=budget)))
        for place in tunable
        for budget in budgets
    ]
    found = _capacities(request, [shape for _, shape in others])
    best = list(options)
    for (place, shape), capacity in zip(others, found, strict=True):
        if capacity.requests_per_s > WORTH_ANOTHER_BUDGET * best[place][1].requests_per_s:
            best[place] = shape, capacity
    return best


def _held_up_by_prompts(request: Request, capacity: ReplicaCapacity) -> bool:
    """Inter-token latency binds, though a request alone would meet it."""
    alone = (
        capacity.floors_s.get(f"itl_p{slo.percentile}", 0.0) <= slo.target_s
        for slo in request.slos
        if slo.metric is SloMetric.ITL
    )
    return capacity.binding is Limit.ITL and all(alone)


def _candidate(request: Request, offer: Offer, shape: ReplicaShape, capacity: ReplicaCapacity) -> Candidate:
    candidate = Candidate(
        shape=shape,
        price=offer.price,
        capacity=capacity,
        checkpoint=checkpoint_of(request.model, shape.weights),
        standing=_standing(request, offer, shape.tensor_parallel, capacity),
        planned_requests_per_s=capacity.requests_per_s * request.planned_share(shape),
    )
    return _with_fleet(candidate, request) if capacity.serves else candidate


def _standing(request: Request, offer: Offer, size: int, capacity: ReplicaCapacity) -> Standing:
    if not capacity.serves:
        too_large = capacity.binding is Limit.MODEL_TOO_LARGE
        return Standing.DOES_NOT_FIT if too_large else Standing.SLO_UNREACHABLE
    if size > 1 and not offer.gpu.nvlink and not request.force_pcie:
        return Standing.PCIE
    return Standing.RANKED if offer.price is not None else Standing.NO_PRICE


def _with_fleet(candidate: Candidate, request: Request) -> Candidate:
    """Whole replicas for the rate, and their dollars."""
    needed = request.requests_per_s / candidate.planned_requests_per_s
    replicas = max(1, whole_replicas(needed))
    sized = replace(candidate, replicas=replicas, used=needed / replicas)
    if candidate.price is None:
        return sized
    usd = candidate.price.usd_per_gpu_hour * sized.gpus
    rate, lengths = request.requests_per_s, request.lengths
    prices = token_prices(usd, rate * lengths.mean_prompt_tokens, rate * lengths.mean_output_tokens)
    return replace(sized, usd_per_hour=usd, tokens=prices)


def _in_running(candidate: Candidate) -> bool:
    return candidate.standing in (Standing.RANKED, Standing.NO_PRICE)


def _forced(candidate: Candidate, request: Request) -> Candidate:
    """PCIe or nothing."""
    if candidate.standing is not Standing.PCIE:
        return candidate
    return replace(candidate, standing=Standing.RANKED if candidate.price is not None else Standing.NO_PRICE)


def _one_size(candidates: Iterable[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """For each GPU type and format the smallest size within 10 % of the cheapest; and the other sizes."""
    groups: dict[tuple[str, NumberFormat], list[Candidate]] = {}
    for candidate in candidates:
        if candidate.standing is Standing.RANKED:
            groups.setdefault((candidate.shape.gpu.name, candidate.shape.weights), []).append(candidate)
    chosen, others = [], []
    for group in groups.values():
        pick = _smallest_of_cheap(group)
        chosen.append(pick)
        others += [replace(other, standing=Standing.LARGER_THAN_NEEDED) for other in group if other is not pick]
    return chosen, others


def _smallest_of_cheap(group: Sequence[Candidate]) -> Candidate:
    cheapest = min(candidate.usd_per_hour or 0.0 for candidate in group)
    cheap = [candidate for candidate in group if (candidate.usd_per_hour or 0.0) <= NEARLY_CHEAPEST * cheapest]
    return min(cheap, key=lambda candidate: candidate.shape.tensor_parallel)


def _dollars(candidate: Candidate) -> tuple[float, int, str, str]:
    """Cheapest first, then fewer GPUs, then the name: the order is total."""
    shape = candidate.shape
    return candidate.usd_per_hour or 0.0, candidate.gpus, shape.gpu.name, f"{shape.weights} {shape.tensor_parallel}"
