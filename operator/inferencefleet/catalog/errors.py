"""Refusals of the catalogue: they name the value, what comes closest, and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UnknownGpu(ValueError):
    """A GPU name that is neither in the catalogue nor an alias of an entry."""


class UnknownMigProfile(UnknownGpu):
    """A MIG profile that this GPU does not have."""


class InvalidCatalogue(ValueError):
    """A catalogue file with a value that cannot be; names entry, field, value, rule and way out."""


class UnknownModel(ValueError):
    """A model id that is not in the catalogue."""


class UnknownPrice(ValueError):
    """A GPU without a listed price of the capacity type that is asked for."""


class UnsupportedArchitecture(ValueError):
    """A Hugging Face config that lacks the shapes that sizing needs."""


def closest(value: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known names most like `value`, best first, ignoring case; never empty when anything is known."""
    by_lower = {name.lower(): name for name in known}
    # Of `org/name` people get the name right more often than the organisation, so match both.
    by_tail = {lower.rsplit("/", 1)[-1]: name for lower, name in by_lower.items()}
    whole = difflib.get_close_matches(value.lower(), by_lower, n=count, cutoff=0.5)
    tail = difflib.get_close_matches(value.lower().rsplit("/", 1)[-1], by_tail, n=count, cutoff=0.5)
    found = [by_lower[name] for name in whole] + [by_tail[name] for name in tail]
    return list(dict.fromkeys(found))[:count] or sorted(by_lower.values())[:count]
