"""The command `recommend`."""

from __future__ import annotations

from typing import Any

import click

from inferencefleet import catalog
from inferencefleet.cli.hardware import Gpus
from inferencefleet.cli.options import (
    asked_of,
    model_options,
    output_option,
    tensor_parallel_option,
    traffic_options,
)
from inferencefleet.cli.output import write_document
from inferencefleet.cli.prices import PriceList, price_list, price_options
from inferencefleet.cli.recommend.view import document, show
from inferencefleet.cli.workload import Workload, workload_of
from inferencefleet.domain.hardware import GpuSpec, NumberFormat
from inferencefleet.economics.formats import Checkpoint, checkpoint_of, formats_to_try
from inferencefleet.economics.recommend import Offer, Request, recommend
from inferencefleet.physics.confidence import prior_sigma_log
from inferencefleet.physics.refusals import SIZES
from inferencefleet.planning.size import planned_share

TOKEN_BUDGETS = (2048, 512)
"""Tried when --max-num-batched-tokens is left out."""
GPUS_PER_NODE = {"GB200": 4, "GB300": 4, "GH200": 1, "H100-NVL": 2}
"""Where tensor parallelism within NVLink ends earlier than usual; see the notes of the catalogue."""
USUAL_GPUS_PER_NODE = 8


@click.command("recommend", short_help="GPU x tensor parallelism x format, ranked by dollars at the SLO.")
@model_options
@click.option("--gpus", type=Gpus(), multiple=True, metavar="GPU,...", help="GPU types to compare. Default: all known.")
@tensor_parallel_option
@traffic_options
@price_options
@click.option("--top", type=click.IntRange(1, 1000), default=10, show_default=True, help="Rows of the ranking.")
@click.option("--force-pcie", is_flag=True, help="Rank tensor parallelism over PCIe as well.")
@click.option("--all", "every", is_flag=True, help="Also every other size and every refusal, each with its reason.")
@output_option
@click.pass_context
def command(
    ctx: click.Context, /, gpus: tuple[Any, ...], top: int, force_pcie: bool, every: bool, form: str, **flags: Any
) -> None:
    """Rank GPU x tensor parallelism x format by dollars per hour for MODEL at this rate with every objective kept.

    Whole replicas, planned with headroom. Formats that the published checkpoint gives (as it is, or fp8 while loading)
    are ranked; others are shown apart unless --weights names them. A GPU without a price is listed, not dropped. Exit
    code 1 when nothing serves.
    """
    prices = price_list(flags)
    workload = workload_of(asked_of(flags))
    prices = prices.allowed(workload.pools)
    chosen = [gpu for listed in gpus for gpu in listed]
    request = _request(workload, chosen, prices, force_pcie=force_pcie)
    found = recommend(request)
    if form == "table":
        show(found, workload, top, every=every)
    else:
        write_document(document(found, workload), form)
    if found.best is None and not found.unpriced:
        ctx.exit(1)


def _request(workload: Workload, gpus: list[GpuSpec], prices: PriceList, *, force_pcie: bool) -> Request:
    serving = workload.serving
    formats, others = _formats(workload)
    return Request(
        model=serving.model,
        requests_per_s=workload.requests_per_s,
        lengths=workload.lengths,
        slos=workload.slos,
        kv_cache=serving.kv_cache,
        limits=serving.limits,
        planned_share=lambda shape: planned_share(workload.headroom, prior_sigma_log(shape)),
        offers=tuple(_offers(gpus, prices)),
        formats=formats,
        other_formats=others,
        token_budgets=() if serving.token_budget_fixed else TOKEN_BUDGETS,
        sizes=SIZES if serving.tensor_parallel is None else (serving.tensor_parallel,),
        force_pcie=force_pcie,
        speculation=serving.speculation,
    )


def _formats(workload: Workload) -> tuple[tuple[NumberFormat, ...], tuple[NumberFormat, ...]]:
    """Those to rank, and those that need another checkpoint. What the user names is ranked, whatever it needs."""
    if workload.serving.weights is not None:
        return workload.serving.weights, ()
    model = workload.serving.model
    formats = formats_to_try(model)
    ready = tuple(weights for weights in formats if checkpoint_of(model, weights) is not Checkpoint.ANOTHER)
    return ready, tuple(weights for weights in formats if weights not in ready)


def _offers(gpus: list[GpuSpec], prices: PriceList) -> list[Offer]:
    if prices.pools and not gpus:
        gpus = list({pool.gpu.name: pool.gpu for pool in prices.pools}.values())
    gpus = gpus or list(catalog.gpus().values())
    prices.refuse_strangers(gpus)
    per_node = {pool.gpu.name: pool.gpus_per_node for pool in prices.pools}
    return [
        Offer(
            gpu=gpu,
            price=prices.tag(gpu),
            gpus_per_node=per_node.get(gpu.name, GPUS_PER_NODE.get(gpu.name, USUAL_GPUS_PER_NODE)),
        )
        for gpu in gpus
    ]
