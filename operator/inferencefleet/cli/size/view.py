"""The answer of `size` for people: the result first, then how it came about."""

from __future__ import annotations

from inferencefleet.cli.output import Page, dollars, number
from inferencefleet.cli.size.answer import Fleet, Sized, StepAtCapacity
from inferencefleet.domain.slo import Slo
from inferencefleet.physics.memory import GIB
from inferencefleet.physics.refusals import seconds
from inferencefleet.planning.size import UNCERTAINTY_Z

MOST_SENSITIVITIES = 6
_TERMS = {
    "weights": "weights (dense layers)",
    "experts": "weights (routed experts)",
    "head": "output head",
    "kv_cache": "KV cache reads",
    "prompt_attention": "prompt attention",
    "all_reduce": "all-reduce between GPUs",
    "overhead": "launches and scheduling",
    "launch": "wait for the host (no CUDA graph)",
    "state": "state of linear attention",
    "drafting": "drafting tokens",
}


def show(sized: Sized) -> None:
    page = Page()
    _answer(page, sized)
    if sized.fleet is not None and sized.step is not None:
        _derivation(page, sized, sized.step, sized.fleet)
        _limits(page, sized)
    _objectives(page, sized)
    if len(sized.alternatives) > 1:
        _alternatives(page, sized)
    if sized.sensitivities:
        _sensitivities(page, sized)
    page.heading(f"Confidence: {sized.capacity.confidence}")
    page.items(sized.capacity.caveats)
    page.items(["A planning estimate from physics, not a load test; the operator corrects it by what it measures."])
    page.write()


def _answer(page: Page, sized: Sized) -> None:
    work, shape, fleet = sized.workload, sized.shape, sized.fleet
    page.heading(str(shape))
    page.say(
        f"Traffic: {number(work.requests_per_s)} requests/s, prompts of {work.lengths.mean_prompt_tokens:,.0f} and "
        f"outputs of {work.lengths.mean_output_tokens:,.0f} tokens on average, prefix hits "
        f"{work.lengths.prefix_hit_ratio:.0%}. SLO: {', '.join(str(slo) for slo in work.slos)}."
    )
    page.say("")
    if fleet is None:
        page.say(f"Cannot serve ({sized.capacity.binding}): {sized.capacity.sentence}")
        return
    rows: list[tuple[str, object]] = [
        ("One replica", f"{number(sized.capacity.requests_per_s)} requests/s; {sized.capacity.binding} binds"),
        ("", sized.capacity.sentence),
        (
            "Replicas",
            f"{fleet.replicas} ({fleet.gpus} x {shape.gpu.name}) for {number(work.requests_per_s)} /s",
        ),
    ]
    page.facts([*rows, ("Cost", _cost(sized, fleet))])


def _cost(sized: Sized, fleet: Fleet) -> str:
    price, tokens = sized.price, fleet.tokens
    if price is None or tokens is None:
        return "no price known; give --price, for example --price 2.5"
    return (
        f"{dollars(fleet.usd_per_hour)}/h; {dollars(tokens.usd_per_million_output_tokens)} for a million output "
        f"tokens, {dollars(tokens.usd_per_million_tokens)} for a million tokens with prompts "
        f"({dollars(price.usd_per_gpu_hour)} a GPU and hour, {price.capacity_type}, {price.source})"
    )


