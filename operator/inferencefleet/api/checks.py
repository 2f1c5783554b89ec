"""The cross-field rules of both kinds in Python.

The API server enforces the same rules by CEL; manifests that never met an API server (offline planning, objects stored
under an older CRD) meet them here. `tests/contract/test_crds.py` holds both to the same table of bad manifests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from inferencefleet.api.flags import OWNED_FLAGS, flag_of
from inferencefleet.api.fleet_engine import NEEDS_NO_DRAFTER, EngineBlock, SpeculativeBlock
from inferencefleet.api.fleet_scaling import ScalingBlock
from inferencefleet.api.fleet_traffic import LengthBlock, ScheduleBlock
from inferencefleet.api.fleet_v1alpha1 import FleetSpec
from inferencefleet.api.pool_v1alpha1 import PoolSpec
from inferencefleet.api.problems import problem
from inferencefleet.api.quantity import parse_duration
from inferencefleet.api.schedule import cron_fault, zone_fault
from inferencefleet.domain.fleet import FallbackBehavior, Problem
from inferencefleet.domain.pool import CapacityType

NAME_PATTERN = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
LONGEST_WINDOW_S = 7 * 86_400.0


def name_problems(name: str) -> Iterator[Problem]:
    if not NAME_PATTERN.fullmatch(name):
        yield problem(
            "metadata.name",
            name,
            "becomes part of the names of Services and Deployments; use at most 40 lower-case letters, digits and "
            "dashes, "
            "starting with a letter.",
        )


def fleet_problems(name: str, spec: FleetSpec) -> Iterator[Problem]:
    """Every rule that a well-typed fleet can still break."""
    yield from name_problems(name)
    if name == "vllm":
        yield problem(
            "metadata.name",
            name,
            "a Service named vllm sets VLLM_PORT in other pods and breaks them; use another name.",
        )
    yield from _slo_problems(spec)
    yield from _engine_problems(spec)
    expected = spec.traffic.expected
    yield from _length_problems("promptTokens", expected.prompt_tokens)
    yield from _length_problems("outputTokens", expected.output_tokens)
    if expected.prefix_hit_ratio > 0 and not spec.engine.prefix_caching:
        yield problem(
            "spec.traffic.expected.prefixHitRatio",
            expected.prefix_hit_ratio,
            "spec.engine.prefixCaching is false, and without the cache nothing is hit; set prefixHitRatio to 0 or "
            "prefixCaching to true.",
        )
    for index, window in enumerate(spec.traffic.schedule):
        yield from _schedule_problems(f"spec.traffic.schedule[{index}]", window)
    yield from _scaling_problems(spec.scaling)
    if spec.budget is not None and spec.budget.max_hourly is None and spec.budget.max_monthly is None:
        yield problem("spec.budget", {}, "is empty; give maxHourly or maxMonthly, or leave budget out.")


def _scaling_problems(scaling: ScalingBlock) -> Iterator[Problem]:
    if scaling.min_replicas > scaling.max_replicas:
        yield problem(
            "spec.scaling.minReplicas",
            scaling.min_replicas,
            f"is above maxReplicas, {scaling.max_replicas}; lower minReplicas or raise maxReplicas.",
        )
    if parse_duration(scaling.startup) < 60:
        yield problem(
            "spec.scaling.startup",
            scaling.startup,
            "is too short: no vLLM serves within a minute, and the container would be restarted for ever; give at "
            "least 1m.",
        )
    if parse_duration(scaling.drain) > 3600:
        yield problem(
            "spec.scaling.drain",
            scaling.drain,
            "is too long: replicas that leave would hold their GPUs as long; give at most 1h.",
        )
    fallback = scaling.fallback
    if fallback.behavior is FallbackBehavior.STATIC and fallback.replicas is None:
        yield problem(
            "spec.scaling.fallback.behavior",
            fallback.behavior.value,
            "needs spec.scaling.fallback.replicas; say how many there should be while metrics are missing.",
        )
    if fallback.behavior is not FallbackBehavior.STATIC and fallback.replicas is not None:
        yield problem(
            "spec.scaling.fallback.replicas",
            fallback.replicas,
            f"is not used by behavior {fallback.behavior}; remove it, or set behavior to static.",
        )


def _schedule_problems(field: str, window: ScheduleBlock) -> Iterator[Problem]:
    if (fault := cron_fault(window.cron)) is not None:
        yield problem(
            f"{field}.cron",
            window.cron,
            f"{fault}; write five cron fields that some day meets, for example 30 7 * * MON-FRI.",
        )
    if (fault := zone_fault(window.timezone)) is not None:
        yield problem(f"{field}.timezone", window.timezone, f"{fault}; write an IANA name, for example Europe/Berlin.")
    if not 60 <= parse_duration(window.duration) <= LONGEST_WINDOW_S:
        yield problem(
            f"{field}.duration", window.duration, "is out of range; a window lasts from 1m to 168h, which is a week."
        )


def pool_problems(name: str, spec: PoolSpec) -> Iterator[Problem]:
    """Every rule that a well-typed pool can still break."""
    yield from name_problems(name)
    gpu = spec.gpu
    if spec.capacity_type is CapacityType.RESERVED:
        if spec.limits.gpus is None:
            yield problem(
                "spec.capacityType",
                spec.capacity_type.value,
                "needs limits.gpus: a reserved GPU counts as free, so without the size of the reservation the plan "
                "would "
                "put everything there; set limits.gpus to the number of GPUs you reserved.",
            )
        elif 0 < spec.limits.gpus < gpu.per_node:
            yield problem(
                "spec.limits.gpus",
                spec.limits.gpus,
                f"is less than one node of {gpu.per_node} GPUs; lower gpu.perNode to what a node really has.",
            )
    if spec.spot is not None and spec.capacity_type is not CapacityType.SPOT:
        yield problem(
            "spec.spot",
            spec.spot.notice,
            f"is only for capacityType Spot, and this pool is {spec.capacity_type}; remove spot or change "
            f"capacityType.",
        )
    if parse_duration(spec.provisioning.p50) > parse_duration(spec.provisioning.p95):
        yield problem(
            "spec.provisioning.p95",
            spec.provisioning.p95,
            f"is below p50, {spec.provisioning.p50}; half of all nodes come within p50, so p95 is at least that.",
        )
    for index, toleration in enumerate(spec.nodes.tolerations):
        if not toleration.key:
            yield problem(
                f"spec.nodes.tolerations[{index}].key",
                "",
                "a toleration without a key tolerates every taint, also those of nodes that are about to go; name the "
                "key, "
                "for example nvidia.com/gpu.",
            )


def _slo_problems(spec: FleetSpec) -> Iterator[Problem]:
    seen = set()
    for index, slo in enumerate(spec.slo):
        field = f"spec.slo[{index}]"
        if (slo.metric, slo.percentile) in seen:
            yield problem(
                field,
                f"{slo.metric} p{slo.percentile}",
                "is declared twice; keep one target for each metric and percentile.",
            )
        seen.add((slo.metric, slo.percentile))
        if parse_duration(slo.target) == 0:
            yield problem(f"{field}.target", slo.target, "must be longer than zero; write for example 800ms or 2s.")


def _engine_problems(spec: FleetSpec) -> Iterator[Problem]:
    engine = spec.engine
    if engine.max_num_seqs > engine.max_num_batched_tokens:
        yield problem(
            "spec.engine.maxNumSeqs",
            engine.max_num_seqs,
            f"is above maxNumBatchedTokens, {engine.max_num_batched_tokens}; every running request needs one token of "
            f"each "
            "step, so lower maxNumSeqs or raise maxNumBatchedTokens.",
        )
    if engine.speculative is not None:
        yield from _speculative_problems(engine, engine.speculative)
    for index, argument in enumerate(engine.extra_args):
        if (cure := OWNED_FLAGS.get(flag_of(argument))) is not None:
            yield problem(f"spec.engine.extraArgs[{index}]", argument, f"is refused as an extra argument: {cure}.")


def _speculative_problems(engine: EngineBlock, block: SpeculativeBlock) -> Iterator[Problem]:
    needs_none = block.method in NEEDS_NO_DRAFTER
    if not needs_none and block.model is None:
        yield problem(
            "spec.engine.speculative.method",
            block.method.value,
            "needs a drafter; name it in spec.engine.speculative.model (a Hugging Face id), or use ngram, which drafts "
            "from the prompt.",
        )
    if needs_none and block.model is not None:
        yield problem(
            "spec.engine.speculative.model",
            block.model,
            f"is not used by method {block.method}; remove it, or choose eagle, eagle3, medusa or draft_model.",
        )
    most = engine.max_num_batched_tokens // engine.max_num_seqs - 1
    if block.tokens > most:
        yield problem(
            "spec.engine.speculative.tokens",
            block.tokens,
            f"is more than a step can verify: {engine.max_num_seqs} requests (maxNumSeqs) with so many drafts each, "
            f"and one token of their own, are above maxNumBatchedTokens, {engine.max_num_batched_tokens}; lower tokens "
            f"or maxNumSeqs.",
        )


def _length_problems(name: str, lengths: LengthBlock) -> Iterator[Problem]:
    field = f"spec.traffic.expected.{name}"
    if lengths.p95 is not None and lengths.p95 < lengths.mean:
        yield problem(
            f"{field}.p95",
            lengths.p95,
            f"is below the mean, {lengths.mean:g}; raise p95 to at least that, or leave it out.",
        )
    below = lengths.p95 if lengths.p95 is not None else lengths.mean
    if lengths.p99 is not None and lengths.p99 < below:
        yield problem(f"{field}.p99", lengths.p99, f"is below p95 or the mean, {below:g}; raise p99, or leave it out.")
