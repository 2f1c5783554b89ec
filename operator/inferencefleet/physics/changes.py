"""One quantity of a capacity at another value: workload, targets, hardware, constants of the physics.

Steps are 10 %, and one standard deviation for the constants. They go the way that is mostly asked about ("what if
prompts grow?"); from a replica that cannot serve they go where it might. `physics.choices` has the inputs without a
size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import exp
from types import MappingProxyType

from inferencefleet.domain.capacity import ReplicaCapacity, ReplicaShape, Scales
from inferencefleet.domain.hardware import GpuSpec, NumberFormat
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.slo import Slo
from inferencefleet.physics.capacity import replica_capacity

STEP = 1.1
SPREAD_LOG = {"memory": 0.07, "compute": 0.06, "overhead": 0.18}
"""Standard deviation of the log of each constant over 47 vLLM deployments (sizing physics 4.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything that a capacity depends on."""

    shape: ReplicaShape
    lengths: LengthMix
    slos: tuple[Slo, ...]
    scales: Scales

    def capacity(self) -> ReplicaCapacity:
        return replica_capacity(self.shape, self.lengths, self.slos, self.scales)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One input at another value."""

    input: str
    words: str
    """Subject of a sentence, `10 % longer prompts`."""
    plural: bool
    from_value: float | str
    to_value: float | str
    unit: str = ""
    case: Case
    """With the input at `to_value`."""
    at: Callable[[float], Case | None] | None = None
    """Of a quantity: with its effective size multiplied by a factor, None where that cannot be. None for choices."""
    factor: float = STEP
    """The factor that leads to `to_value`."""
    elasticity_per_slope: float | None = 1.0
    """d log(effective size) / d log(input); None where the input is zero."""


def quantities(case: Case, *, serves: bool) -> Iterator[Change]:
    """Every quantity once; `serves` says whether the replica does before the change."""
    yield from _workload(case, STEP if serves else 1 / STEP)
    yield from _targets(case)
    yield from _hardware(case)
    yield from _drafts(case)
    if serves:
        yield from _constants(case)


def _workload(case: Case, factor: float) -> Iterator[Change]:
    lengths = case.lengths
    size = f"10 % {'longer' if factor > 1 else 'shorter'}"
    yield _quantity(
        partial(_prompts, case), "prompt_tokens", f"{size} prompts", lengths.mean_prompt_tokens, factor, "tokens"
    )
    yield _quantity(
        partial(_outputs, case), "output_tokens", f"{size} outputs", lengths.mean_output_tokens, factor, "tokens"
    )
    hit = lengths.prefix_hit_ratio
    if hit == 1:
        return  # there is nothing left to hit
    more = 1 - (1 - hit) / STEP
    yield Change(
        input="prefix_hit_ratio",
        words=f"Prefix cache hits of {more * 100:.0f} % instead of {hit * 100:.0f} %",
        plural=True,
        from_value=hit,
        to_value=more,
        case=replace(case, lengths=replace(lengths, prefix_hit_ratio=more)),
        at=partial(_computed, case),
        factor=1 / STEP,
        elasticity_per_slope=-hit / (1 - hit) if hit else None,
    )


def _targets(case: Case) -> Iterator[Change]:
    for index, slo in enumerate(case.slos):
        name = f"{slo.metric} p{slo.percentile}"
        words = f"A 10 % looser target of {name}"
        yield _quantity(partial(_target, case, index), f"slo {name}", words, slo.target_s, STEP, "s", plural=False)


def _hardware(case: Case) -> Iterator[Change]:
    gpu = case.shape.gpu
    for name, changed, value, unit in (
        ("bandwidth", _bandwidth, gpu.bandwidth_bytes_per_s, "bytes/s"),
        ("compute", _compute, gpu.peak_flops[NumberFormat.BF16], "FLOP/s in bf16"),
        ("memory", _memory, gpu.memory_bytes, "bytes"),
    ):
        words = f"10 % more GPU {name}"
        yield _quantity(partial(changed, case), f"gpu_{name}", words, value, STEP, unit, plural=False)


def _drafts(case: Case) -> Iterator[Change]:
    speculation = case.shape.speculation
    if speculation is not None and 0 < speculation.acceptance < 1:
        more = min(1.0, speculation.acceptance * STEP)
        better = replace(case.shape, speculation=replace(speculation, acceptance=more))
        yield Change(
            input="acceptance",
            words=f"{more * 100:.0f} % of drafts accepted instead of {speculation.acceptance * 100:.0f} %",
            plural=True,
            from_value=speculation.acceptance,
            to_value=more,
            case=replace(case, shape=better),
            at=partial(_acceptance, case),
            factor=more / speculation.acceptance,
        )


def _constants(case: Case) -> Iterator[Change]:
    scales = case.scales
    for name, constant, value in (
        ("k_mem", "memory", scales.memory),
        ("k_cmp", "compute", scales.compute),
        ("k_ovh", "overhead", scales.overhead),
    ):
        factor = exp(SPREAD_LOG[constant])
        words = f"{constant.capitalize()} time one standard deviation ({(factor - 1) * 100:.0f} %) above the model"
        yield _quantity(partial(_scale, case, constant), name, words, value, factor, "", plural=False)
    slower = partial(_scale, case, "overhead")
    yield _quantity(slower, "step_overhead", "A 10 % slower host", scales.overhead, STEP, "", plural=False)


def _quantity(
    at: Callable[[float], Case],
    name: str,
    words: str,
    value: float,
    factor: float,
    unit: str,
    *,
    plural: bool = True,
) -> Change:
    return Change(
        input=name,
        words=words,
        plural=plural,
        from_value=value,
        to_value=value * factor,
        unit=unit,
        case=at(factor),
        at=at,
        factor=factor,
    )


def _prompts(case: Case, factor: float) -> Case:
    return replace(case, lengths=replace(case.lengths, prompt_tokens=case.lengths.prompt_tokens * factor))


def _outputs(case: Case, factor: float) -> Case:
    return replace(case, lengths=replace(case.lengths, output_tokens=case.lengths.output_tokens * factor))


def _computed(case: Case, factor: float) -> Case | None:
    """Prompt tokens that the prefix cache lacks, multiplied; they cannot be more than all."""
    computed = (1 - case.lengths.prefix_hit_ratio) * factor
    if computed > 1:
        return None
    return replace(case, lengths=replace(case.lengths, prefix_hit_ratio=1 - computed))


def _target(case: Case, index: int, factor: float) -> Case:
    slo = case.slos[index]
    looser = replace(slo, target_s=slo.target_s * factor)
    return replace(case, slos=(*case.slos[:index], looser, *case.slos[index + 1 :]))


def _bandwidth(case: Case, factor: float) -> Case:
    return _on(case, replace(case.shape.gpu, bandwidth_bytes_per_s=case.shape.gpu.bandwidth_bytes_per_s * factor))


def _compute(case: Case, factor: float) -> Case:
    peaks = {form: flops * factor for form, flops in case.shape.gpu.peak_flops.items()}
    return _on(case, replace(case.shape.gpu, peak_flops=MappingProxyType(peaks)))


def _memory(case: Case, factor: float) -> Case:
    return _on(case, replace(case.shape.gpu, memory_bytes=case.shape.gpu.memory_bytes * factor))


def _on(case: Case, gpu: GpuSpec) -> Case:
    return replace(case, shape=replace(case.shape, gpu=gpu))


def _acceptance(case: Case, factor: float) -> Case | None:
    """With drafts accepted more often; not more often than always."""
    speculation = case.shape.speculation
    if speculation is None or speculation.acceptance * factor > 1:
        return None
    better = replace(speculation, acceptance=speculation.acceptance * factor)
    return replace(case, shape=replace(case.shape, speculation=better))


def _scale(case: Case, constant: str, factor: float) -> Case:
    now = case.scales
    changed = {
        "memory": replace(now, memory=now.memory * factor),
        "compute": replace(now, compute=now.compute * factor),
        "overhead": replace(now, overhead=now.overhead * factor),
    }
    return replace(case, scales=changed[constant])
