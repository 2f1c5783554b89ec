"""One heap of timed events, played in the order of their own times.

The loop that plays it may be late; the events never know. Arrivals, engine steps and their consequences carry the time
at which they are due, so a busy machine delays what is *seen*, not what is *measured*. How late it was is reported.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from itertools import count

QUANTUM_S = 0.004
"""Due events are played together: at 400 engine steps a second one wake-up each would cost more than the event."""


class Clock:
    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = count()
        self._wake = asyncio.Event()
        self._playing_s: float | None = None
        self.worst_lag_s = 0.0
        self.recent_lag_s = 0.0
        self.played = 0

    def now(self) -> float:
        """Inside an event: when it is due. Outside: the wall."""
        return self._playing_s if self._playing_s is not None else time.time()

    def at(self, when_s: float, action: Callable[[float], None]) -> None:
        heapq.heappush(self._heap, (when_s, next(self._order), action))
        self._wake.set()

    def catch_up(self) -> float:
        """Play all that is due and return the wall time up to which everything has happened."""
        now_s = time.time()
        if self._playing_s is not None:
            return self._playing_s
        heap = self._heap
        try:
            while heap and heap[0][0] <= now_s:
                due_s, _, action = heapq.heappop(heap)
                self._playing_s = due_s
                action(due_s)
                self.played += 1
        finally:
            self._playing_s = None
        return now_s

    async def run(self) -> None:
        while True:
            due_s = self._heap[0][0] if self._heap else None
            if due_s is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            pause = due_s - time.time()
            # Something earlier may be pushed meanwhile; never sleep long.
            await asyncio.sleep(min(max(pause, QUANTUM_S), 0.05))
            if self._heap and (lag := time.time() - self._heap[0][0]) > 0:
                # The quantum is intended lateness.
                self.recent_lag_s = max(0.0, lag - QUANTUM_S)
                self.worst_lag_s = max(self.worst_lag_s, self.recent_lag_s)
            self.catch_up()
