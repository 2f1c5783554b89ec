"""Spot markets: recorded availability where a copy of the traces is at hand, else a made one of the same statistics.

The traces (skypilot-org/spot-traces) carry no licence, so that none of them is kept in this repository.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inferencefleet.simulator.replay.stage import Availability

DEFAULT_DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "spot"


@dataclass(frozen=True, slots=True)
class Market:
    """One kind of market, by its record and by the figures that a made one follows."""

    name: str
    sentence: str
    file: str
    scale: int
    """Nodes of ours for each recorded node."""
    most_nodes: int
    mean_share: float
    """Mean nodes over most nodes."""
    up_s: float
    down_s: float
    """Median time until nodes are lost, and until they come back."""


CALM = Market(
    "calm", "c3-88 in us-east1-b, Google Cloud, April 2023: lost three times in two days",
    "skypilot/preemption/1-node/gcp-04-30-2023/us-east1-b_c3-88.json",
    scale=12, most_nodes=1, mean_share=0.954, up_s=11.29 * 3600, down_s=0.16 * 3600,
)  # fmt: skip
GRADUAL = Market(
    "gradual", "four V100 nodes in us-west-2c, AWS, August 2023: one or more lost ten times a day",
    "skypilot/preemption/4-node/aws-08-03-2023/us-west-2c_v100_1.json",
    scale=3, most_nodes=4, mean_share=0.816, up_s=1.25 * 3600, down_s=0.67 * 3600,
)  # fmt: skip
STORMY = Market(
    "stormy", "sixteen V100 nodes in us-east-2b, AWS, August 2023: there 63 % of the time, lost twelve times a day",
    "skypilot/availability/16-node/aws-08-27-2023/us-east-2b_v100_1.json",
    scale=1, most_nodes=16, mean_share=0.547, up_s=0.58 * 3600, down_s=0.42 * 3600,
)  # fmt: skip
MARKETS = (CALM, GRADUAL, STORMY)


def availability(market: Market, *, lasts_s: float, seed: int, data: Path | None) -> Availability:
    """A stretch of the record that the seed chooses among those in which something happens; made without a record."""
    path = None if data is None else data / market.file
    if path is None:
        return _made(market, lasts_s, seed)
    if not path.exists():
        raise FileNotFoundError(
            f"--spot-data {data}: {market.file} is not there; give a folder that holds skypilot/availability and "
            "skypilot/preemption, or `--spot-data none` for made markets"
        )
    record = json.loads(path.read_text())
    gap_s = float(record["metadata"]["gap_seconds"])
    nodes = np.asarray(record["data"], dtype=np.int64)
    many = max(2, int(np.ceil(lasts_s / gap_s)))
    begins = _eventful(nodes, many)
    first = int(begins[np.random.default_rng(seed).integers(0, begins.size)])
    return _changes(nodes[first : first + many] * market.scale, gap_s)


def _eventful(
    nodes: np.ndarray[tuple[int], np.dtype[np.int64]], many: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Where stretches begin that have nodes at first and change later; all of them when none does."""
    begins = np.arange(max(1, nodes.size - many))
    changed = np.concatenate([[0], np.cumsum(np.diff(nodes) < 0)])
    ends = np.minimum(begins + many, nodes.size) - 1
    good = (nodes[begins] > 0) & (changed[ends] > changed[begins])
    return begins[good] if good.any() else begins


def _changes(nodes: np.ndarray[tuple[int], np.dtype[np.int64]], gap_s: float) -> Availability:
    kept = np.concatenate([[True], np.diff(nodes) != 0])
    at_s = np.arange(nodes.size)[kept] * gap_s
    return Availability(at_s=tuple(float(at) for at in at_s), nodes=tuple(int(count) for count in nodes[kept]))


def _made(market: Market, lasts_s: float, seed: int) -> Availability:
    """All nodes, then a part of them for a while, and again: spells are exponential, their medians the published ones.

    How many stay follows from the mean share, so that the time average is that of the record.
    """
    chance = np.random.default_rng(seed)
    most = market.scale * market.most_nodes
    up_share = market.up_s / (market.up_s + market.down_s)
    left = max(0.0, (market.mean_share - up_share) / (1 - up_share)) if up_share < market.mean_share else 0.0
    at_s, times, nodes, up = 0.0, [0.0], [most], True
    while True:
        # A calm market would show nothing in a short replay: its first spell ends within it, as in an eventful stretch.
        spell_s = chance.exponential((market.up_s if up else market.down_s) / np.log(2))
        at_s += min(spell_s, 0.6 * lasts_s) if len(times) == 1 else spell_s
        if at_s >= lasts_s:
            return Availability(at_s=tuple(times), nodes=tuple(nodes))
        up = not up
        times.append(float(at_s))
        nodes.append(most if up else round(left * most))
