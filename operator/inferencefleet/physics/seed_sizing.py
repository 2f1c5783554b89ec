"""The four-step sizing chain of a well-known textbook derivation, and the same question answered by the full model.

    KV cache per request -> requests at once -> requests/s per replica -> replicas

`mode="seed"` follows the chain as printed: contexts are full from the start, the step time is given by the person who
asks, prompts cost nothing. `mode="physics"` asks `physics.capacity` for the largest rate that one replica takes.
Both check the chain's assumptions against the physics of this very question (`physics.seed_assumptions`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Literal

import numpy as np

from inferencefleet.domain.capacity import EngineLimits, ReplicaCapacity, ReplicaShape, Scales
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.physics.capacity import replica_capacity
from inferencefleet.physics.confidence import prior_sigma_log
from inferencefleet.physics.kv import sequence_bytes
from inferencefleet.physics.memory import memory_budget
from inferencefleet.physics.quick import concurrency_ceiling, nominal_weights_bytes, whole_replicas
from inferencefleet.physics.residence import load
from inferencefleet.physics.seed_assumptions import Assumption, ChainFigures, check_assumptions
from inferencefleet.physics.seed_question import SeedQuestion
from inferencefleet.physics.weights import parameters

Mode = Literal["seed", "physics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of a derivation: `value` in `unit` follows from `formula`."""

    name: str
    formula: str
    value: float
    unit: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizingChain:
    """The answer to one question in one mode, with everything needed to recompute it by hand."""

    mode: Mode
    steps: tuple[Step, ...]
    replicas: int | None
    """None when one replica cannot serve the question at all; see `sentence`."""
    gpus: int | None
    requests_per_s: float
    """What one replica takes before the headroom."""
    sentence: str
    assumptions: tuple[Assumption, ...]
    """Every assumption of the chain that was checked, those that hold included."""

    @property
    def broken(self) -> tuple[str, ...]:
        """Sentences of the chain's assumptions that do not hold for this question."""
        return tuple(check.sentence for check in self.assumptions if not check.holds)

    def step(self, name: str) -> Step:
        """The step of this name; KeyError when the chain has none."""
        for found in self.steps:
            if found.name == name:
                return found
        raise KeyError(f"no step {name!r}; there are {', '.join(step.name for step in self.steps)}")


def sizing_chain(question: SeedQuestion, mode: Mode = "physics", scales: Scales | None = None) -> SizingChain:
    """Replicas and GPUs for the question.

    `mode="seed"`: the textbook chain. `mode="physics"`: the model that the operator plans with, for the fixed lengths
    of the question (prompt = context - output). `scales` correct the physics by measurement. Raises
    `InvalidQuestion` (a ValueError) with field, value, rule and way out.
    """
    question.validate()
    if mode not in ("seed", "physics"):
        raise ValueError(f"mode {mode!r}: there are 'seed' (as printed) and 'physics' (the product's model)")
    shape, lengths = _shape(question), _lengths(question)
    scales = scales or Scales(sigma_log=prior_sigma_log(shape))
    capacity = replica_capacity(shape, lengths, question.slos, scales)
    steps, figures = _seed_steps(question, shape)
    assumptions = check_assumptions(question, shape, lengths, figures, capacity, scales)
    if mode == "physics":
        steps = _physics_steps(question, shape, lengths, capacity, scales)
    rate = figures.requests_per_s if mode == "seed" else capacity.requests_per_s
    if rate <= 0:
        sentence = capacity.sentence if mode == "physics" else _no_room(question, figures)
        return SizingChain(
            mode=mode,
            steps=steps,
            replicas=None,
            gpus=None,
            requests_per_s=0.0,
            sentence=sentence,
            assumptions=assumptions,
        )
    steps, replicas = _with_replicas(steps, question, rate)
    gpus = replicas * question.tensor_parallel
    sentence = (
        f"{question.requests_per_s:g} requests/s over {question.utilisation:g} x {rate:.3g} per replica: "
        f"{replicas} replicas, {gpus} x {question.gpu.name}."
    )
    return SizingChain(
        mode=mode,
        steps=steps,
        replicas=replicas,
        gpus=gpus,
        requests_per_s=rate,
        sentence=sentence,
        assumptions=assumptions,
    )


def seed_sizing(question: SeedQuestion) -> SizingChain:
    """`sizing_chain` in seed mode."""
    return sizing_chain(question, "seed")


def _shape(question: SeedQuestion) -> ReplicaShape:
    limits = question.limits or EngineLimits(max_num_seqs=max(EngineLimits().max_num_seqs, ceil(question.batch)))
    return ReplicaShape(
        model=question.model,
        gpu=question.gpu,
        tensor_parallel=question.tensor_parallel,
        weights=question.weights,
        kv_cache=question.kv_cache,
        limits=replace(limits, max_model_len_tokens=ceil(question.context_tokens)),
    )


