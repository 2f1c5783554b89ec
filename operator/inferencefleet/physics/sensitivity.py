"""What one replica's capacity becomes when one input changes and all others stay.

Capacity as a function of one input has small jumps, of 1-2 % and up to 5 % where an ITL percentile meets the steps that
carry a prompt: a single step of 10 % would give elasticities that are .4 off. So the elasticity of a quantity is the
slope of a line through four points within about 20 % of it, as far as the same limit binds there; its error is then
about .05. What a step of each input is, `physics.changes` and `physics.choices` say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import exp, inf, log

from inferencefleet.domain.capacity import Limit, ReplicaCapacity, ReplicaShape, Scales, Sensitivity
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.slo import Slo
from inferencefleet.physics.capacity import replica_capacities
from inferencefleet.physics.changes import Case, Change, quantities
from inferencefleet.physics.choices import choices

DISTANCES_LOG = (0.1, 0.2)
NOISE_SLOPE = 0.03
"""Elasticity that is not told from none."""
NOISE = 0.02
"""Relative change of capacity by a choice that is not told from none: other flags mean other sampled steps."""
_PRIOR = Scales()
_BINDS = {
    Limit.KV_MEMORY: "KV cache memory binds",
    Limit.MAX_SEQS: "maxNumSeqs binds",
    Limit.ITL: "inter-token latency binds",
    Limit.TTFT: "time to first token binds",
    Limit.E2E: "end-to-end latency binds",
    Limit.HOST: "the host binds",
    Limit.MODEL_TOO_LARGE: "the model does not fit",
    Limit.SLO_UNREACHABLE: "an SLO is out of reach",
}


def sensitivities(
    shape: ReplicaShape, lengths: LengthMix, slos: Sequence[Slo], scales: Scales = _PRIOR
) -> tuple[Sensitivity, ...]:
    """The effect of each input on capacity, strongest first.

    Of a replica that cannot serve, what would make it serve comes first, by the requests/s it then does.
    """
    case = Case(shape=shape, lengths=lengths, slos=tuple(slos), scales=scales)
    before = case.capacity()
    changes = [*quantities(case, serves=before.serves), *choices(case, serves=before.serves)]
    _compute_together([each for change in changes for each in _cases(change, serves=before.serves)])
    found = [_effect(change, before, change.case.capacity()) for change in changes]
    return tuple(sorted(found, key=_strength, reverse=True))


def _cases(change: Change, *, serves: bool) -> Iterator[Case]:
    """Every capacity that the effect of this change asks for."""
    yield change.case
    if serves and change.at is not None:
        for distance in DISTANCES_LOG:
            yield from (case for case in (change.at(exp(distance)), change.at(exp(-distance))) if case)


def _compute_together(cases: Iterable[Case]) -> None:
    """Replicas that are asked the same are computed in one go; the answers are then remembered."""
    groups: dict[tuple[bytes, tuple[Slo, ...], Scales], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.lengths.content(), case.slos, case.scales), []).append(case)
    for group in groups.values():
        replica_capacities([case.shape for case in group], group[0].lengths, group[0].slos, group[0].scales)


def _strength(found: Sensitivity) -> float:
    if found.ratio is None:
        return found.requests_per_s
    return abs(log(found.ratio)) if found.ratio > 0 else inf


def _effect(change: Change, before: ReplicaCapacity, after: ReplicaCapacity) -> Sensitivity:
    rate, elasticity, ratio = after.requests_per_s, None, None
    if before.serves:
        ratio = rate / before.requests_per_s
        if change.at is not None and after.serves:
            slope = _slope(change.at, change.factor, before)
            ratio = change.factor**slope
            rate = before.requests_per_s * ratio
            if change.elasticity_per_slope is not None:
                elasticity = slope * change.elasticity_per_slope
    return Sensitivity(
        input=change.input,
        unit=change.unit,
        from_value=change.from_value,
        to_value=change.to_value,
        elasticity=elasticity,
        ratio=ratio,
        requests_per_s=rate,
        binding=after.binding,
        sentence=_sentence(change, before, after, rate, ratio),
    )


def _slope(at: Callable[[float], Case | None], factor: float, before: ReplicaCapacity) -> float:
    """d log capacity / d log quantity: least squares through the present point.

    Points on the side that is asked about count. Those on the other side count too while the same limit binds on both:
    beyond a kink they say nothing about this side.
    """
    asked = 1.0 if factor > 1 else -1.0
    here, there = (_points(at, asked * sign, before) for sign in (1.0, -1.0))
    if not all(same for _, _, same in here):
        there = []
    points = here + [point for point in there if point[2]]
    squares = sum(distance * distance for distance, _, _ in points)
    slope = sum(distance * rise for distance, rise, _ in points) / squares if squares else 0.0
    return slope if abs(slope) >= NOISE_SLOPE else 0.0


def _points(
    at: Callable[[float], Case | None], sign: float, before: ReplicaCapacity
) -> list[tuple[float, float, bool]]:
    """Log distance, log change of capacity, and whether the same limit binds, on one side."""
    found = []
    for distance in DISTANCES_LOG:
        case = at(exp(sign * distance))
        capacity = case.capacity() if case else None
        if capacity and capacity.serves:
            rise = log(capacity.requests_per_s / before.requests_per_s)
            found.append((sign * distance, rise, capacity.binding is before.binding))
    return found


def _sentence(change: Change, before: ReplicaCapacity, after: ReplicaCapacity, rate: float, ratio: float | None) -> str:
    def says(plural: str, singular: str) -> str:
        return f"{change.words} {plural if change.plural else singular}"

    if ratio is None:
        if after.serves:
            return f"{says('make', 'makes')} the replica serve {rate:.3g} requests/s."
        return f"{says('do', 'does')} not help: {_BINDS[after.binding]}."
    if ratio == 0:
        return f"{says('end', 'ends')} service: {after.sentence}"
    if abs(ratio - 1) < (NOISE if change.at is None else 1e-9):
        return f"{says('do', 'does')} not change capacity: {_BINDS[after.binding]}."
    if ratio < 1:
        text = f"{says('cost', 'costs')} {_percent(ratio)} of capacity"
    else:
        text = f"{says('add', 'adds')} {_percent(ratio)} to capacity"
    if change.input == "tensor_parallel":
        each = ratio * float(change.from_value) / float(change.to_value)
        text += f", {_percent(each)} {'more' if each > 1 else 'less'} for each GPU"
    if after.binding is not before.binding:
        text += f"; then {_BINDS[after.binding]}"
    return f"{text}."


def _percent(ratio: float) -> str:
    size = abs(ratio - 1) * 100
    return f"{size:.0f} %" if size >= 10 else f"{size:.2g} %"
