"""The answer of `recommend` for programs and for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inferencefleet.cli import documents
from inferencefleet.cli.output import Page, dollars, number, rounded
from inferencefleet.cli.workload import Workload
from inferencefleet.economics.dollars import TokenPrices
from inferencefleet.economics.reasons import caveats, reason, workflow
from inferencefleet.economics.recommend import Candidate, Recommendation, Standing

_NUMBERS = ("REPLICAS", "GPUS", "$/HOUR", "$/M OUT", "TOKENS/$", "REQ/S PER GPU")
_HEAD = ("GPU", "TP", "WEIGHTS", *_NUMBERS, "STEP TOKENS", "CONFIDENCE", "WHY")
_RIGHT = ("TP", *_NUMBERS, "STEP TOKENS")
SHOWN_APART = 3


def document(found: Recommendation, workload: Workload) -> dict[str, Any]:
    """Keys as documented in docs/cli.md."""
    return {
        "kind": "Recommendation",
        "model": workload.serving.model.id,
        "traffic": documents.traffic(workload),
        "slo": documents.objectives(workload.slos),
        "workflow": [{"step": name, "finding": finding} for name, finding in workflow(found)],
        **{
            name: [_candidate(found, candidate) for candidate in candidates]
            for name, candidates in (
                ("ranked", found.ranked),
                ("otherCheckpoints", found.other_checkpoints),
                ("otherSizes", found.other_sizes),
                ("unpriced", found.unpriced),
                ("refused", found.refused),
            )
        },
    }


def _candidate(found: Recommendation, candidate: Candidate) -> dict[str, Any]:
    price, shape = candidate.price, candidate.shape
    return {
        "gpu": shape.gpu.name,
        "tensorParallelSize": shape.tensor_parallel,
        "weights": str(shape.weights),
        "checkpoint": str(candidate.checkpoint),
        "maxNumBatchedTokens": candidate.token_budget,
        "standing": str(candidate.standing),
        "reason": reason(found, candidate),
        "replicas": candidate.replicas,
        "gpus": candidate.gpus or None,
        **documents.cost(candidate.usd_per_hour, candidate.tokens),
        "requestsPerSecond": rounded(candidate.capacity.requests_per_s),
        "plannedRequestsPerSecond": rounded(candidate.planned_requests_per_s),
        "plannedRequestsPerSecondPerGPU": rounded(candidate.planned_per_gpu),
        "plannedShare": rounded(found.request.planned_share(shape)),
        "usedShare": rounded(candidate.used),
        "bindingLimit": str(candidate.capacity.binding),
        "usdPerGPUHour": None if price is None else price.usd_per_gpu_hour,
        "capacityType": None if price is None else str(price.capacity_type),
        "priceSource": None if price is None else price.source,
        "confidence": str(candidate.capacity.confidence),
        "caveats": list(caveats(candidate)),
    }


def show(found: Recommendation, workload: Workload, top: int, *, every: bool) -> None:
    page = Page()
    page.heading(f"{workload.serving.model.id}, {number(workload.requests_per_s)} requests/s")
    page.facts((f"{place}. {name}", finding) for place, (name, finding) in enumerate(workflow(found), 1))
    if found.ranked:
        page.heading("Ranked by dollars per hour")
        _table(page, found, found.ranked if every else found.ranked[:top])
        if len(found.ranked) > top and not every:
            page.say(f"{len(found.ranked) - top} more: --top {len(found.ranked)}")
    else:
        page.heading("Nothing can be ranked")
        page.say("No GPU with a known price serves this; see below, and give --price GPU=USD.")
    apart = found.other_checkpoints if every else _cheaper_elsewhere(found)
    if apart:
        page.heading("With another checkpoint")
        _table(page, found, apart)
    if found.unpriced:
        page.heading("Without a price")
        page.table(
            ("GPU", "TP", "WEIGHTS", "GPUS", "WHY"),
            [
                (*_named(candidate), candidate.gpus, reason(found, candidate))
                for candidate in (found.unpriced if every else _best_of_each(found))
            ],
            right=("TP", "GPUS"),
        )
    _notes(page, found, top)
    if every and found.other_sizes:
        page.heading("Other sizes")
        _reasons(page, found, found.other_sizes)
    refused = found.refused if every else _one_of_each(found)
    if refused:
        page.heading("Out of the question")
        _reasons(page, found, refused)
    page.write()


def _token_prices(tokens: TokenPrices | None) -> tuple[str, str]:
    if tokens is None:
        return dollars(None), "-"
    each = tokens.output_tokens_per_usd
    return dollars(tokens.usd_per_million_output_tokens), "-" if each is None else f"{each:,.0f}"


def _table(page: Page, found: Recommendation, candidates: Sequence[Candidate]) -> None:
    rows = [
        (
            *_named(candidate),
            candidate.replicas,
            candidate.gpus,
            dollars(candidate.usd_per_hour),
            *_token_prices(candidate.tokens),
            number(candidate.planned_per_gpu),
            candidate.token_budget,
            candidate.capacity.confidence,
            reason(found, candidate),
        )
        for candidate in candidates
    ]
    page.table(_HEAD, rows, right=_RIGHT)


def _reasons(page: Page, found: Recommendation, candidates: Sequence[Candidate]) -> None:
    rows = [(*_named(candidate), reason(found, candidate)) for candidate in candidates]
    page.table(("GPU", "TP", "WEIGHTS", "WHY"), rows, right=("TP",))


def _named(candidate: Candidate) -> tuple[str, int, str]:
    return candidate.shape.gpu.name, candidate.shape.tensor_parallel, str(candidate.shape.weights)


def _cheaper_elsewhere(found: Recommendation) -> Sequence[Candidate]:
    """Only those that would beat the best of the ranking: the others teach nothing."""
    best = found.best
    if best is None or best.usd_per_hour is None:
        return found.other_checkpoints[:SHOWN_APART]
    limit = best.usd_per_hour
    return [candidate for candidate in found.other_checkpoints if (candidate.usd_per_hour or 0.0) < limit][:SHOWN_APART]


def _best_of_each(found: Recommendation) -> Sequence[Candidate]:
    """For each GPU type without a price the formats at hand that do most; they are sorted."""
    best: dict[str, Candidate] = {}
    for candidate in found.unpriced:
        if candidate.shape.weights in found.request.formats:
            best.setdefault(candidate.shape.gpu.name, candidate)
    return tuple(best.values())


def _one_of_each(found: Recommendation) -> Sequence[Candidate]:
    """For each GPU type that is in no list above the refusal that came closest."""
    served = {candidate.shape.gpu.name for candidate in (*found.ranked, *found.unpriced)}
    closest: dict[str, Candidate] = {}
    for candidate in found.refused:
        name = candidate.shape.gpu.name
        if name not in served and candidate.shape.weights in found.request.formats:
            closest[name] = min(closest.get(name, candidate), candidate, key=_distance)
    return tuple(closest.values())


def _distance(candidate: Candidate) -> tuple[int, float]:
    """How far a refused candidate is from serving: only PCIe in its way, too slow alone, too small."""
    if candidate.standing is Standing.PCIE:
        return 0, -candidate.planned_per_gpu
    if candidate.standing is Standing.SLO_UNREACHABLE:
        return 1, -float(candidate.shape.tensor_parallel)
    memory = candidate.capacity.memory
    return 2, 0.0 if memory is None else -memory.kv_cache_bytes


def _notes(page: Page, found: Recommendation, top: int) -> None:
    """Prices of what is shown, and what to know of the best and of the GPUs beside it."""
    shown = found.ranked[:top]
    prices = dict.fromkeys(
        f"{candidate.shape.gpu.name} ${candidate.price.usd_per_gpu_hour:g}: {candidate.price.capacity_type}, "
        f"{candidate.price.source}"
        for candidate in shown
        if candidate.price is not None
    )
    if prices:
        page.heading("Prices of a GPU and hour")
        page.items(prices)
    if found.best is not None:
        page.heading("Caveats of the first")
        page.items([*caveats(found.best), "A planning estimate from physics, not a load test."])
    if any(candidate.token_budget != found.request.limits.max_num_batched_tokens for candidate in shown):
        page.say("STEP TOKENS is spec.engine.maxNumBatchedTokens: smaller steps keep prompts from delaying tokens.")
