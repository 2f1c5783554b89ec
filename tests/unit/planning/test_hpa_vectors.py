"""Our guards give the number that the genuine HorizontalPodAutoscaler controller gives.

The vectors were computed by the controller itself, inside its own package: see tests/hpa/README.md.
"""

from __future__ import annotations

import gzip
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from inferencefleet.domain.fleet import RatePolicy, RateRules, RateSelect, RateUnit, ScalingTerms
from inferencefleet.planning.guards import Guard, GuardContext, remember_change, run_guards
from inferencefleet.planning.guards.rates import limit_rate
from inferencefleet.planning.guards.stabilization import stabilize, tolerate
from tests.builders import NOW_S, a_fleet

ROOT = Path(__file__).parents[3]
Vector = dict[str, Any]


@lru_cache
def vectors() -> Vector:
    with gzip.open(ROOT / "tests" / "fixtures" / "hpa_vectors.json.gz") as packed:
        found: Vector = json.load(packed)
    return found


def rules(block: Vector) -> RateRules:
    policies = tuple(
        RatePolicy(unit=RateUnit(each["type"]), value=each["value"], period_s=each["periodSeconds"])
        for each in block["policies"]
    )
    return RateRules(select=RateSelect(block["selectPolicy"]), policies=policies)


def terms(vector: Vector) -> ScalingTerms:
    return ScalingTerms(
        min_replicas=vector["minReplicas"],
        max_replicas=vector["maxReplicas"],
        scale_up_stabilization_s=vector["scaleUp"]["stabilizationWindowSeconds"],
        scale_down_stabilization_s=vector["scaleDown"]["stabilizationWindowSeconds"],
        up=rules(vector["scaleUp"]),
        down=rules(vector["scaleDown"]),
    )


def context(current: int, scaling: ScalingTerms, *, at_s: float = NOW_S, **memory: Any) -> GuardContext:
    return GuardContext(fleet=a_fleet(scaling=scaling), at_s=at_s, current=current, ready=current, gap=None, **memory)


def of_single(vector: Vector) -> GuardContext:
    def past(entries: list[Vector], sign: int = 1) -> tuple[tuple[float, int], ...]:
        return tuple((NOW_S - each["ago"], sign * each["replicas"]) for each in entries)

    return context(
        vector["current"],
        terms(vector),
        recommendations=past(vector["recommendations"]),
        scale_events=(*past(vector["ups"]), *past(vector["downs"], -1)),
    )


def after(guard: Guard, proposed: int, at: GuardContext) -> int:
    verdict = guard(proposed, at)
    return proposed if verdict is None or verdict.after is None else int(verdict.after)


def test_the_vectors_are_of_the_version_that_the_sandbox_runs() -> None:
    pinned = (ROOT / "sandbox" / "controlplane" / "go.mod").read_text(encoding="utf-8")
    assert f"k8s.io/kubernetes {vectors()['kubernetes']}\n" in pinned, "run: make hpa-vectors"
    assert len(vectors()["singles"]) == 4000


def test_stabilization_windows_are_those_of_the_autoscaler() -> None:
    moved = 0
    for vector in vectors()["singles"]:
        ours = after(stabilize, vector["desired"], of_single(vector))
        assert ours == vector["stabilized"], vector
        moved += ours != vector["desired"]
    assert moved > 500, "vectors in which the windows have something to say"


def test_rate_policies_are_those_of_the_autoscaler() -> None:
    """Its function applies the limits as well, in the direction of the change."""
    moved = 0
    for vector in vectors()["singles"]:
        at = of_single(vector)
        limited = after(limit_rate, vector["desired"], at)
        if vector["desired"] > vector["current"]:
            ours = min(limited, vector["maxReplicas"])
        else:
            ours = max(limited, vector["minReplicas"])
        assert ours == vector["rateLimited"], vector
        moved += limited != vector["desired"]
    assert moved > 1000, "vectors in which the policies have something to say"


def test_the_whole_chain_gives_what_the_autoscaler_gives() -> None:
    for vector in vectors()["singles"]:
        assert run_guards(vector["desired"], of_single(vector)).total == vector["normalized"], vector


def test_tolerance_is_that_of_the_autoscaler() -> None:
    held = 0
    for vector in vectors()["tolerances"]:
        scaling = ScalingTerms(up=RateRules(tolerance=vector["up"]), down=RateRules(tolerance=vector["down"]))
        current = 232_792_560  # divisible by 1 to 20, the denominators of the vectors, so that ratios are exact
        proposed = round(vector["ratio"] * current)
        ours = after(tolerate, proposed, context(current, scaling))
        assert ours == (current if vector["within"] else proposed), vector
        held += vector["within"] and proposed != current
    assert held > 10, "vectors in which the tolerance holds something back"


def test_over_time_a_fleet_has_the_sizes_that_the_autoscaler_gives_it() -> None:
    """Each keeps its own memory of recommendations and changes, tick by tick."""
    sizes = set()
    for vector in vectors()["runs"]:
        scaling, size, at_s = terms(vector), vector["start"], NOW_S
        recommendations: tuple[tuple[float, int], ...] = ((at_s, size),)
        events: tuple[tuple[float, int], ...] = ()
        for tick, (desired, expected) in enumerate(zip(vector["desired"], vector["sizes"], strict=True)):
            at_s += vector["periodSeconds"] + 0.001
            at = context(size, scaling, at_s=at_s, recommendations=recommendations, scale_events=events)
            guarded = run_guards(desired, at)
            assert guarded.total == expected, (tick, vector)
            recommendations = (*recommendations, (at_s, guarded.recommended))
            events = remember_change(events, at_s=at_s, change=guarded.total - size, scaling=scaling, cooling_s=0.0)
            size = guarded.total
            sizes.add(size)
    assert len(sizes) > 30
