"""Who pipes the planner's output into another program must not find the solver's banner in it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
from inferencefleet.planning.placement.solve import quiet_solver
solver = quiet_solver(1e-6)
solver.addVar(0, 1)
solver.run()
"""


def test_the_solver_says_nothing_not_even_who_it_is() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("", "")
