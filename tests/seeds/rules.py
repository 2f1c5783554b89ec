"""Thresholds, warnings and metric names of the sources, and what the product makes of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from inferencefleet.adapters.prometheus.queries import NAMES
from inferencefleet.api.flags import OWNED_FLAGS
from inferencefleet.api.fleet_v1alpha1 import ScalingBlock
from inferencefleet.catalog import gpu
from inferencefleet.domain.capacity import EngineLimits, ReplicaCapacity, Speculation
from inferencefleet.domain.fleet import AWARE_UTILISATION, EVEN_UTILISATION, ScalingTerms, SpotPolicy, SpotTerms
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.slo import Slo, SloMetric
from inferencefleet.physics.capacity import replica_capacity
from inferencefleet.physics.kv import bytes_per_token
from inferencefleet.physics.lengths import lognormal_mix
from inferencefleet.physics.quick import model_flops_utilisation
from inferencefleet.physics.speculation import LEAST_ACCEPTANCE, MOST_CONCURRENT, warnings
from inferencefleet.physics.tensor_parallel import Question, choose
from tests.builders import a_fleet
from tests.seeds.shapes import BF16, FP8, LLAMA_8B, LLAMA_70B, fixed, shape


class Stance(StrEnum):
    USED = "used"
    """The product does the same."""
    OTHERWISE = "otherwise"
    """The product serves the purpose in another way."""
    WRONG = "wrong"
    """The rule misleads, and the check shows it."""
    NOT_OURS = "not ours"
    """A decision or a component outside the product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    rule: str
    source: str
    stance: Stance
    ours: str
    """What the product does, and why."""
    check: Callable[[], bool] | None = None
    """Whether the product really does that; None for `NOT_OURS` and what has no number."""


def decode_mfu() -> float:
    """MFU of the output tokens of an 8B on an H100 at full chat load."""
    there = shape(LLAMA_8B, "H100-SXM")
    return model_flops_utilisation(there, 250 * replica_capacity(there, fixed(1000, 250), ()).requests_per_s)


def with_token_budget(tokens: int) -> ReplicaCapacity:
    """An 8B on an L40S with long prompts, under this max_num_batched_tokens."""
    there = shape(LLAMA_8B, "L40S")
    slos = (Slo(metric=SloMetric.TTFT, percentile=95, target_s=8.0),)
    limited = replace(there, limits=replace(there.limits, max_num_batched_tokens=tokens))
    return replica_capacity(limited, fixed(6000, 100), slos)


def chosen_size(gpu_name: str, weights: NumberFormat) -> int:
    """Tensor parallelism that the product picks for a 70B."""
    question = Question(
        model=shape(LLAMA_70B, gpu_name).model,
        gpu=gpu(gpu_name),
        weights=weights,
        kv_cache=BF16,
        limits=EngineLimits(max_model_len_tokens=8192),
        lengths=lognormal_mix(prompt_mean=1000, output_mean=250),
        slos=(),
    )
    return choose(question)[0].tensor_parallel


