"""Why a candidate is where it is in a recommendation: what won, and for each other how many times dearer and why."""

from __future__ import annotations

from inferencefleet.domain.capacity import Confidence
from inferencefleet.economics.formats import Checkpoint, quality_of
from inferencefleet.economics.recommend import Candidate, Recommendation, Standing
from inferencefleet.physics.kv import sequence_bytes
from inferencefleet.physics.memory import GIB
from inferencefleet.physics.residence import resident_context_tokens
from inferencefleet.physics.weights import parameters

NOTEWORTHY = 0.1
"""A factor within 10 % of 1 explains nothing."""


def reason(recommendation: Recommendation, candidate: Candidate) -> str:
    """One sentence; numbers compare with the best of the ranking."""
    best = recommendation.best
    if candidate.standing is Standing.NO_PRICE:
        return f"{_planned(candidate)}; no price known, give --price {candidate.shape.gpu.name}=USD"
    if candidate.standing is Standing.PCIE:
        return (
            f"tensor parallelism over PCIe is for emergencies: it would do {_planned(candidate)}; --force-pcie ranks it"
        )
    if not candidate.capacity.serves:
        return candidate.capacity.sentence
    if candidate.standing is Standing.LARGER_THAN_NEEDED:
        return _other_size(recommendation, candidate)
    if best is None or candidate == best:
        return _winner(candidate)
    return _against(candidate, best)


def caveats(candidate: Candidate) -> tuple[str, ...]:
    """What to know before money is spent on this candidate."""
    found = []
    gpu = candidate.shape.gpu
    if gpu.note:
        found.append(f"{gpu.name}: {gpu.note}")
    if candidate.checkpoint is not Checkpoint.PUBLISHED:
        quality = quality_of(candidate.shape.model, candidate.shape.weights)
        found.append(f"{candidate.shape.weights} weights: {candidate.checkpoint}; {quality}")
    return (*found, *candidate.capacity.caveats)


def workflow(recommendation: Recommendation) -> tuple[tuple[str, str], ...]:
    """The seven steps with what each found."""
    request = recommendation.request
    model, lengths = request.model, request.lengths
    everybody = (
        *recommendation.ranked, *recommendation.other_checkpoints, *recommendation.other_sizes,
        *recommendation.unpriced, *recommendation.refused,
    )  # fmt: skip
    serving = [candidate for candidate in everybody if candidate.capacity.serves]
    count = parameters(model)
    context = resident_context_tokens(lengths)[0]
    objectives = ", ".join(str(slo) for slo in request.slos)
    found = [
        (
            "workload",
            f"{request.requests_per_s:g} requests/s, {lengths.mean_prompt_tokens:,.0f} prompt and "
            f"{lengths.mean_output_tokens:,.0f} output tokens on average; {objectives}",
        ),
        (
            "model + context",
            f"{count.total / 1e9:.1f} B parameters ({count.active / 1e9:.1f} B active) in {model.native_weights}; "
            f"a running request holds {_request_gib(recommendation, context):.3f} GiB of KV cache",
        ),
        ("memory fit", _memory_fit(everybody)),
    ]
    if serving:
        fastest = max(serving, key=lambda candidate: candidate.planned_per_gpu)
        found.append(
            (
                "throughput",
                f"most for each GPU: {fastest.shape.weights} on {_where(fastest)}, {fastest.planned_per_gpu:.3g} "
                f"requests/s planned ({request.planned_share(fastest.shape):.0%} of the capacity)",
            )
        )
    found.append(("latency", _latency(everybody)))
    found.append(("hardware", _hardware(everybody, forced=request.force_pcie)))
    if recommendation.ranked:
        found.append(("cost", _cost(recommendation.ranked)))
    return tuple(found)


def _cost(ranked: tuple[Candidate, ...]) -> str:
    """The cheapest; and, where its constants are a guess, the cheapest whose constants are not."""
    text = _priced(ranked[0])
    if ranked[0].capacity.confidence is Confidence.LOW:
        surer = next((other for other in ranked if other.capacity.confidence is not Confidence.LOW), None)
        text += "; of low confidence"
        text += f", the cheapest that is surer: {_priced(surer)}" if surer else ", as everything here"
    return text


def _priced(candidate: Candidate) -> str:
    dollars = f"${candidate.usd_per_hour or 0.0:,.2f} an hour"
    return f"{candidate.shape.weights} on {_where(candidate)}, {candidate.replicas} replicas, {dollars}"


