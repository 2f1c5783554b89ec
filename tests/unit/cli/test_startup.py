"""Help comes at once: what is slow to import is imported when a command needs it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SLOW = {"numpy", "pydantic", "yaml", "rich", "matplotlib", "kubernetes", "aiohttp", "kopf"}
SCRIPT = """
import json, sys
from click.testing import CliRunner
from inferencefleet.cli.app import fleet
result = CliRunner().invoke(fleet, sys.argv[1:])
print(json.dumps({"exit": result.exit_code, "modules": sorted(name for name in sys.modules if "." not in name)}))
"""


def imported(*arguments: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["exit"] == 0
    return set(found["modules"])


@pytest.mark.parametrize("arguments", [("--help",), ("--version",)])
def test_help_and_version_import_nothing_slow(arguments: tuple[str, ...]) -> None:
    assert imported(*arguments) & SLOW == set()


def test_a_size_needs_neither_the_schema_nor_a_cluster_client() -> None:
    chat = ("--rate", "1", "--prompt", "100", "--output", "100", "--ttft", "2s")
    modules = imported("size", "Qwen/Qwen3-8B", "--gpu", "H100", *chat, "-o", "json")
    assert modules & {"pydantic", "kubernetes", "aiohttp", "kopf", "matplotlib", "rich"} == set()
