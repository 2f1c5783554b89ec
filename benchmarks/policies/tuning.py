"""Grid search of a law's main knobs on seeds that it is not judged on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.policies.figures import Figures
from benchmarks.policies.plays import STATIC, Variant
from benchmarks.policies.scenes import Scene
from benchmarks.policies.statistics import Point, at_equal_attainment, chosen
from inferencefleet.simulator import laws

OVER_ANOTHER = "skyserve-spot"
"""Its spot rule stands on a load law: tuning takes the one that did best here."""
CHOOSES_POOLS = frozenset({"wva-tokens", "skyserve-spot", "aibrix-cost"})
"""Laws that name pools themselves; the others leave it to the node autoscaler, which may be allowed to take spot."""

Results = Mapping[Variant, Sequence[Figures]]


def tunable() -> tuple[str, ...]:
    return tuple(name for name, law in laws.LAWS.items() if name not in STATIC and law.grid)


def grid(policy: str) -> tuple[Variant, ...]:
    """The published defaults and the law's own grid."""
    return (Variant(policy), *(Variant.of(policy, knobs) for knobs in laws.LAWS[policy].grid))


def with_spot(variant: Variant) -> Variant | None:
    """The same where the node autoscaler may take spot; None for laws that choose for themselves."""
    return None if variant.policy in CHOOSES_POOLS else Variant(variant.policy, variant.knobs, with_spot=True)


def over(best: Variant, knobs: Mapping[str, Any]) -> Variant:
    """SkyServe's spot rule with these knobs over that law with its own."""
    under = {f"{laws.LOAD}{name}": value for name, value in best.knobs}
    return Variant.of(OVER_ANOTHER, {**knobs, "load": best.policy, **under})


def point(variant: Variant, found: Sequence[Figures]) -> Point:
    many = len(found)
    return Point(
        variant.policy,
        variant.label(),
        sum(each.attainment for each in found) / many,
        sum(each.dollars for each in found) / many,
    )


def picked(results: Results, declared: float) -> Variant:
    """The cheapest that attains what is declared, else the one that attains most."""
    points = {point(variant, found): variant for variant, found in results.items()}
    return points[chosen(list(points), declared)]


def matching(results: Results, attainment: float) -> Variant | None:
    """The cheapest that attains as much as ours did on the same seeds."""
    points = {point(variant, found): variant for variant, found in results.items()}
    best = at_equal_attainment(list(points), attainment)
    return None if best is None else points[best]


def tuned_scene(scene: Scene) -> str:
    """Where this scene's tuning is done."""
    return scene.tuned_on or scene.name
