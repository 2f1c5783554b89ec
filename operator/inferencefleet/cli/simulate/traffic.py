"""What arrives in a replay: a recorded trace, or rates with lengths, times a factor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from inferencefleet.cli.refusal import refuse
from inferencefleet.cli.simulate.rows import Column, read_rows
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.simulator.servers import Arrivals, Floats, Integers

MINUTE_S = 60.0
COPY_SPREAD_S = 30.0
"""A request that is played several times comes again within this time of the recorded one."""
MOST_REQUESTS = 50_000_000
_TOKENS = Column(rule="a whole number of tokens, 1 or more", least=1, whole=True)
_PREFIX = Column(rule="a whole number of tokens, 0 or more", whole=True, needed=False)
TRACE = {
    "arrival_s": Column(rule="seconds since the beginning, 0 or more", ascending=True),
    "prompt_tokens": _TOKENS,
    "output_tokens": _TOKENS,
    "prefix_tokens": _PREFIX,
    "session": Column(rule="a whole number, or -1 for none", least=-1, whole=True, needed=False),
}
LENGTHS = {"prompt_tokens": _TOKENS, "output_tokens": _TOKENS, "prefix_tokens": _PREFIX}
_RATE = Column(rule="a rate, 0 or more", needed=False)
RATES = {
    "minute": Column(rule="minutes since the beginning, 0 or more", ascending=True),
    "requests_per_s": _RATE,
    "requests_per_minute": _RATE,
}


def from_trace(path: Path) -> Arrivals:
    """Requests as recorded; a session shares prefixes, and a prefix without one is cached everywhere."""
    rows = read_rows("--trace", path, TRACE)
    count = rows["arrival_s"].size
    prompt, prefix = _whole(rows["prompt_tokens"]), _whole(rows.get("prefix_tokens", np.zeros(count)))
    if (prefix > prompt).any():
        line = int(np.argmax(prefix > prompt)) + 2
        rule = f"row {line - 1}: prefix_tokens is {prefix[line - 2]}, more than its prompt_tokens, {prompt[line - 2]}"
        raise refuse("--trace", path, f"{rule}; a prefix is a part of the prompt")
    return Arrivals(
        arrival_s=rows["arrival_s"],
        prompt_tokens=prompt,
        output_tokens=_whole(rows["output_tokens"]),
        prefix_tokens=prefix,
        session=_whole(rows.get("session", np.full(count, -1.0))),
    )


def from_rates(path: Path, lengths: Path | None, declared: LengthMix, *, seed: int) -> Arrivals:
    """A Poisson process with the rates of the file; each holds until the next row, the last as long as the one before.

    Lengths are drawn from the rows of `lengths`, together, or from what the fleet declares.
    """
    at_s, per_s = _rates(path)
    chance = np.random.default_rng(seed)
    last_s = float(at_s[-1] - at_s[-2]) if at_s.size > 1 else MINUTE_S
    edges = np.append(at_s, at_s[-1] + max(last_s, MINUTE_S))
    expected = per_s * np.diff(edges)
    if expected.sum() > MOST_REQUESTS:
        raise refuse("--rate", path, f"makes {expected.sum():,.0f} requests; a replay takes {MOST_REQUESTS:,} at most, "
                     "shorten the file or lower the rates")  # fmt: skip
    counts = chance.poisson(expected)
    which = np.repeat(np.arange(counts.size), counts)
    arrival_s = np.sort(edges[which] + chance.random(which.size) * np.diff(edges)[which])
    prompt, output, prefix = _lengths(lengths, declared, chance, arrival_s.size)
    return Arrivals(
        arrival_s=arrival_s,
        prompt_tokens=prompt,
        output_tokens=output,
        prefix_tokens=prefix,
        session=np.full(arrival_s.size, -1, dtype=np.int64),
    )


def times(arrivals: Arrivals, factor: float, *, seed: int) -> Arrivals:
    """More or less of the same traffic: requests are left out or come again nearby, in sessions of their own."""
    if factor == 1.0:
        return arrivals
    chance = np.random.default_rng([seed, 1])
    count = len(arrivals)
    copies = np.floor(factor + chance.random(count)).astype(np.int64)
    which = np.repeat(np.arange(count), copies)
    number = np.arange(which.size) - np.repeat(np.cumsum(copies) - copies, copies)
    shift = np.where(number == 0, 0.0, (chance.random(which.size) - 0.5) * 2 * COPY_SPREAD_S)
    last_s = float(arrivals.arrival_s[-1]) if count else 0.0
    at_s = np.clip(arrivals.arrival_s[which] + shift, 0.0, last_s)
    order = np.argsort(at_s, kind="stable")
    session = arrivals.session[which]
    sessions = int(arrivals.session.max(initial=-1)) + 1
    return replace(
        arrivals,
        arrival_s=at_s[order],
        prompt_tokens=arrivals.prompt_tokens[which][order],
        output_tokens=arrivals.output_tokens[which][order],
        prefix_tokens=arrivals.prefix_tokens[which][order],
        session=np.where(session < 0, session, session + number * sessions)[order],
    )


def _rates(path: Path) -> tuple[Floats, Floats]:
    rows = read_rows("--rate", path, RATES)
    given = [name for name in ("requests_per_s", "requests_per_minute") if name in rows]
    if len(given) != 1:
        said = "both are there" if given else "neither is there"
        raise refuse("--rate", path, f"line 1: give either requests_per_s or requests_per_minute; {said}")
    per_s = rows[given[0]] / (MINUTE_S if given[0] == "requests_per_minute" else 1.0)
    return rows["minute"] * MINUTE_S, per_s


def _lengths(
    path: Path | None, declared: LengthMix, chance: np.random.Generator, count: int
) -> tuple[Integers, Integers, Integers]:
    if path is not None:
        rows = read_rows("--lengths", path, LENGTHS)
        prompt, output = rows["prompt_tokens"], rows["output_tokens"]
        prefix = rows.get("prefix_tokens", np.zeros(prompt.size))
    else:
        prompt, output = declared.prompt_tokens, declared.output_tokens
        prefix = prompt * declared.prefix_hit_ratio
    which = chance.integers(0, prompt.size, size=count)
    return tuple(_whole(column[which]) for column in (np.maximum(1, prompt), np.maximum(1, output), prefix))  # type: ignore[return-value]


def _whole(values: Floats) -> Integers:
    return np.rint(values).astype(np.int64)
