"""The command `simulate`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inferencefleet.cli.options import output_option
from inferencefleet.cli.output import write_document
from inferencefleet.cli.refusal import Refusal, refuse
from inferencefleet.cli.simulate.truth import TruthFactors
from inferencefleet.cli.whatif.flags import Times

if TYPE_CHECKING:
    from inferencefleet.cli.simulate.answer import Simulated
    from inferencefleet.domain.fleet import Fleet
    from inferencefleet.domain.pool import Pool
    from inferencefleet.simulator.replay import Availability
    from inferencefleet.simulator.servers import Arrivals

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("simulate", short_help="Replay a trace on fleets and pools.")
@click.option(
    "--trace",
    type=_FILE,
    metavar="FILE.csv",
    help="Requests: arrival_s,prompt_tokens,output_tokens[,prefix_tokens[,session]]; packed or not.",
)
@click.option(
    "--rate", type=_FILE, metavar="FILE.csv", help="Instead of a trace: minute,requests_per_s (or requests_per_minute)."
)
@click.option(
    "--lengths",
    type=_FILE,
    metavar="FILE.csv",
    help="With --rate: prompt_tokens,output_tokens[,prefix_tokens]. Default: as the fleet declares.",
)
@click.option("--fleet", "fleet_file", type=_FILE, required=True, metavar="FILE.yaml", help="The InferenceFleet.")
@click.option("--pools", "pools_file", type=_FILE, required=True, metavar="FILE.yaml", help="Its GPUPools.")
@click.option(
    "--policy",
    "names",
    multiple=True,
    metavar="NAME",
    help="Who decides; the first is looked at closely, further ones are compared. Default ours.",
)
@click.option("--alone", is_flag=True, help="Without the comparison with a fixed fleet for the busiest minute.")
@click.option(
    "--spot",
    multiple=True,
    metavar="[POOL=]FILE",
    help="A recorded spot market: at_s,nodes, or JSON of published traces. Default: chance, as declared.",
)
@click.option("--traffic", type=Times(), metavar="xN", help="N times the traffic, as next quarter may bring.")
@click.option(
    "--truth",
    "factors",
    type=TruthFactors(),
    metavar="NAME=FACTOR,...",
    help="How far engines are off the prior (memory, compute, overhead, kv_cache, ...), or prior. Default: "
    "drawn as it was measured.",
)
@click.option(
    "--start",
    default="2027-01-15T08:00:00Z",
    show_default=True,
    metavar="TIME",
    help="When it begins: schedules of the fleet look at the calendar.",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=1, show_default=True, help="Of all chance.")
@click.option("--report", type=_FILE, metavar="OUT.html", help="A page with charts, tables and all decisions.")
@output_option
def command(form: str, report: Path | None, **flags: Any) -> None:
    """Replay traffic on a fleet and its pools, request by request, and see what a policy makes of it.

    The planner is the operator's own; engines, clouds and Prometheus are simulated, and the planner sees of them what
    it would see in production. --policy also takes the control laws of others; a name that is not known lists them.
    """  # fmt: skip
    from inferencefleet.cli.greeting import swallow_greeting
    from inferencefleet.cli.simulate.view import document, show

    swallow_greeting()
    answer = _simulated(**flags)
    if report is not None:
        from inferencefleet.cli.simulate.report import write_report

        write_report(answer, report)
    if form == "table":
        show(answer)
    else:
        write_document(document(answer), form)


def _simulated(
    *,
    trace: Path | None,
    rate: Path | None,
    lengths: Path | None,
    fleet_file: Path,
    pools_file: Path,
    names: tuple[str, ...],
    alone: bool,
    spot: tuple[str, ...],
    traffic: float | None,
    factors: dict[str, float] | None,
    start: str,
    seed: int,
) -> Simulated:
    from inferencefleet.cli.manifests import fleet_of, pools_of
    from inferencefleet.cli.simulate.answer import OURS, PEAK, check_policies, simulate
    from inferencefleet.cli.simulate.truth import truth
    from inferencefleet.cli.simulate.world import stage_of
    from inferencefleet.simulator import fast
    from inferencefleet.simulator.replay import StageError

    chosen = tuple(dict.fromkeys(names or (OURS,)))
    check_policies(chosen)
    if not alone and PEAK not in chosen:
        chosen = (*chosen, PEAK)
    fleet, _ = fleet_of(fleet_file, {})
    pools = pools_of(pools_file)
    arrivals = _arrivals(trace, rate, lengths, fleet, traffic, seed)
    found = truth(factors, seed)
    notice = fast.notice()
    if notice is not None:
        click.echo(notice, err=True)
    try:
        stage = stage_of(
            fleet, pools, arrivals, truth=found, markets=_markets(spot, pools), start_s=_start(start)
        )  # fmt: skip
        with _progress(chosen) as progress:
            return simulate(
                stage, found, chosen, engines=fast.servers, seed=seed, progress=progress,
                notes=[notice] if notice else [],
            )  # fmt: skip
    except StageError as error:
        raise Refusal(f"{pools_file}: {error}") from None


def _arrivals(
    trace: Path | None, rate: Path | None, lengths: Path | None, fleet: Fleet, factor: float | None, seed: int
) -> Arrivals:
    from inferencefleet.cli.simulate.traffic import from_rates, from_trace, times

    if (trace is None) == (rate is None):
        raise Refusal("--trace: give either --trace FILE.csv, or --rate FILE.csv (with --lengths FILE.csv)")
    if trace is not None and lengths is not None:
        raise Refusal("--lengths: goes with --rate; a trace has the lengths of its own requests")
    found = (
        from_trace(trace)
        if trace is not None
        else from_rates(rate or Path(), lengths, fleet.expected.lengths, seed=seed)
    )
    found = times(found, factor or 1.0, seed=seed)
    if not len(found):
        raise refuse("--traffic" if factor else "--rate", factor or rate, "leaves no request to replay; give more")
    return found


def _markets(given: tuple[str, ...], pools: tuple[Pool, ...]) -> dict[str, Availability]:
    """By pool; a file that names none is for every spot pool."""
    from inferencefleet.cli.simulate.world import market
    from inferencefleet.domain.pool import CapacityType

    spot = [pool.name for pool in pools if pool.capacity_type is CapacityType.SPOT]
    found: dict[str, Availability] = {}
    for word in given:
        name, equals, file = word.partition("=")
        if equals and name not in spot:
            raise refuse("--spot", word, f"{name} is no spot pool; those are {', '.join(spot) or 'none'}")
        if not spot:
            raise refuse("--spot", word, "there is no spot pool to replay it on; add one to --pools")
        read = market(Path(file if equals else word))
        found |= dict.fromkeys([name] if equals else spot, read)
    return found


def _start(text: str) -> float:
    from inferencefleet.api.times import from_timestamp

    try:
        return from_timestamp(text)
    except ValueError as error:
        raise refuse("--start", text, f"{error}; write for example 2027-01-15T08:00:00Z") from None


@contextmanager
def _progress(names: tuple[str, ...]) -> Iterator[Callable[[str, float], None]]:
    """A bar for each policy on the terminal, beside standard output; silence in a pipe."""
    if not sys.stderr.isatty():
        yield lambda name, share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bars:
        tasks = {name: bars.add_task(name, total=1.0) for name in names}
        yield lambda name, share: bars.update(tasks[name], completed=share)
