"""How many replicas a budget pays for."""

from __future__ import annotations

from collections.abc import Iterable

CENT = 0.005
"""Budgets and prices are decimal numbers that binary ones miss by a hair."""


def affordable(most_per_hour: float | None, prices_per_hour: Iterable[float]) -> int | None:
    """How many of these replicas, in the order in which they would be taken, fit into the budget; None = all of them.

    Reserved GPUs count at their price as well: a budget is about what a fleet costs, not about what it adds.
    """
    if most_per_hour is None:
        return None
    spent = 0.0
    for count, price in enumerate(prices_per_hour):
        spent += price
        if spent > most_per_hour + CENT:
            return count
    return None