def _derivation(page: Page, sized: Sized, step: StepAtCapacity, fleet: Fleet) -> None:
    shape, work, found = sized.shape, sized.workload, sized.capacity
    memory = found.memory
    page.heading("How it came about")
    rows: list[tuple[str, str, str]] = []
    each_gib = shape.gpu.memory_bytes / GIB
    if memory is not None:
        rows += [
            ("memory for vLLM", f"{memory.total_bytes / GIB:.1f} GiB",
             f"{shape.tensor_parallel} x {each_gib:.1f} GiB x {shape.limits.gpu_memory_utilization:g}"),
            ("- weights", f"{memory.weights_bytes / GIB:.1f} GiB", f"{shape.weights}; embeddings and head stay bf16"),
            ("- engine", f"{memory.overhead_bytes / GIB:.1f} GiB", "activations, CUDA graphs, NCCL"),
            ("= KV cache", f"{memory.kv_cache_bytes / GIB:.1f} GiB",
             f"{memory.kv_cache_tokens:,.0f} tokens of {memory.kv_bytes_per_token / 1024:,.0f} KiB"),
            ("a running request", f"{step.resident_bytes / GIB:.3f} GiB",
             f"{step.context_tokens:,.0f} cached tokens at a random moment (long outputs stay longer)"),
        ]  # fmt: skip
    rows.append(("running at capacity", f"{step.decode_seqs:.1f}", "requests that decode together"))
    for name, value in sorted(step.terms_s.items(), key=lambda item: -item[1]):
        rows.append(
            (f"  {_TERMS.get(name, name)}", seconds(value), f"{value / step.decode_step_s:.0%} of a decode step")
        )
    rows += [
        ("decode step", seconds(step.decode_step_s), "the pause between tokens when no prompt is in the step"),
        ("a mean prompt", seconds(step.prefill_s),
         f"added to {step.chunks:.1f} steps; prompts take {step.prefill_share:.0%} of the replica's time"),
        ("time in the batch", seconds(step.residence_s), "first to last token, slowed by the prompts of others"),
        ("capacity", f"{number(found.requests_per_s)} /s", f"the smallest limit: {found.binding}"),
        ("x headroom", f"{work.headroom:g}", "the rest absorbs bursts"),
        ("x uncertainty", f"{fleet.uncertainty:.3f}",
         f"exp(-{UNCERTAINTY_Z:g} sigma), sigma {sized.scales.sigma_log:g} of log(measured / modelled); "
         f"without it {fleet.replicas_without_uncertainty} replicas"),
        ("= planned", f"{number(fleet.planned_requests_per_s)} /s", "what the plan counts on for a replica"),
        ("replicas", f"{fleet.replicas}",
         f"{number(work.requests_per_s)} / {number(fleet.planned_requests_per_s)}, rounded up"),
        ("each then has", f"{number(work.requests_per_s / fleet.replicas)} /s",
         f"{fleet.each.running:.1f} running, ITL mean {seconds(fleet.each.itl_mean_s)}, "
         f"TTFT mean {seconds(fleet.each.ttft_mean_s)}"),
    ]  # fmt: skip
    page.table(("STEP", "VALUE", "FROM"), rows, right=("VALUE",))


def _limits(page: Page, sized: Sized) -> None:
    page.heading("Limits of one replica")
    limits = sorted(sized.capacity.limits_requests_per_s.items(), key=lambda item: item[1])
    page.table(
        ("LIMIT", "REQUESTS/S", ""),
        [(limit, number(rate), "binds" if limit is sized.capacity.binding else "") for limit, rate in limits],
        right=("REQUESTS/S",),
    )


def _objectives(page: Page, sized: Sized) -> None:
    if not sized.capacity.floors_s:
        return
    page.heading("Objectives")
    page.table(
        ("SLO", "ONE REQUEST ALONE", "AT CAPACITY", "TARGET"),
        [_objective(sized, slo) for slo in sized.workload.slos],
        right=("ONE REQUEST ALONE", "AT CAPACITY", "TARGET"),
    )


def _objective(sized: Sized, slo: Slo) -> tuple[str, str, str, str]:
    key = f"{slo.metric}_p{slo.percentile}"
    reached = sized.capacity.latencies_s.get(key)
    return (
        f"{slo.metric} p{slo.percentile}",
        seconds(sized.capacity.floors_s[key]),
        "-" if reached is None else seconds(reached),
        seconds(slo.target_s),
    )


def _alternatives(page: Page, sized: Sized) -> None:
    page.heading("Tensor parallelism")
    page.table(
        ("GPUS", "REQUESTS/S", "FOR EACH GPU", "BINDS", ""),
        [
            (
                shape.tensor_parallel,
                number(capacity.requests_per_s),
                number(capacity.requests_per_s / shape.tensor_parallel),
                capacity.binding,
                "chosen" if shape == sized.shape else "",
            )
            for shape, capacity in sized.alternatives
        ],
        right=("GPUS", "REQUESTS/S", "FOR EACH GPU"),
    )
    if sized.workload.serving.tensor_parallel is None:
        rule = "within 10 % of the best for each GPU" if sized.shape.gpu.nvlink else "that serves, because of PCIe"
        page.say(f"auto takes the smallest {rule}: smaller replicas scale in finer steps.")


def _sensitivities(page: Page, sized: Sized) -> None:
    page.heading("What would change it, strongest first")
    page.items(found.sentence for found in sized.sensitivities[:MOST_SENSITIVITIES])
