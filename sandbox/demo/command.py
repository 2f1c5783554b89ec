"""`python -m sandbox demo`."""

from __future__ import annotations

import argparse
from pathlib import Path

from sandbox.demo.report import Outcome
from sandbox.demo.session import Session
from sandbox.demo.view import console
from sandbox.stack import REPOSITORY


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scenario", default="quickstart", help="a file, or a name in sandbox/scenarios")
    parser.add_argument("--seed", type=int, default=1, help="of the traffic, the cloud and the engines' noise")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "demo-report", help="where the report goes")
    parser.add_argument("--name", default="demo", help="of the sandbox: two demos at once need two names")
    parser.add_argument("--plain", action="store_true", help="one line every ten seconds instead of a live view")


def run(args: argparse.Namespace) -> int:
    """Exit status 0 only when every check passed."""
    outcome = Session(args.scenario, args.seed, args.out, quiet=args.plain, name=args.name).run()
    show(outcome, args.out)
    return 0 if outcome.passed else 1


def show(outcome: Outcome, out: Path) -> None:
    screen = console()
    for check in outcome.checks:
        mark = "[green]ok[/]" if check.passed else "[bold red]NO[/]"
        screen.print(f"  {mark}  [bold]{check.name:<13}[/] {check.says}")
    dollars, static = outcome.summary["cost"]["dollars"], outcome.static_dollars
    screen.print(
        f"  ${dollars:.2f} against ${static:.2f} for {outcome.static_replicas} replicas all the time "
        f"({100 * (1 - dollars / static):.0f} % less)"
    )
    screen.print(f"  Prometheus saw TTFT within the SLO for {_share(outcome.prometheus['ttft'])} of requests, "
                 f"ITL for {_share(outcome.prometheus['itl'])} of tokens")  # fmt: skip
    screen.print(f"  report: {out / 'summary.md'}, picture: {out / 'demo.png'}", soft_wrap=True)
    screen.print("[bold green]The demo passed[/]" if outcome.passed else "[bold red]The demo failed[/]")


def _share(value: float | None) -> str:
    return "nothing" if value is None else f"{100 * value:.1f} %"