RULES: tuple[Rule, ...] = (
    Rule(
        rule="Plan at a utilisation of 0.7",
        source="S2",
        stance=Stance.OTHERWISE,
        ours=(
            f"Measured: 99 of 100 requests keep the SLO up to {EVEN_UTILISATION:g} of capacity behind an even spread, "
            f"and up to {AWARE_UTILISATION:g} behind a router that knows loads and has many replicas. On top of it "
            "capacity is lowered by its own uncertainty. spec.scaling.headroom: 0.7 gives S2's rule."
        ),
        check=lambda: (
            0.7 < EVEN_UTILISATION < AWARE_UTILISATION
            and a_fleet(scaling=ScalingTerms(headroom=0.7)).utilisation_of(8) == 0.7
        ),
    ),
    Rule(
        rule="KV cache 80-90 % used; below 60 % over-provisioned; above 95 % requests are dropped",
        source="S4",
        stance=Stance.OTHERWISE,
        ours=(
            "Capacity is the load at which the KV cache is full 5 % of the time, from the spread of lengths. A "
            "replica that misses no SLO at 40 % is not wrong. Preempted requests are computed again, not "
            "dropped."
        ),
    ),
    Rule(
        rule="MFU of 65-80 %; below 50 % a batching problem; above 85 % memory-bound",
        source="S4",
        stance=Stance.WRONG,
        ours=(
            "Output tokens of a full replica need 5 to 30 % of the peak. Only prefill comes near 65 %, and high "
            "MFU is compute-bound by definition."
        ),
        check=lambda: 0.02 < decode_mfu() < 0.30,
    ),
    Rule(
        rule="GPU utilisation below 40 %: raise the batch",
        source="S3",
        stance=Stance.OTHERWISE,
        ours="The engine batches whatever arrives; the planner removes replicas instead.",
    ),
    Rule(
        rule="TTFT p95 below 1 s (S4); above 2 s is a fault (S3)",
        source="S3, S4",
        stance=Stance.OTHERWISE,
        ours=(
            "spec.slo, no default: a 30,000-token prompt cannot have what a chat can. Targets out of reach are "
            "refused with the nearest that is not."
        ),
    ),
    Rule(
        rule="30-60 tokens/s for a user feel instant, below 15 is slow: ITL of 17-33 ms, 67 ms at most",
        source="S4",
        stance=Stance.OTHERWISE,
        ours="spec.slo with metric itl; the examples use 60 ms.",
    ),
    Rule(
        rule="HPA: 2 to 8 replicas",
        source="S4",
        stance=Stance.OTHERWISE,
        ours="minReplicas 1, maxReplicas 100; two where one may fail is the user's choice.",
        check=lambda: (ScalingTerms().min_replicas, ScalingTerms().max_replicas) == (1, 100),
    ),
    Rule(
        rule="Scale at 50 queued requests; queue depth near 0 at p95",
        source="S4",
        stance=Stance.OTHERWISE,
        ours=(
            "The two contradict each other. Waiting requests beyond what a healthy queue holds are a backlog "
            "that adds to the demand at once."
        ),
        check=lambda: "waiting" in NAMES,
    ),
    Rule(
        rule="Scale at 75 % DCGM GPU utilisation",
        source="S4",
        stance=Stance.OTHERWISE,
        ours=(
            "Not read: the same text warns that 85 % utilisation goes with 15 % MFU, and it is near 100 % with "
            "one request."
        ),
        check=lambda: not any("DCGM" in name for names in NAMES.values() for name in names),
    ),
    Rule(
        rule="Scale-up window 60 s, at most 2 pods in 120 s",
        source="S4",
        stance=Stance.OTHERWISE,
        ours=(
            "0 s by default: cold starts take minutes, so waiting to be sure costs the SLO. "
            "spec.scaling.behavior changes it."
        ),
        check=lambda: ScalingTerms().scale_up_stabilization_s == 0,
    ),
    Rule(
        rule="Scale-down window 300 s",
        source="S4",
        stance=Stance.USED,
        ours="Default of spec.scaling.behavior.scaleDown.stabilizationWindowSeconds.",
        check=lambda: ScalingTerms().scale_down_stabilization_s == 300,
    ),
    Rule(
        rule="Warm pool of 20 % in the total cost",
        source="S3",
        stance=Stance.OTHERWISE,
        ours="What utilisation and forecast leave free is spare capacity, and it serves; status.cost counts it.",
    ),
    Rule(
        rule="Scale up 15 minutes ahead of traffic",
        source="S3",
        stance=Stance.OTHERWISE,
        ours="The horizon is the measured cold start of the pool considered plus one period.",
        check=lambda: ScalingTerms().horizon_s is None,
    ),
    Rule(
        rule="Never scale an LLM to zero",
        source="S3",
        stance=Stance.USED,
        ours="minReplicas is at least 1.",
        check=lambda: _least(ScalingBlock.model_fields["min_replicas"].metadata) == 1,
    ),
    Rule(
        rule="Cache weights on local NVMe, not on network volumes",
        source="S3",
        stance=Stance.OTHERWISE,
        ours="The cold start is measured, whatever the storage, and planned for.",
    ),
    Rule(
        rule="One GPU if the model fits, else quantise, else tensor parallelism over NVLink only",
        source="S3",
        stance=Stance.USED,
        ours="The smallest size within 10 % of the best requests/s per GPU; over PCIe one GPU whenever it serves. "
        "Quantisation is advised, never done behind the user's back: it changes answers.",
        check=lambda: chosen_size("H200-SXM", FP8) == 1,
    ),
    Rule(
        rule="Plan with dense TFLOPS, not sparse ones",
        source="S3",
        stance=Stance.USED,
        ours="The catalogue has dense peaks: 989 and not 1,979 TFLOPS bf16 for the H100.",
        check=lambda: gpu("H100-SXM").peak_flops[BF16] == 989e12,
    ),
    Rule(
        rule="Plan against p95 and p99 token counts, not the mean",
        source="S2",
        stance=Stance.USED,
        ours="Capacity is computed for the whole distribution of prompt and output lengths.",
        check=lambda: (
            _rate(lognormal_mix(prompt_mean=2000, output_mean=250, prompt_p95=7000)) < 0.97 * _rate(fixed(2000, 250))
        ),
    ),
    Rule(
        rule="Commit for 30 days, hedge for 90, watch 12 months (S2); one-year reservations at 40 % off (S4)",
        source="S2, S4",
        stance=Stance.NOT_OURS,
        ours="They contradict each other, and both are purchases. Pools of capacityType Reserved are what was bought.",
    ),
    Rule(
        rule="Reserve 70 % of the baseline, on demand to p95, spot for batch",
        source="S4",
        stance=Stance.OTHERWISE,
        ours="The plan fills the cheapest pools that keep the SLO: reserved is paid already, so it comes first.",
    ),
    Rule(
        rule="Spot never for real-time traffic",
        source="S1, S4",
        stance=Stance.OTHERWISE,
        ours=(
            "Hedged by default: at most half of the replicas, and only as far as losing any one spot node keeps "
            "the SLO. Never is one word away."
        ),
        check=lambda: SpotTerms().policy is SpotPolicy.HEDGED and SpotTerms().max_fraction == 0.5,
    ),
    Rule(
        rule="An fp8 KV cache takes half",
        source="S3",
        stance=Stance.USED,
        ours="spec.model.kvCache: fp8. Not the default: it costs some quality.",
        check=lambda: (
            bytes_per_token(shape(LLAMA_8B, "L40S").model, BF16)
            == 2 * bytes_per_token(shape(LLAMA_8B, "L40S").model, FP8)
        ),
    ),
    Rule(
        rule="Speculative decoding only at an acceptance of 0.6 or more, and below about 50 concurrent requests",
        source="S4",
        stance=Stance.USED,
        ours="Outside of that the capacity carries a warning.",
        check=lambda: (
            (LEAST_ACCEPTANCE, MOST_CONCURRENT) == (0.6, 50)
            and len(warnings(Speculation(draft_tokens=5, acceptance=0.45), 60)) == 2
            and not warnings(Speculation(draft_tokens=5, acceptance=0.7), 20)
        ),
    ),
    Rule(
        rule="Semantic cache at a similarity of 0.97; cascade below 50 words, or by a heuristic score of 2",
        source="S4",
        stance=Stance.NOT_OURS,
        ours="Gateways do that in front of the engine; what they answer never arrives and is not counted.",
    ),
    Rule(
        rule="gpu_memory_utilization 0.92, max_num_seqs 256, max_num_batched_tokens 8192",
        source="S4",
        stance=Stance.USED,
        ours=(
            "0.90 (the engine's default for long) and the same two; always passed, because defaults differ by version."
        ),
        check=lambda: (
            (
                EngineLimits().gpu_memory_utilization,
                EngineLimits().max_num_seqs,
                EngineLimits().max_num_batched_tokens,
            )
            == (0.90, 256, 8192)
        ),
    ),
    Rule(
        rule="max_chunked_prefill_tokens 512",
        source="S4",
        stance=Stance.WRONG,
        ours="vLLM has no such argument: max_num_batched_tokens is the chunk budget.",
        check=lambda: "--max-num-batched-tokens" in OWNED_FLAGS and "--max-chunked-prefill-tokens" not in OWNED_FLAGS,
    ),
    Rule(
        rule="A higher max_num_batched_tokens gives a higher TTFT",
        source="S4",
        stance=Stance.WRONG,
        ours="The opposite: prompts need fewer steps. It is ITL p99 that rises.",
        check=lambda: (
            with_token_budget(8192).floors_s["ttft_p95"] < with_token_budget(1024).floors_s["ttft_p95"]
            and with_token_budget(8192).latencies_s["itl_p99"] > with_token_budget(1024).latencies_s["itl_p99"]
        ),
    ),
    Rule(
        rule="GPUs are 70-85 % of the cost",
        source="S4",
        stance=Stance.NOT_OURS,
        ours="status.cost counts GPUs, nothing else.",
    ),
    Rule(
        rule="Prompts outnumber output 5 to 1 in retrieval; output tokens cost 3 times as much",
        source="S4",
        stance=Stance.USED,
        ours="Prompts and outputs are counted and priced apart everywhere.",
    ),
)


