"""What happens when: one queue of events for the cloud, pods, scrapes and the operator's ticks."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from heapq import heappop, heappush
from itertools import count


class Turn(IntEnum):
    """Order of events at the same moment: the world moves, Prometheus looks at it, then the operator decides."""

    WORLD = 0
    SCRAPE = 1
    TICK = 2


Action = Callable[[float], None]


class Agenda:
    """Events by time, then by turn, then in the order in which they were made: replays repeat to the bit."""

    def __init__(self) -> None:
        self._events: list[tuple[float, int, int, Action]] = []
        self._numbers = count()

    def at(self, time_s: float, action: Action, turn: Turn = Turn.WORLD) -> None:
        heappush(self._events, (time_s, turn, next(self._numbers), action))

    def run(self, until_s: float) -> None:
        """Everything up to this time, what is added on the way included."""
        while self._events and self._events[0][0] <= until_s:
            time_s, _, _, action = heappop(self._events)
            action(time_s)
