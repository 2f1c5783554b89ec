"""Without numba the same kernels run as plain Python: the same results, and a notice that says how to be faster."""

from __future__ import annotations

import os
import subprocess
import sys

from inferencefleet.simulator.fast import notice
from inferencefleet.simulator.truth import Truth
from tests.unit.simulator.servers_cases import BOTH, LATER_S, fleet, kind, poisson

PROGRAM = """
import sys
sys.modules["numba"] = None
from inferencefleet.simulator.fast import notice
from inferencefleet.simulator.truth import Truth
from tests.unit.simulator.servers_cases import BOTH, LATER_S, fleet, kind, poisson
servers = fleet(BOTH["fast"], poisson(60, 5.0, sessions=5), kind(Truth()), kind(Truth()))
servers.run_until(LATER_S)
print(notice())
print(servers.results().e2e_s.sum().hex(), servers.counters().itl_hist.tolist())
"""


def test_plain_python_gives_what_compiled_kernels_give_and_says_that_it_is_slow() -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    said, found = ran.stdout.strip().split("\n")
    assert "pip install 'inferencefleet[simulate]'" in said
    servers = fleet(BOTH["fast"], poisson(60, 5.0, sessions=5), kind(Truth()), kind(Truth()))
    servers.run_until(LATER_S)
    assert found == f"{servers.results().e2e_s.sum().hex()} {servers.counters().itl_hist.tolist()}"
    assert notice() is None
