"""The command `size`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from inferencefleet.cli.flags import Above, Duration
from inferencefleet.cli.hardware import Gpu
from inferencefleet.cli.options import (
    asked_of,
    model_options,
    output_option,
    tensor_parallel_option,
    traffic_options,
)
from inferencefleet.cli.output import write_document
from inferencefleet.cli.prices import PriceList, price_list, price_options
from inferencefleet.cli.refusal import Refusal, refuse
from inferencefleet.cli.size.answer import Sized, size
from inferencefleet.cli.size.document import document
from inferencefleet.cli.size.view import show
from inferencefleet.cli.workload import Workload, workload_of
from inferencefleet.domain.hardware import GpuSpec, NumberFormat


@click.command("size", short_help="Capacity of one replica, and replicas for a rate.")
@model_options
@click.option("--gpu", type=Gpu(), metavar="GPU", help="GPU type, MIG profile, or name=...,memory=...,bandwidth=...")
@tensor_parallel_option
@traffic_options
@price_options
@click.option(
    "--mode",
    type=click.Choice(["physics", "seed"]),
    default="physics",
    show_default=True,
    help="seed: the textbook chain (memory, batch / time) and which of its assumptions break.",
)
@click.option(
    "--batch", type=Above(1, 1e5, unit="requests"), metavar="N", help="Seed mode: requests that decode together."
)
@click.option("--step", type=Duration(), metavar="TIME", help="Seed mode: time of a decode step at that batch.")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.png",
    help="Write the roofline and latency-versus-load charts.",
)
@output_option
@click.pass_context
def command(
    ctx: click.Context, /, gpu: GpuSpec | None, mode: str, batch: float | None, step: float | None,
    plot: Path | None, form: str, **flags: Any,
) -> None:  # fmt: skip
    """What one replica of MODEL can do while every objective holds, and how many the rate needs.

    Lengths are a distribution with a long tail, not their means: give --prompt-p95 and --output-p95 if you know them
    (the mean again for fixed lengths). Exit code 1 when the replica cannot serve.
    """
    prices = price_list(flags)
    workload = workload_of(asked_of(flags))
    prices = prices.allowed(workload.pools)
    chosen = gpu or _only_gpu(prices)
    prices.refuse_strangers([chosen])
    weights = _one_format(workload)
    if mode == "seed":
        from inferencefleet.cli.size.seed import answer_as_seed

        if plot is not None:
            raise refuse("--plot", plot, "charts are drawn of --mode physics; leave it out, or ask in two commands")
        answer_as_seed(workload, chosen, weights, batch, step, form)
        return
    if batch is not None or step is not None:
        raise refuse("--batch, --step", "given", "are what --mode seed believes; physics computes both. Leave them out")
    try:
        sized = size(workload, chosen, weights, prices.tag(chosen))
    except ValueError as error:
        raise refuse("--tp", workload.serving.tensor_parallel, f"{error}; use --tp auto") from None
    if plot is not None:
        _plot(sized, plot)
    if form == "table":
        show(sized)
    else:
        write_document(document(sized), form)
    if sized.fleet is None:
        ctx.exit(1)


def _plot(sized: Sized, path: Path) -> None:
    from inferencefleet.cli.plot.charts import draw

    work = sized.workload
    planned = sized.fleet.planned_requests_per_s if sized.fleet else 0.0
    draw(sized.shape, work.lengths, work.slos, sized.capacity, sized.scales, planned, path)


def _only_gpu(prices: PriceList) -> GpuSpec:
    """Pools name the GPU when they all have the same one."""
    types = {pool.gpu.name: pool.gpu for pool in prices.pools}
    if len(types) == 1:
        return next(iter(types.values()))
    if types:
        raise refuse("--gpu", "", f"is missing, and the pools have several: {', '.join(types)}; give one of them")
    raise Refusal("--gpu: is missing; give for example --gpu H100, or --pools pools.yaml. recommend compares all types")


def _one_format(workload: Workload) -> NumberFormat:
    formats = workload.serving.weights or (workload.serving.model.native_weights,)
    if len(formats) > 1:
        given = ",".join(formats)
        raise refuse("--weights", given, "size takes one format; give one, or let recommend compare them")
    return formats[0]
