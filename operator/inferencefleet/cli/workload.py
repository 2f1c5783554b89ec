"""What is asked: a model, its traffic and its objectives, from flags, from an InferenceFleet manifest, or from both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inferencefleet.cli.hardware import find_model
from inferencefleet.cli.refusal import Refusal, refuse
from inferencefleet.domain.capacity import EngineLimits, Speculation
from inferencefleet.domain.fleet import EVEN_UTILISATION
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.model import ModelSpec
from inferencefleet.domain.slo import Slo, SloMetric

DEFAULT_MODEL_LEN_TOKENS = 32_768
"""As the operator: longer contexts are rare and cost concurrency, so whoever needs them says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The flags as given; None where one was left out."""

    model: str | None = None
    config: Path | None = None
    file: Path | None = None
    weights: tuple[NumberFormat, ...] | None = None
    kv_cache: NumberFormat | None = None
    tensor_parallel: int | str | None = None
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    gpu_memory_utilization: float | None = None
    rate: float | None = None
    prompt: float | None = None
    prompt_p95: float | None = None
    output: float | None = None
    output_p95: float | None = None
    prefix_hit: float | None = None
    ttft: float | None = None
    itl: float | None = None
    e2e: float | None = None
    percentile: int | None = None
    slo: tuple[Slo, ...] = ()
    headroom: float | None = None

    def slos(self) -> tuple[Slo, ...]:
        """Those of the flags; `--percentile` speaks about --ttft, --itl and --e2e."""
        short = ((SloMetric.TTFT, self.ttft), (SloMetric.ITL, self.itl), (SloMetric.E2E, self.e2e))
        level = self.percentile or 95
        given = [Slo(metric=metric, percentile=level, target_s=value) for metric, value in short if value is not None]
        found: dict[tuple[SloMetric, int], Slo] = {}
        for slo in (*given, *self.slo):
            if (slo.metric, slo.percentile) in found:
                raise refuse("--slo", slo, f"{slo.metric} p{slo.percentile} is given twice; keep one of them")
            found[slo.metric, slo.percentile] = slo
        return tuple(sorted(found.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A model and how the engine is started; what `fit` needs."""

    model: ModelSpec
    weights: tuple[NumberFormat, ...] | None
    """None = as published, and what can be made of that."""
    kv_cache: NumberFormat
    limits: EngineLimits
    tensor_parallel: int | None
    """None = chosen for each GPU type."""
    speculation: Speculation | None = None
    token_budget_fixed: bool = False
    """Whether somebody chose maxNumBatchedTokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """All of it; what `size` and `recommend` need."""

    serving: Serving
    requests_per_s: float
    lengths: LengthMix
    slos: tuple[Slo, ...]
    headroom: float
    """Planned utilisation: what was asked for or declared, else what a plain Service is planned with."""
    headroom_chosen: bool = False
    """Whether somebody chose it."""
    pools: tuple[str, ...] | None = None
    """Names of the pools that the manifest restricts itself to."""


def serving_of(asked: Asked) -> Serving:
    """Raises `Refusal`."""
    if asked.file is not None:
        return _from_file(asked, asked.file).serving
    model = find_model(asked.model, asked.config)
    return _serving(asked, model, EngineLimits(), None)


def workload_of(asked: Asked) -> Workload:
    """Raises `Refusal`, which names everything that is missing at once."""
    if asked.file is not None:
        return _from_file(asked, asked.file)
    needed = (("--rate", asked.rate, "50"), ("--prompt", asked.prompt, "1000"), ("--output", asked.output, "250"))
    missing = [f"{flag}: is missing; give it (for example {flag} {example})" for flag, value, example in needed
               if value is None]  # fmt: skip
    slos = asked.slos()
    if not slos:
        missing.append("--ttft, --itl: at least one objective is needed; give for example --ttft 2s --itl 60ms")
    if missing or asked.rate is None or asked.prompt is None or asked.output is None:
        raise Refusal(*(f"{line}, or -f fleet.yaml" for line in missing))
    serving = serving_of(asked)
    return Workload(
        serving=serving,
        requests_per_s=asked.rate,
        lengths=_lengths(asked, asked.prompt, asked.output, serving),
        slos=slos,
        headroom=asked.headroom or EVEN_UTILISATION,
        headroom_chosen=asked.headroom is not None,
    )


def _lengths(asked: Asked, prompt: float, output: float, serving: Serving) -> LengthMix:
    from inferencefleet.physics.lengths import lognormal_mix

    longest = serving.limits.max_model_len_tokens
    if prompt + output > longest:
        raise refuse(
            "--prompt, --output", f"{prompt:g}, {output:g}",
            f"a mean request of {prompt + output:g} tokens is above --max-model-len, {longest}: most would be refused; "
            f"raise it (up to {serving.model.max_context_tokens}) or correct the lengths",
        )  # fmt: skip
    try:
        return lognormal_mix(
            prompt_mean=prompt,
            prompt_p95=asked.prompt_p95,
            output_mean=output,
            output_p95=asked.output_p95,
            prefix_hit_ratio=asked.prefix_hit or 0.0,
        )
    except ValueError as error:
        given = f"{asked.prompt_p95 or '-'}, {asked.output_p95 or '-'}"
        raise refuse("--prompt-p95, --output-p95", given, f"{error}; raise it to at least the mean") from None


def _serving(asked: Asked, model: ModelSpec, base: EngineLimits, tensor_parallel: int | None) -> Serving:
    length = asked.max_model_len or min(model.max_context_tokens, base.max_model_len_tokens, DEFAULT_MODEL_LEN_TOKENS)
    if length > model.max_context_tokens:
        raise refuse(
            "--max-model-len", length, f"{model.id} was made for {model.max_context_tokens} tokens, and vLLM would "
            "refuse to start; lower it, or leave it out",
        )  # fmt: skip
    limits = EngineLimits(
        gpu_memory_utilization=asked.gpu_memory_utilization or base.gpu_memory_utilization,
        max_num_seqs=asked.max_num_seqs or base.max_num_seqs,
        max_num_batched_tokens=asked.max_num_batched_tokens or base.max_num_batched_tokens,
        max_model_len_tokens=length,
    )
    if limits.max_num_seqs > limits.max_num_batched_tokens:
        raise refuse(
            "--max-num-seqs", limits.max_num_seqs, f"is above --max-num-batched-tokens, "
            f"{limits.max_num_batched_tokens}: every running request needs one token of each step; lower it",
        )  # fmt: skip
    chosen = asked.tensor_parallel
    return Serving(
        model=model,
        weights=asked.weights,
        kv_cache=asked.kv_cache or NumberFormat.BF16,
        limits=limits,
        token_budget_fixed=asked.max_num_batched_tokens is not None,
        tensor_parallel=tensor_parallel if chosen is None else None if isinstance(chosen, str) else chosen,
    )


def _from_file(asked: Asked, path: Path) -> Workload:
    from inferencefleet.cli.manifests import fleet_of

    fleet, spec = fleet_of(path, _overlay(asked))
    # The resolved fleet has every default filled in; a default is no wish.
    declared = (fleet.weights,) if spec["model"].get("weights") else None
    model = find_model(fleet.model.id, asked.config) if asked.config else fleet.model
    serving = _serving(asked, model, fleet.engine.limits, fleet.engine.tensor_parallel)
    return Workload(
        serving=Serving(
            model=model,
            weights=asked.weights or declared,
            kv_cache=asked.kv_cache or fleet.kv_cache,
            limits=serving.limits,
            tensor_parallel=serving.tensor_parallel,
            speculation=fleet.engine.speculation,
            token_budget_fixed=serving.token_budget_fixed or "maxNumBatchedTokens" in (spec.get("engine") or {}),
        ),
        requests_per_s=fleet.expected.requests_per_s,
        lengths=fleet.expected.lengths,
        slos=fleet.slos,
        headroom=asked.headroom or fleet.utilisation_of(1),
        headroom_chosen=(asked.headroom or fleet.scaling.headroom) is not None,
        pools=fleet.pools,
    )


def _overlay(asked: Asked) -> Mapping[str, Any]:
    """The flags that stand for fields of the spec, as a piece of a spec."""
    expected: dict[str, Any] = {}
    _put(expected, ("requestsPerSecond",), asked.rate)
    _put(expected, ("prefixHitRatio",), asked.prefix_hit)
    for name, mean, p95 in (
        ("promptTokens", asked.prompt, asked.prompt_p95),
        ("outputTokens", asked.output, asked.output_p95),
    ):
        _put(expected, (name, "mean"), mean)
        _put(expected, (name, "p95"), p95)
    overlay: dict[str, Any] = {"traffic": {"expected": expected}} if expected else {}
    _put(overlay, ("model", "id"), asked.model)
    _put(overlay, ("model", "maxModelLen"), asked.max_model_len)
    overlay["slo"] = [
        {"metric": str(slo.metric), "percentile": slo.percentile, "target": f"{slo.target_s:.9f}s"}
        for slo in asked.slos()
    ]
    return overlay


def _put(into: dict[str, Any], keys: Sequence[str], value: object) -> None:
    if value is not None:
        for key in keys[:-1]:
            into = into.setdefault(key, {})
        into[keys[-1]] = value
