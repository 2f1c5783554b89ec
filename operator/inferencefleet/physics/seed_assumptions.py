"""Which assumptions of the textbook sizing chain hold for a question, with the numbers that decide it."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

from inferencefleet.domain.capacity import Limit, ReplicaCapacity, ReplicaShape, Scales
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.physics.kv import sequence_bytes
from inferencefleet.physics.memory import GIB, memory_budget
from inferencefleet.physics.prefill import chunk_budget, extension_s
from inferencefleet.physics.quick import concurrency_ceiling, decode_floor_s, peak_bytes_per_s, roofline_s
from inferencefleet.physics.residence import resident_context_tokens
from inferencefleet.physics.seed_question import SeedQuestion
from inferencefleet.physics.step import StepModel

NEGLIGIBLE_PREFILL = 0.10
"""Share of a replica's time up to which prompts may be left out; the headroom of 30 % hides so much."""
DOUBT_Z = 1.28
"""A given step time is doubted when it is below nine in ten of what the model thinks possible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """One assumption of the chain."""

    name: str
    holds: bool
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainFigures:
    """What the chain computed, for one replica."""

    weights_bytes: float
    free_bytes: float
    kv_bytes: float
    """Of one request."""
    ceiling: int
    requests_per_s: float

    @property
    def ceiling_of_mixed_units(self) -> int:
        """The ceiling when memory is in GB and the KV cache of a request in GiB, both called "GB"."""
        return concurrency_ceiling(self.free_bytes / 1e9, self.kv_bytes / GIB)


def check_assumptions(
    question: SeedQuestion,
    shape: ReplicaShape,
    lengths: LengthMix,
    figures: ChainFigures,
    capacity: ReplicaCapacity,
    scales: Scales,
) -> tuple[Assumption, ...]:
    """Every assumption that can be checked, in the order of the chain."""
    found = [_memory(question, shape, figures), _units(question, figures)]
    batch = min(question.batch, float(figures.ceiling))
    if batch > 0:
        step = StepModel(shape, scales)
        rate = question.utilisation * figures.requests_per_s
        found += [
            _step_time(question, shape, lengths, figures, batch, step, scales),
            _prefill(shape, lengths, batch, rate, step),
        ]
        if Limit.HOST in capacity.limits_requests_per_s:
            found.append(_host(lengths, rate, capacity))
    return tuple(found)


def _memory(question: SeedQuestion, shape: ReplicaShape, figures: ChainFigures) -> Assumption:
    budget = memory_budget(shape)
    real = concurrency_ceiling(budget.kv_cache_bytes, float(sequence_bytes(shape, question.context_tokens)))
    batch = min(question.batch, float(figures.ceiling))
    left = (
        f"gpu_memory_utilization {shape.limits.gpu_memory_utilization:g}, {budget.overhead_bytes / GIB:.1f} GiB of "
        f"overhead and the weights leave KV cache for {real} requests of {question.context_tokens:,.0f} tokens"
    )
    holds = 0 < batch <= real
    return Assumption(
        name="memory",
        holds=holds,
        sentence=f"{left}; a batch of {question.batch:g} {'fits' if holds else 'does not'}.",
    )


def _units(question: SeedQuestion, figures: ChainFigures) -> Assumption:
    mixed = figures.ceiling_of_mixed_units
    if mixed == figures.ceiling:
        return Assumption(name="units", holds=True, sentence="GB or GiB: the ceiling is the same.")
    holds = min(question.batch, mixed) == min(question.batch, figures.ceiling)
    return Assumption(
        name="units",
        holds=holds,
        sentence=(
            f"{figures.free_bytes / 1e9:.1f} GB divided by {figures.kv_bytes / GIB:.3g} GiB, as in the printed "
            f"example, gives {mixed} requests; in one unit ({figures.kv_bytes / 1e9:.3g} GB) it is {figures.ceiling}. "
            + (f"The batch of {question.batch:g} is below both." if holds else "The batch must be smaller.")
        ),
    )


def _step_time(
    question: SeedQuestion,
    shape: ReplicaShape,
    lengths: LengthMix,
    figures: ChainFigures,
    batch: float,
    step: StepModel,
    scales: Scales,
) -> Assumption:
    context = resident_context_tokens(lengths)[0]
    bound = decode_floor_s(shape, batch, context)
    modelled = step.seconds(batch, batch * context)
    bandwidth = peak_bytes_per_s(shape)
    own = roofline_s(figures.weights_bytes + batch * figures.kv_bytes, bandwidth)
    sizes = f"{figures.weights_bytes / 1e9:.1f} GB + {batch:g} x {figures.kv_bytes / 1e9:.2f} GB"
    given = f"a decode step of {question.step_s * 1e3:.3g} ms for {batch:g} sequences"
    if question.step_s < bound:
        return Assumption(
            name="step time",
            holds=False,
            sentence=(
                f"{given} is below the roofline: reading weights and KV cache takes {bound * 1e3:.1f} ms at 100 % of "
                f"{bandwidth / 1e12:.2f} TB/s ({own * 1e3:.1f} ms with the chain's own {sizes}); "
                f"the model expects {modelled * 1e3:.1f} ms."
            ),
        )
    holds = question.step_s >= modelled * exp(-DOUBT_Z * scales.sigma_log)
    return Assumption(
        name="step time",
        holds=holds,
        sentence=f"{given} is {'plausible' if holds else 'too fast'}: the model expects {modelled * 1e3:.1f} ms.",
    )


def _prefill(shape: ReplicaShape, lengths: LengthMix, batch: float, rate: float, step: StepModel) -> Assumption:
    room = chunk_budget(shape.limits.max_num_batched_tokens, batch)
    prompt = extension_s(step, batch, lengths.prompt_tokens, lengths.prefix_hit_ratio, room)
    each = float(prompt.mean())
    share = rate * each
    holds = share <= NEGLIGIBLE_PREFILL
    return Assumption(
        name="prefill",
        holds=holds,
        sentence=(
            f"{rate:.3g} prompts/s of {lengths.mean_prompt_tokens:,.0f} tokens at {each:.2g} s each are {share:.2g} "
            f"replica-seconds of prefill per second; the chain counts none"
            + ("." if holds else ", and there is only 1." if share > 1 else ", and decoding needs the rest.")
        ),
    )


def _host(lengths: LengthMix, rate: float, capacity: ReplicaCapacity) -> Assumption:
    most = capacity.limits_requests_per_s[Limit.HOST]
    holds = rate <= most
    return Assumption(
        name="host",
        holds=holds,
        sentence=(
            f"{rate:.3g} requests/s of {lengths.mean_output_tokens:,.0f} output tokens "
            f"{'are within' if holds else 'exceed'} the {most:.3g} requests/s that one API server process streams."
        ),
    )
