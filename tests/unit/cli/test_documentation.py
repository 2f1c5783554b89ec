"""docs/cli.md: its commands run and print what it shows the shape of, and its keys are those of the documents."""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from inferencefleet.cli.app import COMMANDS
from inferencefleet.cli.examples import Example, examples, filled, main, output_of
from tests.unit.cli.runner import CHAT, answer, run
from tests.unit.cli.test_output import keys

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "cli.md"
ALIKE = {
    "smallest": "replicas", "physics": "seed", "otherCheckpoints": "ranked", "otherSizes": "ranked",
    "unpriced": "ranked", "refused": "ranked",
}  # fmt: skip
DATA = (
    "limitsRequestsPerSecond.", "latencySeconds.", "floorSeconds.", "termsSeconds.", "usdByPool.",
    "replicasMeanByPool.", "decisions.from.", "decisions.to.",
)  # fmt: skip


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def page_examples() -> list[Example]:
    return list(examples(PAGE.read_text(encoding="utf-8")))


@pytest.mark.parametrize("example", page_examples(), ids=lambda example: " ".join(example.arguments[:2]))
def test_a_documented_command_runs_and_prints_what_is_shown(example: Example) -> None:
    """Figures move with the constants, so the columns of the first table are compared."""
    result = run(*example.arguments)
    # explain may find that the constants have moved since its example was saved.
    assert result.exit_code == 0 or (example.arguments[0] == "explain" and result.exit_code == 1), result.output
    shown, printed = (_heads(text) for text in (example.output, result.output))
    assert shown[:1] == printed[:1]


def _heads(text: str) -> list[str]:
    """Lines of column heads: capitals only."""
    lines = text.replace("GiB", "GIB").splitlines()
    columns = [" ".join(line.split()) for line in lines if re.fullmatch(r"[A-Z0-9$/ x.]+", line) and line.strip()]
    return [line for line in columns if not line.replace(" ", "").isdigit()]


def test_every_command_is_documented() -> None:
    assert {example.arguments[0] for example in page_examples()} == set(COMMANDS) - {"snapshot"}
    assert "kubectl fleet snapshot -o" in PAGE.read_text(encoding="utf-8"), "it needs a cluster to run"


def test_the_examples_can_be_refreshed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n```console\n$ kubectl fleet fit Qwen/Qwen3-8B \\\n    --gpu L4\nold\n```\nafter\n")
    assert main(["--write", str(page)]) == 0
    text = page.read_text()
    [example] = examples(text)
    assert example.arguments == ["fit", "Qwen/Qwen3-8B", "--gpu", "L4"]
    assert example.output == output_of(example)
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert filled(text) == text


def test_wrong_usage_of_the_refresher_says_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "--write docs/cli.md" in capsys.readouterr().err


@cache
def documents() -> dict[str, dict[str, Any]]:
    chat = ("Qwen/Qwen3-32B", *CHAT)
    return {
        "Fit": answer("fit", "Qwen/Qwen3-32B", "--gpu", "H100"),
        "Size": answer("size", *chat, "--gpu", "H100", "--price", "2"),
        "SeedSizing": answer(
            "size", *chat, "--gpu", "H100", "--tp", "1", "--mode", "seed", "--batch", "9", "--step", "1s"
        ),
        "Recommendation": answer("recommend", *chat, "--gpus", "H100,L40S", "--price", "2"),
        # Whether the saved status still agrees with today's constants is not the question here.
        "Why": answer("why", "-f", "examples/explain/chat.json"),
        "WhatIf": answer("what-if", "--snapshot", "examples/what-if/snapshot.json.gz", "--rate", "x2"),
        "Simulation": answer(
            "simulate",
            "--trace",
            "examples/simulate/trace.csv",
            "--fleet",
            "examples/simulate/fleet.yaml",
            "--pools",
            "examples/simulate/pools.yaml",
            "--alone",
        ),
        "Explanation": json.loads(run("explain", "-f", "examples/explain/chat.json", "-o", "json").stdout),
    }


KINDS = ["Fit", "Size", "SeedSizing", "Recommendation", "Why", "WhatIf", "Simulation", "Explanation"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_documented_keys_are_those_of_the_document(kind: str) -> None:
    document = documents()[kind]
    assert document["kind"] == kind
    section = PAGE.read_text(encoding="utf-8").split(f"\n### {kind}\n")[1].split("\n### ")[0]
    told = {
        key
        for row in section.splitlines()
        if row.startswith("| `")
        for key in re.findall(r"`([A-Za-z][A-Za-z0-9.]+)`", row)
    }
    found = {_normal(key, kind) for key in keys(document)}
    found.discard("")
    assert found - told == set(), "not documented"
    keyed = {key for key in told if key.split(".")[0] in document}
    assert keyed - found - set(ALIKE) - _above(found) == set(), "documented and not there"


def _normal(key: str, kind: str) -> str:
    first, _, rest = key.partition(".")
    if first in ALIKE and rest and kind != "Explanation":
        first = ALIKE[first]
    if kind == "Explanation" and first == "plan" and rest:
        return ""  # status.plan is documented by its own resource
    for data in DATA:
        if data in key:
            return key.split(data, maxsplit=1)[0] + data.removesuffix(".")
    return f"{first}.{rest}" if rest else key


def _above(found: set[str]) -> set[str]:
    return {key.rsplit(".", 1)[0] for key in found if "." in key}


def test_the_page_names_no_place_of_one_machine() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert os.fspath(ROOT) not in text
