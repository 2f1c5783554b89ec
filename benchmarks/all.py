"""All benchmarks, one after the other: more than an hour, half of it the five demos.

python -m benchmarks.all [--no-cold] [--skip demo_seeds]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks import (
    accuracy,
    calibration,
    demo_seeds,
    forecast,
    grid,
    plan_speed,
    reaction,
    routing,
    setup_time,
    sizing_speed,
    tails,
    tick,
)

BENCHMARKS = {
    "accuracy": accuracy.main,
    "calibration": calibration.main,
    "grid": grid.main,
    "tails": tails.main,
    "routing": routing.main,
    "sizing_speed": sizing_speed.main,
    "forecast": forecast.main,
    "plan_speed": plan_speed.main,
    "tick": tick.main,
    "reaction": reaction.main,
    "setup_time": setup_time.main,
    "demo_seeds": demo_seeds.main,
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.all")
    parser.add_argument("--no-cold", action="store_true", help="of setup_time, the warm steps only")
    parser.add_argument("--skip", action="append", default=[], choices=sorted(BENCHMARKS))
    args = parser.parse_args(argv)
    status = 0
    for name, run in BENCHMARKS.items():
        if name in args.skip:
            continue
        print(f"==== {name}", flush=True)
        status = run(["--no-cold"] if name == "setup_time" and args.no_cold else []) or status
    return status


if __name__ == "__main__":
    sys.exit(main())
