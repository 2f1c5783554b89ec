"""The command line as a user calls it, in this process; standard output is a pipe."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner, Result

from inferencefleet.cli.app import fleet

CHAT = ("--rate", "20", "--prompt", "1000", "--output", "250", "--ttft", "2s", "--itl", "60ms")


def run(*arguments: object, stdin: str | None = None) -> Result:
    """Whatever happens, an exception of ours is a failure of the test and not of the command."""
    return CliRunner().invoke(
        fleet, [str(argument) for argument in arguments], input=stdin, prog_name="kubectl fleet", catch_exceptions=False
    )


def answer(*arguments: object, exit_code: int = 0) -> dict[str, Any]:
    """The JSON document of a command that ends with `exit_code`."""
    result = run(*arguments, "-o", "json")
    assert result.exit_code == exit_code, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def refusal(*arguments: object, stdin: str | None = None, exit_code: int = 2) -> str:
    """What a refused command says; nothing of it on standard output."""
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == exit_code, result.output
    assert result.stdout == ""
    return result.stderr
