"""How answers leave: tables for people, JSON or YAML for programs. Nothing is cut off, and a pipe gets no colours."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

Document = Mapping[str, Any]
PIPE_COLUMNS = 100_000
"""A pipe has no width: nothing is wrapped there, so that grep and awk see whole rows."""


def write_document(document: Document, form: str) -> None:
    """The whole answer as JSON or YAML, keys in the documented order."""
    if form == "json":
        click.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
        return
    import yaml

    click.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120), nl=False)


GAP = 2
LEAST_SENTENCE = 30
"""Columns that the last cell of a row gets on a terminal, at least."""


class Page:
    """What people read: headings, sentences and tables, written at once."""

    def __init__(self) -> None:
        from rich.console import Console

        terminal = sys.stdout.isatty()
        self._console = Console(
            file=sys.stdout,
            width=None if terminal else PIPE_COLUMNS,
            highlight=False,
            markup=False,
            emoji=False,
            no_color=None if terminal else True,
        )
        self._parts: list[Any] = []

    def heading(self, text: str) -> None:
        from rich.text import Text

        if self._parts:
            self._parts.append(Text(""))
        self._parts.append(Text(text, style="bold"))

    def say(self, text: str) -> None:
        from rich.text import Text

        self._parts.append(Text(text))

    def items(self, lines: Iterable[str]) -> None:
        """Sentences, each behind a dash."""
        for line in lines:
            self.say(f"  - {line}")

    def table(self, head: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()) -> None:
        """Columns as wide as their content, upper-case heads as in kubectl; cells of `right` are right-aligned.

        On a terminal only the last column wraps. Where even that does not fit, lines are longer than the terminal is
        wide, as those of kubectl: nothing is cut off.
        """
        from rich.table import Table

        cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
        for place, name in enumerate(head):
            last = place == len(head) - 1
            table.add_column(name, justify="right" if name in set(right) else "left", no_wrap=not last, overflow="fold")
        for row in cells:
            table.add_row(*row)
        fixed = sum(
            GAP + max(len(name), *(len(row[place]) for row in cells), 0) for place, name in enumerate(head[:-1])
        )
        table.width = None if fixed + LEAST_SENTENCE <= self._console.width else fixed + LEAST_SENTENCE
        self._parts.append(table)

    def facts(self, rows: Iterable[tuple[str, object]]) -> None:
        """Name and value, without a head."""
        from rich.table import Table

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in rows:
            table.add_row(name, str(value))
        self._parts.append(table)

    def write(self) -> None:
        """To standard output, without blanks at the ends of lines."""
        with self._console.capture() as captured:
            for part in self._parts:
                self._console.print(part, crop=False)
        for line in captured.get().splitlines():
            click.echo(line.rstrip())


def number(value: float, digits: int = 3) -> str:
    """`digits` significant digits, thousands with commas, never in exponents: 0.0123, 4.56, 1,230."""
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    text = f"{value:.{digits}g}"
    return text if "e" not in text else f"{value:.6f}".rstrip("0").rstrip(".")


def dollars(value: float | None) -> str:
    """`$12.34`, or a dash."""
    if value is None:
        return "-"
    return f"${value:,.2f}" if value >= 0.095 else f"${value:.3g}"


def rounded(value: float, digits: int = 6) -> float:
    """For programs: `digits` significant digits, so that documents stay readable."""
    return float(f"{value:.{digits}g}")


def rounded_or_none(value: float | None) -> float | None:
    return None if value is None else rounded(value)
