"""One line that says what a long step does and how long it has taken, with or without a terminal."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class Progress:
    """Rewrites its line on a terminal; elsewhere prints a new line every `plain_every_s` seconds."""

    def __init__(self, title: str, *, stream: TextIO | None = None, plain_every_s: float = 15) -> None:
        self.title = title
        self._stream = stream if stream is not None else sys.stderr
        self._plain_every_s = plain_every_s
        self._started = time.monotonic()
        self._last_plain = float("-inf")
        self._width = 0

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._started

    def update(self, doing: str = "") -> None:
        minutes, seconds = divmod(int(self.elapsed_s), 60)
        text = f"{self.title}  {minutes}:{seconds:02d}" + (f"  {doing}" if doing else "")
        if self._stream.isatty():
            self._stream.write("\r" + text[:118].ljust(self._width))
            self._width = min(len(text), 118)
            self._stream.flush()
        elif time.monotonic() - self._last_plain >= self._plain_every_s:
            self._last_plain = time.monotonic()
            print(text, file=self._stream, flush=True)

    def finish(self, outcome: str) -> None:
        minutes, seconds = divmod(int(self.elapsed_s), 60)
        start = "\r" + " " * self._width + "\r" if self._stream.isatty() else ""
        print(f"{start}{self.title}  {minutes}:{seconds:02d}  {outcome}", file=self._stream, flush=True)
