"""Our planner with one part off: what each part is worth is what is lost without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from inferencefleet.domain.snapshot import Part, Snapshot

PREFIX = "ours-no-"
PARTS = {
    Part.FORECAST: "no look ahead: what arrives now, with its noise, is what is planned for",
    Part.DISTRIBUTION: "mean lengths instead of their distribution",
    Part.CALIBRATION: "capacity by the prior, whatever engines teach",
    Part.HEDGE: "no spare for spot nodes that are taken back",
    Part.ROUTING: "every router is taken for an even spread, and prefix hits for the same at every size",
    Part.FEEDBACK: "utilisation as models suggest, whatever share of requests was measured to keep the SLO",
}
Amend = Callable[[Snapshot], Snapshot]


def offered() -> tuple[Part, ...]:
    """The parts that this planner can leave out."""
    return tuple(PARTS)


def policy_name(part: Part) -> str:
    return PREFIX + part


def amendment(policy: str) -> Amend:
    """What changes every snapshot before the planner sees it."""
    name = policy.removeprefix(PREFIX)
    if name not in set(Part):
        raise ValueError(
            f"--policy {policy}: the planner has no part {name!r}; it offers {', '.join(map(policy_name, offered()))}"
        )

    def without(snapshot: Snapshot) -> Snapshot:
        return replace(snapshot, settings=replace(snapshot.settings, without=frozenset({Part(name)})))

    return without
