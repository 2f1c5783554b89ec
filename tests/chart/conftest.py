"""The chart through the genuine helm."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.toolchain import Toolchain, resolve

CHART = Path(__file__).parents[2] / "charts" / "inferencefleet"

Manifest = dict[str, Any]
Render = Callable[..., list[Manifest]]
Helm = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def tools() -> Toolchain:
    """Found on this machine, or built once; see sandbox/toolchain."""
    return resolve()


@pytest.fixture(scope="session")
def helm(tools: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    home = tmp_path_factory.mktemp("helm")
    environment = {"HELM_CACHE_HOME": str(home), "HELM_CONFIG_HOME": str(home), "HELM_DATA_HOME": str(home)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command: Sequence[str] = (*tools.helm, *arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)

    return run


@pytest.fixture(scope="session")
def render(helm: Helm) -> Render:
    """`render("operator.enabled=false")` -> the manifests."""

    def run(*values: str, crds: bool = False) -> list[Manifest]:
        settings = [part for value in values for part in ("--set", value)]
        more = ["--include-crds"] if crds else []
        done = helm("template", "release", str(CHART), "--namespace", "fleet-system", *more, *settings)
        assert done.returncode == 0, done.stderr
        return [each for each in yaml.safe_load_all(done.stdout) if each]

    return run
