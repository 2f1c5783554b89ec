"""InferenceFleet manifest -> `domain.Fleet`: catalogue entries looked up, quantities parsed, defaults resolved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from inferencefleet import catalog
from inferencefleet.api.checks import fleet_problems
from inferencefleet.api.convert_speculative import speculative_terms
from inferencefleet.api.fleet_engine import KvCacheFormat, ModelBlock
from inferencefleet.api.fleet_scaling import BudgetBlock, DirectionBlock, ScalingBlock
from inferencefleet.api.fleet_traffic import ExpectedBlock
from inferencefleet.api.fleet_v1alpha1 import FleetSpec, InferenceFleet
from inferencefleet.api.problems import from_validation, problem
from inferencefleet.api.quantity import parse_duration
from inferencefleet.catalog import Catalogue
from inferencefleet.domain.capacity import EngineLimits
from inferencefleet.domain.fleet import (
    EngineTerms,
    ExpectedTraffic,
    FallbackTerms,
    Fleet,
    FleetKey,
    Problem,
    RatePolicy,
    RateRules,
    ScalingTerms,
    ScheduledTraffic,
    SpeculativeTerms,
    SpotTerms,
)
from inferencefleet.domain.hardware import NumberFormat, weight_format
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.model import ModelSpec
from inferencefleet.domain.slo import Slo
from inferencefleet.economics.dollars import HOURS_PER_MONTH
from inferencefleet.physics.lengths import lognormal_mix

DEFAULT_MODEL_LEN_TOKENS = 32_768
"""Longer contexts are rare and cost concurrency: whoever needs them says so."""


MOST_ARCHITECTURE_BYTES = 65_536
"""A config.json has some kB; more is a list of layers that are not quantised, which nothing here reads."""


def convert_fleet(
    manifest: Mapping[str, Any], key: FleetKey, uid: str, generation: int, catalogue: Catalogue | None = None
) -> Fleet | tuple[Problem, ...]:
    """The fleet, or everything that is wrong with it; models are looked up in `catalogue`, default the built-in."""
    try:
        spec = InferenceFleet.model_validate(manifest).spec
    except ValidationError as error:
        return from_validation(error, "inferencefleet")
    if found := tuple(fleet_problems(key.name, spec)):
        return found
    model = _model(spec.model, catalogue or catalog.built_in())
    if isinstance(model, Problem):
        return (model,)
    length = spec.model.max_model_len or min(model.max_context_tokens, DEFAULT_MODEL_LEN_TOKENS)
    if found := (*_unloadable(spec.model, model), *_too_long(spec, model, length)):
        return found
    lengths, speculative = _lengths(spec.traffic.expected), speculative_terms(spec.engine.speculative, model)
    if isinstance(lengths, Problem) or isinstance(speculative, Problem):
        return tuple(each for each in (lengths, speculative) if isinstance(each, Problem))
    return Fleet(
        key=key,
        uid=uid,
        generation=generation,
        model=model,
        served_name=spec.model.served_name or spec.model.id,
        weights=_weights(spec.model) or model.native_weights,
        kv_cache=NumberFormat.FP8 if spec.model.kv_cache is KvCacheFormat.FP8 else NumberFormat.BF16,
        engine=_engine(spec, length, speculative),
        slos=tuple(
            sorted(
                Slo(metric=slo.metric, percentile=slo.percentile, target_s=parse_duration(slo.target))
                for slo in spec.slo
            )
        ),
        attainment=spec.attainment,
        expected=ExpectedTraffic(requests_per_s=spec.traffic.expected.requests_per_second, lengths=lengths),
        pools=None if spec.placement.pools is None else tuple(sorted(set(spec.placement.pools))),
        spot=SpotTerms(policy=spec.placement.spot.policy, max_fraction=spec.placement.spot.max_fraction),
        scaling=_scaling(spec.scaling),
        schedule=tuple(
            ScheduledTraffic(
                cron=window.cron,
                timezone=window.timezone,
                duration_s=parse_duration(window.duration),
                requests_per_s=window.requests_per_second,
            )
            for window in spec.traffic.schedule
        ),
        routing=spec.traffic.routing,
        traffic_class=spec.traffic.class_,
        priority=spec.priority,
        most_per_hour=_most_per_hour(spec.budget),
    )


def _most_per_hour(budget: BudgetBlock | None) -> float | None:
    """The tighter of both limits."""
    if budget is None:
        return None
    monthly = None if budget.max_monthly is None else budget.max_monthly / HOURS_PER_MONTH
    return min((limit for limit in (budget.max_hourly, monthly) if limit is not None), default=None)


def _model(block: ModelBlock, catalogue: Catalogue) -> ModelSpec | Problem:
    architecture = block.architecture
    try:
        if architecture is None:
            # An alias shares the shapes of its entry, but the engine must load what the user named.
            return replace(catalogue.model(block.id), id=block.id)
        if (size := len(json.dumps(architecture, default=str))) > MOST_ARCHITECTURE_BYTES:
            rule = f"has {size} bytes, and at most {MOST_ARCHITECTURE_BYTES} are read; leave out long lists of layers"
            return problem(
                "spec.model.architecture", ", ".join(sorted(architecture)), rule, code="UnsupportedArchitecture"
            )
        return catalogue.models.describe(block.id, architecture, "spec.model.architecture")
    except catalog.UnknownModel as error:
        field = "spec.model.id" if architecture is None else "spec.model.architecture"
        way_out = "In the spec this is spec.model.architecture: the model's config.json as YAML."
        value = block.id if architecture is None else architecture.get("like")
        return problem(field, value, f"{error} {way_out}", code="UnknownModel")
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
        # A config.json is free-form: whatever is wrong in it must end here, as a sentence.
        says = str(error) if isinstance(error, ValueError) else f"cannot be read ({type(error).__name__}: {error})"
        return problem(
            "spec.model.architecture", ", ".join(sorted(architecture or ())), says, code="UnsupportedArchitecture"
        )


def _weights(block: ModelBlock) -> NumberFormat | None:
    return None if block.weights is None else weight_format(block.weights)


def _unloadable(block: ModelBlock, model: ModelSpec) -> tuple[Problem, ...]:
    """vLLM loads a checkpoint in its own format and converts bf16 to fp8; anything else needs another checkpoint."""
    native = model.native_weights
    asked = _weights(block)
    if asked in {None, native} or (native is NumberFormat.BF16 and asked is NumberFormat.FP8):
        return ()
    rule = (
        f"the checkpoint {block.id} is {native}, and vLLM converts on load from bf16 to fp8 only; name a checkpoint "
        f"that is published in {block.weights} in spec.model.id, or leave spec.model.weights out"
    )
    return (problem("spec.model.weights", block.weights, rule),)


def _too_long(spec: FleetSpec, model: ModelSpec, length: int) -> tuple[Problem, ...]:
    if length > model.max_context_tokens:
        return (
            problem(
                "spec.model.maxModelLen",
                length,
                f"is above the {model.max_context_tokens} tokens that {model.id} was made for, and vLLM would refuse "
                f"to "
                "start; lower it, or leave it out.",
            ),
        )
    expected = spec.traffic.expected
    mean = expected.prompt_tokens.mean + expected.output_tokens.mean
    if mean > length:
        most = model.max_context_tokens
        raising = f"Raise maxModelLen (up to {most}), or " if length < most else f"{model.id} takes no more: "
        return (
            problem(
                "spec.traffic.expected",
                f"{mean:g}",
                f"the mean prompt and output together are {mean:g} tokens, above spec.model.maxModelLen, {length}: "
                f"most requests would be refused. {raising}correct the lengths.",
            ),
        )
    return ()


def _lengths(expected: ExpectedBlock) -> LengthMix | Problem:
    prompt, output = expected.prompt_tokens, expected.output_tokens
    try:
        return lognormal_mix(
            prompt_mean=prompt.mean,
            prompt_p95=prompt.p95,
            prompt_p99=prompt.p99,
            output_mean=output.mean,
            output_p95=output.p95,
            output_p99=output.p99,
            prefix_hit_ratio=expected.prefix_hit_ratio,
        )
    except ValueError as error:
        return problem("spec.traffic.expected", f"{prompt.mean:g}/{output.mean:g}", str(error))


def _engine(spec: FleetSpec, model_len_tokens: int, speculative: SpeculativeTerms | None) -> EngineTerms:
    engine = spec.engine
    size = engine.tensor_parallel_size
    return EngineTerms(
        image=engine.image,
        tensor_parallel=None if size == "auto" else size,
        limits=EngineLimits(
            gpu_memory_utilization=engine.gpu_memory_utilization,
            max_num_seqs=engine.max_num_seqs,
            max_num_batched_tokens=engine.max_num_batched_tokens,
            max_model_len_tokens=model_len_tokens,
        ),
        prefix_caching=engine.prefix_caching,
        speculative=speculative,
        extra_args=tuple(engine.extra_args),
        env=tuple(MappingProxyType(variable.to_json()) for variable in engine.env),
        drain_s=parse_duration(spec.scaling.drain),
        startup_s=parse_duration(spec.scaling.startup),
    )


def _scaling(block: ScalingBlock) -> ScalingTerms:
    default = ScalingTerms()
    up = block.behavior.scale_up.stabilization_window_seconds
    down = block.behavior.scale_down.stabilization_window_seconds
    return ScalingTerms(
        mode=block.mode,
        min_replicas=block.min_replicas,
        max_replicas=block.max_replicas,
        headroom=block.headroom,
        scale_up_stabilization_s=default.scale_up_stabilization_s if up is None else float(up),
        scale_down_stabilization_s=default.scale_down_stabilization_s if down is None else float(down),
        up=_rates(block.behavior.scale_up),
        down=_rates(block.behavior.scale_down),
        fallback=FallbackTerms(behavior=block.fallback.behavior, replicas=block.fallback.replicas),
        horizon_s=None if block.horizon == "auto" else parse_duration(block.horizon),
    )


def _rates(block: DirectionBlock) -> RateRules:
    return RateRules(
        select=block.select_policy,
        policies=tuple(
            RatePolicy(unit=policy.type, value=policy.value, period_s=float(policy.period_seconds))
            for policy in block.policies or ()
        ),
        tolerance=block.tolerance,
    )
