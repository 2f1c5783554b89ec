"""The form of the records: what a source printed, what is right, and why they differ.

Sources are public articles about sizing and paying for LLM inference. They are named S0 to S4:

S0 token-per-dollar forecasting; S1 LLM compute planning (section 27.5); S2 compute planning (section 57.1);
S3 an infrastructure engineering manual; S4 inference cost optimisation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

SOURCES = {
    "S0": "A blueprint for data-driven LLM infrastructure planning (token-per-dollar forecasting)",
    "S1": "LLM compute planning and infrastructure, section 27.5",
    "S2": "LLM compute planning and infrastructure, section 57.1",
    "S3": "GenAI physics, capacity planning and throughput estimation (engineering manual)",
    "S4": "Inference cost optimization",
}

Value: TypeAlias = float | str


class Verdict(StrEnum):
    """What became of a quoted figure when it was computed again."""

    OK = "OK"
    """It reproduces."""
    ERR = "ERR"
    """It contradicts its own inputs or arithmetic."""
    PHYS = "PHYS"
    """The arithmetic is fine, the physics is not."""
    AMB = "AMB"
    """It cannot be told: symbols were lost on the page, or inputs are missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number (or yes/no) of a record. `right` is written down and computed again by the product."""

    name: str
    right: Value
    compute: Callable[[], Value]
    """The right value from the product's functions."""
    quoted: Value | None = None
    """As printed; None where the page lost it or the source gives none."""
    unit: str = ""
    within: float = 0.002
    """Relative tolerance between `right` as written here and as computed. Wider where it rests on constants that are
    fitted to measurements."""
    rounding: float = 0.005
    """Relative difference that is rounding in the source, not an error."""
    relation: str = ""
    """`<` or `about` where the source does not give the number itself."""
    holds: Callable[[float], bool] | None = None
    """For a quote that is a bound or a range: whether it allows the right value."""
    cause: Callable[[], float] | None = None
    """The mistake: it gives the quoted value."""
    because: str = ""
    """The mistake in words."""

    @property
    def reproduces(self) -> bool | None:
        """Whether the quote and the right value agree; None without a quote."""
        if self.quoted is None:
            return None
        if self.holds is not None:
            assert isinstance(self.right, (int, float))
            return self.holds(self.right)
        if isinstance(self.quoted, str) or isinstance(self.right, str):
            return self.quoted == self.right
        return abs(self.quoted - self.right) <= self.rounding * abs(self.right) + 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One worked example (D) or formula (B) of the sources."""

    id: str
    source: str
    what: str
    verdict: tuple[Verdict, ...]
    reason: str
    """Why quoted and right differ, or what the right value rests on."""
    figures: tuple[Figure, ...] = ()
    not_testable: str = ""
    """Why there is nothing to compute."""

    def __str__(self) -> str:
        return self.id


def yes(condition: bool) -> str:
    return "yes" if condition else "no"
