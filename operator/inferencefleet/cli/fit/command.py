"""The command `fit`."""

from __future__ import annotations

from typing import Any

import click

from inferencefleet import catalog
from inferencefleet.cli.fit.answer import Verdict, fit, shortlist
from inferencefleet.cli.fit.view import document, show
from inferencefleet.cli.flags import Above
from inferencefleet.cli.hardware import Gpus
from inferencefleet.cli.options import asked_of, model_options, output_option, tensor_parallel_option
from inferencefleet.cli.output import write_document
from inferencefleet.cli.workload import serving_of
from inferencefleet.economics.formats import formats_to_try


@click.command("fit", short_help="Which GPUs and formats hold a model.")
@model_options
@click.option("--gpu", "gpus", type=Gpus(), multiple=True, metavar="GPU,...", help="GPU types. Default: all known.")
@tensor_parallel_option
@click.option(
    "--request",
    "request_tokens",
    type=Above(1, 1e7, unit="tokens"),
    metavar="TOKENS",
    help="Prompt plus output of one request, to count how many fit at once. Default: --max-model-len.",
)
@click.option("--all", "every", is_flag=True, help="Show every size, not only the smallest that fits.")
@output_option
@click.pass_context
def command(
    ctx: click.Context, /, gpus: tuple[Any, ...], request_tokens: float | None, every: bool, form: str, **flags: Any
) -> None:  # fmt: skip
    """Which GPUs x tensor parallelism x formats hold MODEL, with the KV cache room that is left.

    A replica fits when its weights, the engine's overhead and one request of --max-model-len fit; that is when vLLM
    starts. Exit code 1 when nothing fits.
    """
    serving = serving_of(asked_of(flags))
    chosen = [gpu for listed in gpus for gpu in listed] or list(catalog.gpus().values())
    formats = serving.weights or formats_to_try(serving.model)
    request = request_tokens or float(serving.limits.max_model_len_tokens)
    rows = fit(serving, chosen, formats, request)
    if form == "table":
        show(serving, rows, rows if every or serving.tensor_parallel else shortlist(rows), request)
    else:
        write_document(document(serving, rows, request), form)
    if not any(row.verdict is Verdict.FITS for row in rows):
        ctx.exit(1)