def _least(metadata: list[object]) -> int | None:
    return next((mark.ge for mark in metadata if hasattr(mark, "ge")), None)


def _rate(lengths: LengthMix) -> float:
    slos = (Slo(metric=SloMetric.TTFT, percentile=95, target_s=0.3),)
    return replica_capacity(shape(LLAMA_8B, "H100-SXM"), lengths, slos).requests_per_s


WARNINGS: tuple[tuple[str, str, str], ...] = (
    ("Averages hide the long-context tail", "S2", "Sizing takes the whole distribution of lengths"),
    ("GPU utilisation is not efficiency", "S4", "It is not read"),
    ("Count prompts and system prompts", "S4", "Prompt lengths come from the engine's histogram, templates included"),
    ("Contiguous KV caches waste 40-60 % (or 60-80 %)", "S4", "vLLM pages its cache; nothing to warn of"),
    ("Speculative decoding fails at high temperature", "S4", "A warning below an acceptance of 0.6"),
    ("Providers answer the same prompt differently", "S1", "Outside: replicas of one fleet are all the same model"),
    ("Spot preemption fails users", "S1", "Hedged spot, replacement on notice, drain"),
    ("Prices halve in a year, contracts do not", "S2", "Listed prices carry a source and a date"),
    ("Sparse TFLOPS", "S3", "Dense in the catalogue"),
    ("Memory size without bandwidth", "S3", "`recommend` ranks by dollars at the SLO, not by memory"),
    (
        "Cold starts are weight I/O",
        "S3",
        "And one to three minutes of engine start beside it, which no faster disk shortens",
    ),
    (
        "A planning estimate is no load test",
        "S2, S3",
        "Confidence and caveats with each capacity; calibration from live metrics",
    ),
    (
        "Calculators without a batch mislead",
        "S3",
        "Also S1's speed (B4) and S3's own benchmark table; ours is called a bound for one request",
    ),
)
"""What the sources warn of, and where the product deals with it."""