def _lengths(question: SeedQuestion) -> LengthMix:
    return LengthMix(
        prompt_tokens=np.array([question.context_tokens - question.output_tokens], dtype=np.float64),
        output_tokens=np.array([question.output_tokens], dtype=np.float64),
    )


def _seed_steps(question: SeedQuestion, shape: ReplicaShape) -> tuple[tuple[Step, ...], ChainFigures]:
    count = question.nominal_parameters or parameters(question.model).total
    weights = nominal_weights_bytes(count, question.weights)
    memory = question.tensor_parallel * (question.nominal_memory_bytes or question.gpu.memory_bytes)
    per_request = float(sequence_bytes(shape, question.context_tokens))
    most = concurrency_ceiling(memory - weights, per_request)
    batch = min(question.batch, most)
    held_s = question.output_tokens * question.step_s
    rate = batch / held_s
    figures = ChainFigures(
        weights_bytes=weights, free_bytes=memory - weights, kv_bytes=per_request, ceiling=most, requests_per_s=rate
    )
    mixed = figures.ceiling_of_mixed_units
    note = "" if mixed == most else f"{mixed} when GB are divided by GiB, as in the printed example"
    steps = (
        Step(name="weights", formula="parameters x bytes per weight", value=weights, unit="bytes"),
        Step(name="KV cache per request", formula="2 L H_kv d_head T b", value=per_request, unit="bytes"),
        Step(
            name="concurrency",
            formula="floor((M_gpu - M_weights) / KV_req)",
            value=most,
            unit="requests",
            note=note,
        ),
        Step(name="batch", formula="min(B, concurrency)", value=batch, unit="requests"),
        Step(name="time in batch", formula="G t_step", value=held_s, unit="s"),
        Step(name="throughput", formula="batch / (G t_step)", value=rate, unit="requests/s per replica"),
    )
    return steps, figures


def _physics_steps(
    question: SeedQuestion, shape: ReplicaShape, lengths: LengthMix, capacity: ReplicaCapacity, scales: Scales
) -> tuple[Step, ...]:
    budget = memory_budget(shape)
    per_request = float(sequence_bytes(shape, question.context_tokens))
    steps = [
        Step(
            name="weights",
            formula="dense and experts in their format, embeddings and head in bf16",
            value=budget.weights_bytes,
            unit="bytes",
        ),
        Step(
            name="KV cache room",
            formula="tp (gpu_memory_utilization x memory - overhead) - weights",
            value=budget.kv_cache_bytes,
            unit="bytes",
        ),
        Step(name="KV cache per request", formula="KV bytes of T tokens", value=per_request, unit="bytes"),
        Step(
            name="concurrency",
            formula="floor(KV cache room / KV cache per request)",
            value=concurrency_ceiling(budget.kv_cache_bytes, per_request),
            unit="requests",
        ),
    ]
    if not capacity.serves:
        return tuple(steps)
    state = load(shape, lengths, scales, capacity.concurrency)
    extension = float(state.extension_s[-1].mean())
    steps += [
        Step(
            name="running",
            formula=f"resident requests where {capacity.binding} binds",
            value=capacity.concurrency,
            unit="requests",
        ),
        Step(name="decode step", formula="step time of that batch", value=float(state.decode_step_s[-1]), unit="s"),
        Step(name="prefill", formula="what one prompt adds to the steps it shares", value=extension, unit="s"),
        Step(
            name="residence",
            formula="(G - 1 + chunks) decode step + running x prefill",
            value=float(state.residence_s[-1]),
            unit="s",
        ),
        Step(
            name="throughput",
            formula="running / residence",
            value=capacity.requests_per_s,
            unit="requests/s per replica",
            note=capacity.sentence,
        ),
    ]
    return tuple(steps)


def _with_replicas(steps: tuple[Step, ...], question: SeedQuestion, rate: float) -> tuple[tuple[Step, ...], int]:
    usable = question.utilisation * rate
    ratio = question.requests_per_s / usable
    replicas = whole_replicas(ratio)
    return (
        *steps,
        Step(name="usable throughput", formula="u x throughput", value=usable, unit="requests/s per replica"),
        Step(name="demand / usable", formula="QPS / (u x throughput)", value=ratio, unit="replicas"),
        Step(name="replicas", formula="ceil(QPS / (u x throughput))", value=replicas, unit="replicas"),
    ), replicas


def _no_room(question: SeedQuestion, figures: ChainFigures) -> str:
    have = figures.free_bytes + figures.weights_bytes
    return (
        f"{question.model.id} in {question.weights} takes {figures.weights_bytes / 1e9:.1f} of {have / 1e9:.1f} GB and "
        f"one request of {floor(question.context_tokens):,} tokens needs {figures.kv_bytes / 1e9:.2f} GB: "
        "use more GPUs for each replica, smaller weights or a shorter context."
    )
