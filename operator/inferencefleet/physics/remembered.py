"""Answers that a pure function gave before: a bounded memory that changes how long it takes, never what it says."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Question = TypeVar("Question", bound=Hashable)
Answer = TypeVar("Answer")


class Remembered(Generic[Question, Answer]):
    """Forgets what was not asked for longest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._answers: dict[Question, Answer] = {}

    def get(self, question: Question, compute: Callable[[], Answer]) -> Answer:
        """The answer, computed when it is not known."""
        known = self._answers.pop(question, None)
        answer = compute() if known is None else known
        self._answers[question] = answer  # the dictionary's order is the order of use
        if len(self._answers) > self._most:
            del self._answers[next(iter(self._answers))]
        return answer
