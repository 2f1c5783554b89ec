"""The command `what-if`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from inferencefleet.cli.flags import Above, OneOf, SloText
from inferencefleet.cli.options import output_option
from inferencefleet.cli.output import write_document
from inferencefleet.cli.whatif.flags import Factor, Named, Times
from inferencefleet.domain.fleet import Routing

_FILE = click.Path(path_type=Path, dir_okay=False, allow_dash=True)
_PRICE = Above(0, 1e4, unit="dollars for a GPU and hour")
_GPUS = Above(0, 1e6, unit="a number of GPUs")


@click.command("what-if", short_help="Plan a saved snapshot again with something changed.")
@click.option(
    "--snapshot",
    "path",
    type=_FILE,
    required=True,
    metavar="FILE",
    help="What kubectl fleet snapshot -o FILE wrote; - is standard input.",
)
@click.option(
    "--fleet",
    "fleets",
    multiple=True,
    metavar="NS/NAME",
    help="Whose traffic, objectives and limits change; may be repeated. Default: all fleets.",
)
@click.option("--rate", type=Factor(), metavar="xN|N", help="Traffic times N, or N requests/s for each of the fleets.")
@click.option("--prompt", type=Times(), metavar="xN", help="Prompts N times as long.")
@click.option(
    "--slo",
    type=SloText(),
    multiple=True,
    metavar="METRIC:PNN=TIME",
    help="An objective instead of those of its metric, for example ttft:p95=1s. May be repeated.",
)
@click.option("--min", "least", type=click.IntRange(0, 100_000), metavar="N", help="scaling.minReplicas.")
@click.option("--max", "most", type=click.IntRange(0, 100_000), metavar="N", help="scaling.maxReplicas.")
@click.option("--routing", type=OneOf(Routing, "routing"), help="How requests are spread over replicas.")
@click.option("--pool-gone", multiple=True, metavar="POOL", help="The pool has no GPUs any more. May be repeated.")
@click.option("--price", type=Named(_PRICE), multiple=True, metavar="POOL=N", help="Dollars for a GPU and hour.")
@click.option("--limit", type=Named(_GPUS), multiple=True, metavar="POOL=N", help="Most GPUs of the pool.")
@output_option
def command(path: Path, form: str, **flags: Any) -> None:
    """Plan a snapshot twice, as it was and changed, and show the difference fleet by fleet and pool by pool.

    The operator's own planner on what the operator saw. NOW is the next step, behind stabilization windows and rate
    policies; WANTED is where it leads. What is observed and remembered changes with the traffic.
    """  # fmt: skip
    from inferencefleet.cli.greeting import swallow_greeting
    from inferencefleet.cli.snapshots import read_snapshot
    from inferencefleet.cli.whatif.answer import compare
    from inferencefleet.cli.whatif.view import document, show

    swallow_greeting()
    answer = compare(read_snapshot(path), **flags)
    if form == "table":
        show(answer)
    else:
        write_document(document(answer), form)
