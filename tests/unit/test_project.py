"""What holds for the project as a whole: where files are, how long they are, which words are used."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from inferencefleet.domain.plan import Reason

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "operator" / "inferencefleet"
ROOMS = {
    "adapters", "api", "catalog", "cli", "control", "domain", "economics", "handlers", "physics", "planning",
    "simulator", "telemetry",
}  # fmt: skip
LONGEST_SOURCE, LONGEST_TEST = 400, 600


def sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    return listed.stdout.splitlines()


def test_operator_is_a_source_root_and_never_a_package() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists(), "it would shadow the standard library's operator"


def test_every_file_lies_in_a_room_that_the_design_names() -> None:
    found = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert found <= ROOMS
    loose = {path.name for path in PACKAGE.glob("*.py")}
    assert loose <= {"__init__.py", "__main__.py", "ports.py", "settings.py"}


@pytest.mark.parametrize("folder", ["operator", "sandbox", "benchmarks"])
def test_no_source_file_is_longer_than_a_reader_bears(folder: str) -> None:
    long = {str(path): n for path in sources(ROOT / folder) if (n := _lines(path)) > LONGEST_SOURCE}
    assert long == {}


def test_no_test_file_is_longer_than_a_reader_bears() -> None:
    long = {str(path): n for path in sources(ROOT / "tests") if (n := _lines(path)) > LONGEST_TEST}
    assert long == {}


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sources(PACKAGE)
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_given_somewhere(reason: Reason) -> None:
    """A code that nobody says would be documented, waited for in scripts, and never come."""
    users = [
        path
        for path in sources(PACKAGE)
        if path != PACKAGE / "domain" / "plan.py"
        and (f"Reason.{reason.name}" in path.read_text() or f'"{reason.value}"' in path.read_text())
    ]
    assert users, f"{reason.name} is not used"


def test_a_reason_of_a_clamp_has_a_place_in_what_is_said_first() -> None:
    source = (PACKAGE / "planning" / "explain.py").read_text()
    for name in ("METRICS_MISSING", "NOT_ENOUGH_GPUS", "REPLACING_DOOMED", "MAX_REPLICAS", "POOL_EXHAUSTED"):
        assert f"Reason.{name}" in source


def test_nothing_that_is_built_or_downloaded_is_in_the_repository() -> None:
    unwanted = [
        path
        for path in tracked()
        if path.endswith((".pyc", ".so", ".db")) or path.startswith((".venv/", "demo-report/", ".sandbox/"))
    ]
    assert unwanted == []


def test_the_chart_ships_the_generated_definitions() -> None:
    assert (ROOT / "charts" / "inferencefleet" / "crds").resolve() == ROOT / "crds"
