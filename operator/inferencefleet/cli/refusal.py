"""Bad input, said so that it can be corrected: field, value, rule and a way out. Exit code 2, never a traceback."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

import click

from inferencefleet.domain.fleet import Problem

BAD_INPUT = 2
"""Exit code of everything that the caller can correct; as click's own usage errors."""
NOT_FOUND = 3
"""Exit code when there is nothing to explain: no cluster, no such fleet, no status yet."""


class Refusal(click.ClickException):
    """One or more things wrong with the input."""

    exit_code = BAD_INPUT

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines

    def show(self, file: IO[Any] | None = None) -> None:
        for line in self.lines:
            click.echo(f"Error: {line}", file=file, err=file is None)


class NothingThere(Refusal):
    """The input is right, and what it names is not there."""

    exit_code = NOT_FOUND


def refuse(field: str, value: object, rule: str) -> Refusal:
    """`--gpu=H1000: unknown GPU type; ...`; the rule ends with the way out."""
    return Refusal(f"{field}={value}: {rule}")


def refuse_problems(problems: Iterable[Problem], source: str) -> Refusal:
    """Everything that is wrong with a manifest, one line each."""
    return Refusal(*(f"{source}: {problem}" for problem in problems))
