"""Fill the examples of docs/cli.md with what the commands print now.

    python -m inferencefleet.cli.examples --write docs/cli.md

An example is a fenced block `console` whose first line is `$ kubectl fleet ...`; the rest is replaced by the output.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROMPT = "$ kubectl fleet "
_BLOCK = re.compile(
    r"^```console\n(?P<command>\$ kubectl fleet (?:[^\n]*\\\n)*[^\n]*)\n(?P<output>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True, slots=True)
class Example:
    """One documented command."""

    command: str
    """As written, possibly over several lines."""
    output: str

    @property
    def arguments(self) -> list[str]:
        """Without `kubectl fleet`."""
        return shlex.split(self.command.removeprefix(PROMPT).replace("\\\n", " "))


def examples(text: str) -> Iterator[Example]:
    """The examples of a page, in order."""
    for block in _BLOCK.finditer(text):
        yield Example(command=block["command"], output=block["output"])


def output_of(example: Example) -> str:
    """What the command prints into a pipe; errors as well."""
    from click.testing import CliRunner

    from inferencefleet.cli.app import fleet

    return CliRunner().invoke(fleet, example.arguments, prog_name="kubectl fleet", catch_exceptions=False).output


def filled(text: str) -> str:
    """The page with every output as it is now."""

    def replaced(block: re.Match[str]) -> str:
        example = Example(command=block["command"], output=block["output"])
        return f"```console\n{example.command}\n{output_of(example)}```"

    return _BLOCK.sub(replaced, text)


def main(arguments: list[str]) -> int:
    """Exit code 2 for wrong usage."""
    if len(arguments) != 2 or arguments[0] != "--write":
        print(__doc__, file=sys.stderr)
        return 2
    page = Path(arguments[1])
    page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
