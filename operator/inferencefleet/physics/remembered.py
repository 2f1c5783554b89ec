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

    def known(self, question: Question) -> Answer | None:
        """What was answered before; None when the question is new."""
        answer = self._answers.pop(question, None)
        if answer is not None:
            self._answers[question] = answer  # the dictionary's order is the order of use
        return answer

    def keep(self, question: Question, answer: Answer) -> Answer:
        """`answer`, which the same question gets from now on."""
        self._answers[question] = answer
        if len(self._answers) > self._most:
            del self._answers[next(iter(self._answers))]
        return answer

    def get(self, question: Question, compute: Callable[[], Answer]) -> Answer:
        """The answer, computed when it is not known."""
        answer = self.known(question)
        return self.keep(question, compute()) if answer is None else answer
