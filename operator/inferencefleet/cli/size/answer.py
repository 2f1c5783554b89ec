"""The derivation behind `size`: from memory over step time and queue to replicas and dollars. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from inferencefleet.cli.workload import Workload
from inferencefleet.domain.capacity import ReplicaCapacity, ReplicaShape, Scales, Sensitivity
from inferencefleet.domain.hardware import GpuSpec, NumberFormat
from inferencefleet.economics.dollars import TokenPrices, token_prices
from inferencefleet.economics.recommend import PriceTag
from inferencefleet.physics.confidence import prior_sigma_log
from inferencefleet.physics.operating import OperatingPoint, open_loop
from inferencefleet.physics.quick import whole_replicas
from inferencefleet.physics.refusals import SIZES
from inferencefleet.physics.residence import clip_lengths, load, resident_bytes
from inferencefleet.physics.sensitivity import sensitivities
from inferencefleet.physics.step import StepModel
from inferencefleet.physics.tensor_parallel import Option, Question, choose, options
from inferencefleet.planning.size import UNCERTAINTY_Z, planned_share


@dataclass(frozen=True, slots=True, kw_only=True)
class StepAtCapacity:
    """What the engine does all day when it takes as much as it can."""

    decode_seqs: float
    context_tokens: float
    """Mean cached tokens of a running request."""
    terms_s: Mapping[str, float]
    """A step that only decodes, by term."""
    prefill_s: float
    """What the mean prompt adds to the steps that carry it."""
    prefill_share: float
    """Share of the replica's time that goes to prompts, 0..1."""
    chunks: float
    """Steps that the mean prompt is spread over."""
    residence_s: float
    """Mean time a request holds its KV cache."""
    resident_bytes: float
    """Mean KV cache of a running request."""

    @property
    def decode_step_s(self) -> float:
        return sum(self.terms_s.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Replicas for the rate, and what they cost."""

    planned_requests_per_s: float
    """What the plan counts on for each replica."""
    uncertainty: float
    """exp(-z sigma): what the model's spread takes from the capacity."""
    replicas: int
    replicas_without_uncertainty: int
    gpus: int
    each: OperatingPoint
    """One replica at its share of the rate."""
    usd_per_hour: float | None
    """None without a price; as `tokens`."""
    tokens: TokenPrices | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """The whole answer."""

    workload: Workload
    shape: ReplicaShape
    capacity: ReplicaCapacity
    scales: Scales
    alternatives: tuple[Option, ...]
    """Every tensor-parallel size that was looked at, the chosen one included."""
    price: PriceTag | None
    step: StepAtCapacity | None
    """None when the replica does not serve; as `fleet`."""
    fleet: Fleet | None
    sensitivities: tuple[Sensitivity, ...]


def size(workload: Workload, gpu: GpuSpec, weights: NumberFormat, price: PriceTag | None) -> Sized:
    """Capacity of one replica of this GPU, and how many the rate needs.

    Raises ValueError when the engine can split the model over none of the sizes.
    """
    serving = workload.serving
    question = Question(
        model=serving.model,
        gpu=gpu,
        weights=weights,
        kv_cache=serving.kv_cache,
        limits=serving.limits,
        lengths=workload.lengths,
        slos=workload.slos,
        sizes=SIZES if serving.tensor_parallel is None else (serving.tensor_parallel,),
        speculation=serving.speculation,
    )
    shape, capacity = choose(question)
    scales = Scales(sigma_log=prior_sigma_log(shape))
    return Sized(
        workload=workload,
        shape=shape,
        capacity=capacity,
        scales=scales,
        alternatives=tuple(options(question)),
        price=price,
        step=_step(workload, shape, capacity, scales) if capacity.serves else None,
        fleet=_fleet(workload, shape, capacity, scales, price) if capacity.serves else None,
        sensitivities=sensitivities(shape, workload.lengths, workload.slos, scales) if capacity.serves else (),
    )


def _step(workload: Workload, shape: ReplicaShape, capacity: ReplicaCapacity, scales: Scales) -> StepAtCapacity:
    lengths = clip_lengths(workload.lengths, shape.limits.max_model_len_tokens)
    seqs = max(1.0, capacity.concurrency)
    state = load(shape, lengths, scales, seqs)
    extension = float(state.extension_s[-1].mean())
    terms = StepModel(shape, scales).terms(seqs, seqs * state.context_tokens)
    return StepAtCapacity(
        decode_seqs=seqs,
        context_tokens=state.context_tokens,
        terms_s={name: seconds for name, seconds in terms.items() if seconds > 0},
        prefill_s=extension,
        prefill_share=min(1.0, capacity.requests_per_s * extension),
        chunks=float(state.chunks[-1].mean()),
        residence_s=float(state.residence_s[-1]),
        resident_bytes=resident_bytes(shape, lengths)[0],
    )


def _fleet(
    workload: Workload, shape: ReplicaShape, capacity: ReplicaCapacity, scales: Scales, price: PriceTag | None
) -> Fleet:
    planned = capacity.requests_per_s * planned_share(workload.headroom, scales.sigma_log)
    replicas = whole_replicas(workload.requests_per_s / planned)
    gpus = replicas * shape.tensor_parallel
    usd_per_hour = None if price is None else price.usd_per_gpu_hour * gpus
    rate, lengths = workload.requests_per_s, workload.lengths
    tokens = (rate * lengths.mean_prompt_tokens, rate * lengths.mean_output_tokens)
    return Fleet(
        planned_requests_per_s=planned,
        uncertainty=math.exp(-UNCERTAINTY_Z * scales.sigma_log),
        replicas=replicas,
        replicas_without_uncertainty=whole_replicas(rate / (capacity.requests_per_s * workload.headroom)),
        gpus=gpus,
        each=open_loop(shape, lengths, rate / replicas, scales),
        usd_per_hour=usd_per_hour,
        tokens=None if usd_per_hour is None else token_prices(usd_per_hour, *tokens),
    )
