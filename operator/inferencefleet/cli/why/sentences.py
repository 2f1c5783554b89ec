"""Sentences that fit a line: clauses by weight, the light ones go first when there is no room."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from inferencefleet.cli.output import number

WIDTH = 110
"""Columns of a terminal at night."""
MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86400.0


def fitted(clauses: Sequence[str | None], width: int) -> str:
    """`first; second; third`, as many from the front as fit; a first one that is too long ends in `...`."""
    said = [clause for clause in clauses if clause]
    while len(said) > 1 and len("; ".join(said)) > width:
        said.pop()
    text = "; ".join(said)
    if len(text) <= width:
        return text
    cut = text[: width - 3]
    return cut[: cut.rfind(" ")] + "..." if " " in cut[width // 2 :] else cut + "..."


def rate(per_s: float) -> str:
    """`22 req/s`"""
    return f"{number(per_s)} req/s"


def span(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`, `4 d`"""
    for unit, word in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.2g} {word}" if seconds < 100 * unit else f"{seconds / unit:.0f} {word}"
    return f"{seconds:.0f} s"


def moment(at_s: float, now_s: float | None) -> str:
    """A time of day, and how long ago that is where now is known."""
    text = datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return text if now_s is None else f"{text} ({span(max(0.0, now_s - at_s))} ago)"


def plural(count: float, word: str) -> str:
    return f"{count:g} {word}" if count == 1 else f"{count:g} {word}s"
