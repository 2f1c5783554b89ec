"""The arithmetic of the HorizontalPodAutoscaler, autoscaling/v2.

Source: kubernetes.io, "Horizontal Pod Autoscaling" (algorithm details, configurable scaling behavior; read 2026-08-20)
and the controller of Kubernetes 1.36, which settles what the page leaves open.

    ratio    = metric / target                        (averageValue: metric / (target x status.replicas))
    proposal = current            if 1 - tolerance <= ratio <= 1 + tolerance
             = ceil(pods x ratio) otherwise           (averageValue: ceil(metric / target))
    several metrics: the largest proposal; one that cannot be read forbids to shrink; none readable: hold
    stabilise: current, raised to the least proposal of the up window, lowered to the largest of the down window
    rate: replicas at the start of the period +- value (Pods) or x (1 +- value / 100) (Percent)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from inferencefleet.simulator.laws.common import CLOCK_SLACK_S, Interval

SYNC_S = 15.0
TOLERANCE = 0.1
LEGACY_STABILIZATION_S = 300.0


class PolicyType(StrEnum):
    PODS = "Pods"
    PERCENT = "Percent"


class SelectPolicy(StrEnum):
    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


@dataclass(frozen=True, slots=True)
class RatePolicy:
    """At most `value` pods, or percent of the pods there were, in any `period_s`."""

    type: PolicyType
    value: int
    period_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """One direction of `spec.behavior`."""

    stabilization_s: float
    policies: tuple[RatePolicy, ...]
    select: SelectPolicy = SelectPolicy.MAX
    tolerance: float = TOLERANCE


DEFAULT_UP = Rules(
    stabilization_s=0.0,
    policies=(RatePolicy(PolicyType.PODS, 4, 15.0), RatePolicy(PolicyType.PERCENT, 100, 15.0)),
)
DEFAULT_DOWN = Rules(stabilization_s=300.0, policies=(RatePolicy(PolicyType.PERCENT, 100, 15.0),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Behavior:
    """`spec.behavior`; a direction that is not given has the defaults."""

    up: Rules = DEFAULT_UP
    down: Rules = DEFAULT_DOWN

    def within_tolerance(self, ratio: float) -> bool:
        return 1.0 - self.down.tolerance <= ratio <= 1.0 + self.up.tolerance


def from_average_value(metric: float, target: float, *, replicas: int, behavior: Behavior) -> int:
    """External or object metric with `averageValue`: the sum is divided by all pods, ready or not."""
    if replicas > 0 and behavior.within_tolerance(metric / (target * replicas)):
        return replicas
    return math.ceil(metric / target)


def from_value(metric: float, target: float, *, current: int, ready: int, behavior: Behavior) -> int:
    """External or object metric with `value`: the ratio multiplies the pods that are ready."""
    ratio = metric / target
    if current == 0:
        return math.ceil(ratio)
    return current if behavior.within_tolerance(ratio) else math.ceil(ratio * ready)


def from_pods(
    values: Mapping[str, float], target: float, *, current: int, missing: int, unready: int, behavior: Behavior
) -> int | None:
    """Metric of each pod. `missing` pods run but have no sample, `unready` ones are Pending. None = no sample at all.

    Pods without a sample are taken at the target when that shrinks the fleet and at zero when it grows; pending pods
    count as zero when it grows. If that turns the direction round or ends within the tolerance, nothing changes.
    """
    if not values:
        return None
    total = sum(values.values())
    ratio = total / (target * len(values))
    if missing == 0 and not (unready > 0 and ratio > 1.0):
        return current if behavior.within_tolerance(ratio) else math.ceil(ratio * len(values))
    if ratio == 1.0:
        return current
    pods = len(values) + missing + (unready if ratio > 1.0 else 0)
    cautious = (total + (missing * target if ratio < 1.0 else 0.0)) / (target * pods)
    if behavior.within_tolerance(cautious) or (ratio - 1.0) * (cautious - 1.0) < 0:
        return current
    proposal = math.ceil(cautious * pods)
    return current if (proposal - current) * (cautious - 1.0) < 0 else proposal


class Hpa:
    """One HorizontalPodAutoscaler. `behavior=None` is a spec without the block, which has rules of its own."""

    def __init__(self, behavior: Behavior | None = None, *, sync_s: float = SYNC_S) -> None:
        self.behavior = behavior or Behavior()
        self._plain = behavior is None
        self._sync = Interval(sync_s)
        self._longest_s = max(
            [self.behavior.up.stabilization_s, self.behavior.down.stabilization_s]
            + [policy.period_s for rules in (self.behavior.up, self.behavior.down) for policy in rules.policies]
        )
        self._proposals: list[tuple[float, int]] = []
        self._changes: list[tuple[float, int]] = []

    def step(self, at_s: float, *, current: int, proposals: Sequence[int | None], least: int, most: int) -> int:
        """`spec.replicas` after this moment. A proposal of None is a metric that could not be read."""
        if not self._sync.due(at_s):
            return current
        if not self._proposals:
            self._proposals.append((at_s, current))
        chosen = self._chosen(at_s, current=current, proposals=proposals, least=least, most=most)
        if chosen != current:
            self._changes.append((at_s, chosen - current))
        self._forget(at_s)
        return chosen

    def _chosen(self, at_s: float, *, current: int, proposals: Sequence[int | None], least: int, most: int) -> int:
        if current > most or current < least:
            return max(least, min(current, most))
        known = [proposal for proposal in proposals if proposal is not None]
        if not known or (len(known) < len(proposals) and max(known) < current):
            return current
        proposed = max(known)
        stable = self._plain_stabilized(at_s, proposed) if self._plain else self._stabilized(at_s, current, proposed)
        self._proposals.append((at_s, proposed))
        if self._plain:
            return max(least, min(stable, most, max(2 * current, 4)))
        if stable > current:
            return min(stable, most, max(current, self._up_limit(at_s, current)))
        if stable < current:
            return max(stable, least, min(current, self._down_limit(at_s, current)))
        return stable

    def _stabilized(self, at_s: float, current: int, proposed: int) -> int:
        lowest = min([proposed, *self._since(at_s - self.behavior.up.stabilization_s)])
        highest = max([proposed, *self._since(at_s - self.behavior.down.stabilization_s)])
        return min(max(current, lowest), highest)

    def _plain_stabilized(self, at_s: float, proposed: int) -> int:
        return max([proposed, *self._since(at_s - LEGACY_STABILIZATION_S - 2 * CLOCK_SLACK_S)])

    def _since(self, cutoff_s: float) -> list[int]:
        return [proposal for when_s, proposal in self._proposals if when_s > cutoff_s + CLOCK_SLACK_S]

    def _up_limit(self, at_s: float, current: int) -> int:
        rules = self.behavior.up
        limits = []
        for policy in rules.policies:
            before = self._at_period_start(at_s, current, policy.period_s)
            grown = before * (1 + policy.value / 100)
            limits.append(before + policy.value if policy.type is PolicyType.PODS else math.ceil(grown))
        return _selected(rules, limits, current, widest=max, narrowest=min)

    def _down_limit(self, at_s: float, current: int) -> int:
        rules = self.behavior.down
        limits = []
        for policy in rules.policies:
            before = self._at_period_start(at_s, current, policy.period_s)
            shrunk = before * (1 - policy.value / 100)
            limits.append(before - policy.value if policy.type is PolicyType.PODS else int(shrunk))
        return _selected(rules, limits, current, widest=min, narrowest=max)

    def _at_period_start(self, at_s: float, current: int, period_s: float) -> int:
        cutoff_s = at_s - period_s + CLOCK_SLACK_S
        return current - sum(change for when_s, change in self._changes if when_s > cutoff_s)

    def _forget(self, at_s: float) -> None:
        cutoff_s = at_s - max(self._longest_s, LEGACY_STABILIZATION_S) - SYNC_S
        self._proposals = [item for item in self._proposals if item[0] > cutoff_s]
        self._changes = [item for item in self._changes if item[0] > cutoff_s]


def _selected(
    rules: Rules,
    limits: list[int],
    current: int,
    *,
    widest: Callable[[list[int]], int],
    narrowest: Callable[[list[int]], int],
) -> int:
    if rules.select is SelectPolicy.DISABLED or not limits:
        return current
    return widest(limits) if rules.select is SelectPolicy.MAX else narrowest(limits)
