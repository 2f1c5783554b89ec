"""From a row to a question for the physics: which replica, which lengths, which load; or why it cannot be asked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np

from benchmarks.accuracy_parts.naming import engine_family, find_gpu, find_model, weight_format
from benchmarks.accuracy_parts.rows import Row
from benchmarks.accuracy_parts.settings import is_inferencemax, server_settings
from benchmarks.accuracy_parts.split import Side, side
from inferencefleet.domain.capacity import ReplicaShape
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.physics.memory import memory_budget
from inferencefleet.physics.operating import ROUNDS

NODE_GPUS = 8
"""GPUs in one all-reduce group of the catalogue; wider groups span nodes."""
UNIFORM_SPREAD = 0.8
"""InferenceMAX draws both lengths uniformly from 0.8 to 1.0 of the nominal ones, so the mean is 0.9."""
ASSUMED_PROMPT_TOKENS = 512.0
MOST_ROUNDS = 20
"""The first burst is then a twentieth of the run; more rounds change nothing."""
REQUESTS = 16
"""Requests in a sampled length mix."""


class Load(StrEnum):
    """How the run was driven."""

    CLOSED = "closed"
    """A fixed number of clients."""
    OPEN = "open"
    """Arrivals at a rate, whatever the server does."""
    BATCH = "offline-batch"
    """One batch that starts together."""
    STEADY = "steady-batch"
    """A server whose measured mean batch is `concurrency`."""


class Excluded(StrEnum):
    """Why a row is not in the main tables. None of these looks at a measured latency."""

    NO_MEASUREMENT = "no latency and no throughput in the row"
    MODEL = "model not in the catalogue"
    GPU = "GPU not in the catalogue"
    FORMAT = "precision names no number format"
    LOAD = "load is none of closed, open, offline-batch, steady-batch"
    LENGTHS = "no output length"
    PROMPT = "no prompt length: 512 tokens assumed"
    NO_LOAD = "no concurrency (closed, batch) or request rate (open)"
    TP = "no tensor-parallel size and no GPU count: one GPU assumed"
    MEMORY = "the weights do not fit by our own memory model, yet the run exists"
    DISAGGREGATED = "disaggregated prefill and decode"
    ATTENTION_DP = "data-parallel attention"
    EXPERT_PARALLEL = "expert parallelism"
    PIPELINE = "pipeline parallelism"
    GPU_COUNT = "GPUs of the replica differ from its tensor-parallel size"
    TP_SIZE = "tensor parallelism beyond one node, or not a whole number of GPUs"
    SPECULATIVE = "speculative decoding"
    POWER_CAP = "GPUs with a power cap"
    FAILED = "the physics failed or gave no finite number: a bug, see stderr"

    @property
    def is_fatal(self) -> bool:
        """True when there is nothing to ask; else a plain tensor-parallel replica can stand in, in its own table."""
        return self in _FATAL


_FATAL = frozenset(
    {
        Excluded.NO_MEASUREMENT, Excluded.MODEL, Excluded.GPU, Excluded.LOAD,
        Excluded.LENGTHS, Excluded.NO_LOAD, Excluded.DISAGGREGATED, Excluded.FAILED,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row that can be predicted."""

    row: Row
    shape: ReplicaShape
    lengths: LengthMix
    load: Load
    clients: float
    """Of one replica; 0 in an open loop."""
    requests_per_s: float
    """Of one replica; 0 unless open loop."""
    rounds: int
    """Requests that each client of a closed loop sends one after the other."""
    replicas: float
    excluded: Excluded | None
    """Set when the shape is only a stand-in; such cases are kept out of the main tables."""
    side: Side

    @property
    def kind(self) -> str:
        return "MoE" if self.shape.model.moe else "dense"

    @property
    def family(self) -> str:
        return engine_family(self.row.engine)

    @property
    def load_level(self) -> float:
        return self.requests_per_s or self.clients


def lengths_of(row: Row) -> LengthMix:
    """Prompt and output lengths of the run; how they spread is known for some sources only, else all are equal."""
    assert row.osl is not None
    if not row.isl:
        return _constant(ASSUMED_PROMPT_TOKENS, row.osl, 0.0)
    hits = 0.0
    if "kubecon" in row.source and "prefix_caching" in row.engine_version:
        hits = 128 / row.isl if row.isl > 128 else 0.0  # The shared system prompt has 128 tokens (its config.yaml).
    if is_inferencemax(row):
        return _uniform(UNIFORM_SPREAD * row.isl, row.isl, UNIFORM_SPREAD * row.osl, row.osl)
    if "datacrunch" in row.source:
        return _uniform(1.0, 2 * row.isl - 1, 1.0, 2 * row.osl - 1)
    return _constant(row.isl, row.osl, hits)


@lru_cache(maxsize=4096)
def _constant(prompt: float, output: float, hits: float) -> LengthMix:
    return LengthMix(
        prompt_tokens=np.full(1, max(1.0, prompt)), output_tokens=np.full(1, max(1.0, output)), prefix_hit_ratio=hits
    )


