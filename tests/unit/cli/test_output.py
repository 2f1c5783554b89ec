"""How answers leave: nothing cut off in a narrow pipe, no colours there, and numbers that programs can read."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from inferencefleet.cli.output import Page, dollars, number
from tests.unit.cli.runner import CHAT, run

COMMANDS = [
    ("fit", "Qwen/Qwen3-32B", "--gpu", "H100,L40S"),
    ("size", "Qwen/Qwen3-32B", "--gpu", "H100", *CHAT, "--price", "2.5"),
    ("recommend", "Qwen/Qwen3-32B", *CHAT, "--gpus", "H100,L40S,A100", "--price", "H100=2.5", "--price", "L40S=1.2"),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_a_narrow_pipe_gets_whole_lines_without_colours(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = run(*arguments).stdout
    assert "\x1b[" not in text
    assert "…" not in text
    assert max(len(line) for line in text.splitlines()) > 80
    assert all(line == line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_json_and_yaml_say_the_same_and_repeat_exactly(arguments: tuple[str, ...]) -> None:
    first = run(*arguments, "-o", "json").stdout
    assert run(*arguments, "-o", "json").stdout == first
    assert yaml.safe_load(run(*arguments, "-o", "yaml").stdout) == json.loads(first)


def keys(value: Any, path: str = "") -> Iterator[str]:
    """Every key path of a document; keys that are data (names of limits, terms, latencies) are one path."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield f"{path}{key}"
            if not path.endswith(("limitsRequestsPerSecond.", "latencySeconds.", "floorSeconds.", "termsSeconds.")):
                yield from keys(below, f"{path}{key}.")
    elif isinstance(value, list):
        for entry in value:
            yield from keys(entry, path)


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_every_key_has_its_unit_in_its_name_or_none(arguments: tuple[str, ...]) -> None:
    document = json.loads(run(*arguments, "-o", "json").stdout)
    bare = re.compile(r"(^|\.)(time|latency|memory|rate|price|bytes|seconds|cost|size)$", re.IGNORECASE)
    numeric = {key for key in keys(document) if bare.search(key) and not key.endswith((".memory", ".cost", ".rate"))}
    assert {key for key in numeric if key not in ("memory", "cost")} == set()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.01234, "0.0123"), (4.5678, "4.57"), (45.678, "45.7"), (1234.5, "1,234"), (1e-9, "0")],
)
def test_numbers_have_three_digits_and_no_exponent(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (1234.5, "$1,234.50"), (0.0213, "$0.0213")])
def test_small_prices_keep_their_digits(value: float | None, text: str) -> None:
    assert dollars(value) == text


@pytest.mark.parametrize("columns", [30, 60, 100])
def test_on_a_terminal_only_the_sentence_wraps_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    page = Page()
    page.table(
        ("A LONG HEAD", "NUMBER", "WHY"), [("a-name-of-a-gpu", 123_456, "a sentence longer than any terminal " * 3)]
    )
    page.write()
    text = capsys.readouterr().out
    assert "a-name-of-a-gpu" in text
    assert "123456" in text
    assert "…" not in text
    assert re.sub(r"\x1b\[[0-9;]*m", "", text).split().count("terminal") == 3