def _request_gib(recommendation: Recommendation, context: float) -> float:
    everybody = (*recommendation.ranked, *recommendation.unpriced, *recommendation.refused)
    return float(sequence_bytes(everybody[0].shape, context)) / GIB if everybody else 0.0


def _memory_fit(everybody: tuple[Candidate, ...]) -> str:
    fitting = [candidate for candidate in everybody if candidate.standing is not Standing.DOES_NOT_FIT]
    if not fitting:
        return f"none of {len(everybody)} combinations holds it"
    least = min(fitting, key=lambda candidate: candidate.shape.tensor_parallel * candidate.shape.gpu.memory_bytes)
    smallest = f"{least.shape.weights} on {_where(least)}"
    return f"{len(fitting)} of {len(everybody)} combinations hold it; the smallest is {smallest}"


def _latency(everybody: tuple[Candidate, ...]) -> str:
    fitting = [candidate for candidate in everybody if candidate.standing is not Standing.DOES_NOT_FIT]
    missed = [candidate for candidate in fitting if candidate.standing is Standing.SLO_UNREACHABLE]
    if not missed:
        return "every combination that fits reaches the objectives with one request alone"
    example = missed[0]
    return (
        f"{len(missed)} of {len(fitting)} that fit miss an objective even with one request alone "
        f"({example.shape.weights} on {_where(example)}, for one)"
    )


def _hardware(everybody: tuple[Candidate, ...], *, forced: bool) -> str:
    rule = "one GPU where it serves, smaller weights next, then tensor parallelism within NVLink"
    over_pcie = dict.fromkeys(
        candidate.shape.gpu.name for candidate in everybody if candidate.standing is Standing.PCIE
    )
    if forced:
        return f"{rule}; over PCIe too, because that is forced"
    names = ", ".join(list(over_pcie)[:3]) + (f" and {len(over_pcie) - 3} more" if len(over_pcie) > 3 else "")
    return f"{rule}; not over PCIe ({names})" if over_pcie else rule


def _winner(candidate: Candidate) -> str:
    return f"cheapest: {_planned(candidate)}; {candidate.capacity.binding} binds{_idle(candidate)}"


def _against(candidate: Candidate, best: Candidate) -> str:
    """Dollars are price / requests of a GPU / use of whole replicas: say which of the three makes the difference."""
    if not best.usd_per_hour or candidate.usd_per_hour is None or candidate.price is None or best.price is None:
        return _planned(candidate)
    speed = candidate.planned_per_gpu / best.planned_per_gpu
    price = candidate.price.usd_per_gpu_hour / best.price.usd_per_gpu_hour
    parts = [f"{speed:.2g}x the requests of a GPU"]
    if abs(price - 1) > 0.005:
        parts.append(f"at {price:.2g}x the price")
    binding = f"; {candidate.capacity.binding} binds"
    idle = _idle(candidate) if candidate.used < best.used * (1 - NOTEWORTHY) else ""
    times = candidate.usd_per_hour / best.usd_per_hour
    head = f"{times:.2f}x dearer" if times > 1.005 else "as cheap" if times > 0.995 else f"{1 - times:.0%} cheaper"
    return f"{head}: {' '.join(parts)}{binding}{idle}"


def _other_size(recommendation: Recommendation, candidate: Candidate) -> str:
    key = (candidate.shape.gpu.name, candidate.shape.weights)
    chosen = next(
        other
        for other in (*recommendation.ranked, *recommendation.other_checkpoints)
        if (other.shape.gpu.name, other.shape.weights) == key
    )
    size, idle = chosen.shape.tensor_parallel, _idle(candidate)
    times = (candidate.usd_per_hour or 0.0) / chosen.usd_per_hour if chosen.usd_per_hour else 1.0
    if times < 1:
        return f"{1 - times:.0%} cheaper than TP {size}, which scales in finer steps{idle}"
    instead = f"{candidate.planned_per_gpu:.3g} instead of {chosen.planned_per_gpu:.3g}"
    return f"{times:.2f}x the dollars of TP {size}: {instead} requests/s for each GPU{idle}"


def _idle(candidate: Candidate) -> str:
    if candidate.used > 1 - NOTEWORTHY:
        return ""
    return f"; {candidate.replicas} whole replicas are {candidate.used:.0%} used at this rate"


def _planned(candidate: Candidate) -> str:
    return f"{candidate.planned_per_gpu:.3g} requests/s for each GPU"


def _where(candidate: Candidate) -> str:
    return f"{candidate.shape.tensor_parallel} x {candidate.shape.gpu.name}"
