"""Was the promise kept? Pure: from the twin's summary and what the operator did, to pass or fail with reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the verdict."""

    name: str
    passed: bool
    says: str


def verdict(
    summary: dict[str, Any], *, operator_alive: bool, defects: int, grew_into: set[str], lost_spot: bool, returned: bool
) -> list[Check]:
    """All checks; the demo passes when every one did. `summary` is the twin's summary.json."""
    slo, requests = summary["slo"], summary["requests"]
    percentile, declared = slo["ttftPercentile"] / 100, slo["declaredAttainment"]
    itl_percentile = slo["itlPercentile"] / 100
    minutes = slo["minutes"]
    held = sum(bool(minute["held"]) for minute in minutes)
    return [
        Check(
            name="TTFT",
            passed=slo["requestAttainment"] >= percentile,
            says=f"{_percent(slo['requestAttainment'])} of requests within {slo['ttftTargetSeconds']:g} s, "
            f"{_percent(percentile)} promised",
        ),
        Check(
            name="ITL",
            passed=slo["tokenAttainment"] >= itl_percentile,
            says=f"{_percent(slo['tokenAttainment'])} of tokens within {1000 * slo['itlTargetSeconds']:.0f} ms, "
            f"{_percent(itl_percentile)} promised",
        ),
        Check(
            name="Every minute",
            passed=slo["minuteAttainment"] >= declared,
            says=f"both held in {held} of {len(minutes)} minutes, {_percent(declared)} of them promised",
        ),
        Check(
            name="Nothing lost",
            passed=requests["failed"] == 0 and requests["refused"] == 0,
            says=f"{requests['finished']} requests done, {requests['failed']} failed, {requests['retried']} retried",
        ),
        Check(
            name="Grew",
            passed={"on-demand", "spot"} <= grew_into,
            says=f"from reserved into {', '.join(sorted(grew_into - {'reserved'})) or 'nothing'}",
        ),
        Check(name="Survived", passed=lost_spot, says="a spot node was taken back on notice"),
        Check(name="Returned", passed=returned, says="to reserved GPUs alone" if returned else "not yet"),
        Check(
            name="Operator",
            passed=operator_alive and defects == 0,
            says=f"{'alive' if operator_alive else 'ended'}, {defects} errors in its log",
        ),
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