@lru_cache(maxsize=4096)
def _uniform(low: float, high: float, output_low: float, output_high: float) -> LengthMix:
    """Stratified levels in unrelated orders; the same on every run."""
    levels = (np.arange(REQUESTS) + 0.5) / REQUESTS
    shuffled = levels[(np.arange(REQUESTS) * 7 + 3) % REQUESTS]
    return LengthMix(
        prompt_tokens=np.maximum(1.0, low + (high - low) * levels),
        output_tokens=np.maximum(1.0, output_low + (output_high - output_low) * shuffled),
    )


def case_of(row: Row, side_of: Callable[[Row], Side] = side) -> Case | Excluded:
    """The question of one row, or the reason why there is none."""
    spec, gpu, load = find_model(row.model), find_gpu(row.gpu), _load(row)
    amount = row.request_rate if load is Load.OPEN else row.concurrency
    if missing := _missing(row, spec is None, gpu is None, load, amount):
        return missing
    assert spec is not None
    assert gpu is not None
    assert load is not None
    assert amount is not None
    tensor_parallel, why = parallelism(row)
    why = why or (None if row.isl else Excluded.PROMPT)
    weights = weight_format(row.precision, row.model, spec)
    if weights is None:
        weights, why = spec.native_weights, why or Excluded.FORMAT
    if weights not in gpu.peak_flops and weights is NumberFormat.NVFP4 and NumberFormat.MXFP4 in gpu.peak_flops:
        weights = NumberFormat.MXFP4  # `fp4` on AMD.
    settings = server_settings(row, spec, gpu)
    shape = ReplicaShape(
        model=spec,
        gpu=gpu,
        tensor_parallel=tensor_parallel,
        weights=weights,
        kv_cache=settings.kv_cache,
        limits=settings.limits,
    )
    if not memory_budget(shape).fits:
        why = why or Excluded.MEMORY
    replicas = row.replicas or 1.0
    return Case(
        row=row,
        shape=shape,
        lengths=lengths_of(row),
        load=load,
        clients=0.0 if load is Load.OPEN else max(1.0, amount / replicas),
        requests_per_s=amount / replicas if load is Load.OPEN else 0.0,
        rounds=_rounds(row),
        replicas=replicas,
        excluded=why,
        side=side_of(row),
    )


def _missing(row: Row, no_model: bool, no_gpu: bool, load: Load | None, amount: float | None) -> Excluded | None:
    """The first thing without which there is nothing to ask."""
    checks = (
        (not _measured(row), Excluded.NO_MEASUREMENT),
        (no_model, Excluded.MODEL),
        (no_gpu, Excluded.GPU),
        (load is None, Excluded.LOAD),
        (row.mode.lower().startswith("disagg"), Excluded.DISAGGREGATED),
        (not row.osl, Excluded.LENGTHS),
        (not amount, Excluded.NO_LOAD),
    )
    return next((reason for is_so, reason in checks if is_so), None)


def parallelism(row: Row) -> tuple[int, Excluded | None]:
    """Tensor-parallel size to ask for, and the reason when that is a stand-in for what really ran.

    A stand-in is a plain tensor-parallel group over the GPUs of the replica, at most one node.
    """
    tp, gpus = row.tp or row.gpus_per_replica, row.gpus_per_replica or row.tp
    if not tp or not gpus:
        return 1, Excluded.TP
    why: Excluded | None = None
    if (number := _flag(row.dp_attn)) is not None and number > 1:
        why = Excluded.ATTENTION_DP
    elif tp > NODE_GPUS or not float(tp).is_integer() or tp < 1:
        why = Excluded.TP_SIZE
    elif (row.ep or 1) > 1:
        why = Excluded.EXPERT_PARALLEL
    elif (row.pp or 1) > 1:
        why = Excluded.PIPELINE
    elif gpus != tp:
        why = Excluded.GPU_COUNT
    elif "pcap" in row.gpu.lower():
        why = Excluded.POWER_CAP
    elif any(word in f"{row.engine_version} {row.note}".lower() for word in ("eagle", "speculative", "mtp", "medusa")):
        why = Excluded.SPECULATIVE
    if why in {None, Excluded.POWER_CAP, Excluded.SPECULATIVE}:
        return int(tp), why
    return max(1, min(NODE_GPUS, round(gpus))), why


def _rounds(row: Row) -> int:
    """From the number of requests where the row has it; InferenceMAX and vLLM's recipes send ten for each client."""
    if not row.n_requests or not row.concurrency:
        return ROUNDS
    return max(1, min(MOST_ROUNDS, round(row.n_requests / row.concurrency)))


def _flag(cell: str) -> float | None:
    """Attention data parallelism as a size: `true` means that there is some."""
    text = cell.strip().lower()
    if text in {"", "false", "no"}:
        return None
    if text in {"true", "yes"}:
        return math.inf
    try:
        return float(text)
    except ValueError:
        return None


def _load(row: Row) -> Load | None:
    text = row.load.strip().lower().replace("_", "-")
    if text:
        return next((load for load in Load if load.value == text), None)
    if row.concurrency:
        return Load.CLOSED
    return Load.OPEN if row.request_rate else None


def _measured(row: Row) -> bool:
    return any(
        (row.ttft_mean_s, row.ttft_p50_s, row.tpot_mean_s, row.tpot_p50_s, row.itl_p50_s,
         row.e2e_mean_s, row.e2e_p50_s, row.req_per_s, row.out_tok_s, row.total_tok_s)
    )  # fmt: skip
