"""Help comes at once: what is slow to import is imported when a command needs it. And how the process ends."""

from __future__ import annotations

import errno
import json
import subprocess
import sys

import pytest

from inferencefleet.cli import app

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


@pytest.mark.parametrize(
    ("event", "code", "says"),
    [
        (KeyboardInterrupt(), 130, "Interrupted"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "the answer cannot be written: No space left on device"),
    ],
    ids=["Ctrl-C", "full disk"],
)
def test_what_ends_a_command_early_is_no_answer_and_no_traceback(
    event: BaseException, code: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ends(*_: object) -> None:
        raise event

    monkeypatch.setattr(sys, "argv", ["kubectl-fleet", "fit", "Qwen/Qwen3-8B"])
    monkeypatch.setattr(app.fleet, "invoke", ends)
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == code
    assert says in capsys.readouterr().err


def test_exit_codes_reach_the_shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, code in (
        (("fit", "Qwen/Qwen3-8B", "--gpu", "H100"), 0),
        (("fit", "deepseek-ai/DeepSeek-V3", "--gpu", "L4", "--tp", "1"), 1),
        (("fit", "Qwen/Qwen3-8C"), 2),
    ):
        monkeypatch.setattr(sys, "argv", ["kubectl-fleet", *arguments])
        with pytest.raises(SystemExit) as ended:
            app.main()
        assert (ended.value.code or 0) == code, capsys.readouterr().err
