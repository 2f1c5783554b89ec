"""Waiting on conditions with a deadline; nothing in the sandbox sleeps blindly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class DeadlineExceeded(Exception):
    """The condition did not become true in time; the message says which one and what was last seen."""


def pause(seconds: float) -> None:
    """One polling interval. An event that nobody sets: interruptible, unlike a blind sleep in a C call."""
    threading.Event().wait(seconds)


def wait_until(condition: Callable[[], T | None], what: str, *, timeout_s: float, every_s: float = 0.05) -> T:
    """Poll `condition` until it gives a truthy value and return that value.

    The interval grows to ten times `every_s`, so short waits end fast and long ones do not burn a core.
    """
    deadline = time.monotonic() + timeout_s
    interval = every_s
    while True:
        value = condition()
        if value:
            return value
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded(f"{what}: not within {timeout_s:g} s")
        pause(min(interval, left))
        interval = min(interval * 1.3, every_s * 10)
