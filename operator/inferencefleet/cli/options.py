"""Flags that several commands share. Every one may be left out when a manifest (`-f`) says it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from inferencefleet.cli.flags import FORMATS, KV_FORMATS, PERCENTILES, Above, Duration, Listed, SloText, TensorParallel
from inferencefleet.cli.workload import Asked
from inferencefleet.domain.fleet import EVEN_UTILISATION
from inferencefleet.domain.hardware import NumberFormat

Command = TypeVar("Command", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path, dir_okay=False, allow_dash=True)
_TOKENS = Above(1, 10_000_000, unit="tokens")


def _stack(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def model_options(command: Command) -> Command:
    """MODEL, --config, -f and the engine's flags."""
    return _stack(
        click.argument("model", required=False, metavar="[MODEL]"),
        click.option("--config", type=_FILE, help="Hugging Face config.json of a model that is not in the catalogue."),
        click.option("-f", "--file", type=_FILE, help="An InferenceFleet manifest; flags override it. - is stdin."),
        click.option(
            "--weights", type=Listed(FORMATS), multiple=True, metavar="FORMAT,...",
            help=f"Weight formats ({', '.join(word.value for word in NumberFormat)}). Default: as published.",
        ),
        click.option("--kv-cache", type=KV_FORMATS, metavar="FORMAT", help="KV cache format, bf16 (default) or fp8."),
        click.option("--max-model-len", type=click.IntRange(256, 10_000_000), metavar="TOKENS",
                     help="Longest prompt plus output. Default: the model's limit, at most 32768."),
        click.option("--max-num-seqs", type=click.IntRange(1, 8192), metavar="N",
                     help="Most requests that run at once on a replica. Default 256."),
        click.option("--max-num-batched-tokens", type=click.IntRange(64, 1_048_576), metavar="TOKENS",
                     help="Most tokens of one engine step. Default 8192."),
        click.option("--gpu-memory-utilization", type=Above(0.1, 0.99, unit="a share"), metavar="SHARE",
                     help="Share of GPU memory that vLLM may use. Default 0.9."),
    )(command)  # fmt: skip


def tensor_parallel_option(command: Command) -> Command:
    return click.option(
        "--tp", "tensor_parallel", type=TensorParallel(), help="GPUs of one replica; auto (default) chooses."
    )(command)


def traffic_options(command: Command) -> Command:
    """Rate, lengths, objectives, headroom."""
    return _stack(
        click.option("--rate", type=Above(1e-6, 1e6, unit="requests/s"), metavar="N", help="Requests per second."),
        click.option("--prompt", type=_TOKENS, metavar="TOKENS", help="Mean prompt length."),
        click.option("--prompt-p95", type=_TOKENS, metavar="TOKENS",
                     help="95th percentile of it; the mean again for fixed lengths. Default: a usual long tail."),
        click.option("--output", "output_tokens", type=_TOKENS, metavar="TOKENS", help="Mean output length."),
        click.option("--output-p95", type=_TOKENS, metavar="TOKENS", help="95th percentile of it."),
        click.option("--prefix-hit", type=Above(0, 1, unit="a share"), metavar="SHARE",
                     help="Share of prompt tokens found in the prefix cache, 0 (default) to 1."),
        click.option("--ttft", type=Duration(), metavar="TIME", help="Time to first token, for example 2s."),
        click.option("--itl", type=Duration(), metavar="TIME", help="Inter-token latency, for example 60ms."),
        click.option("--e2e", type=Duration(), metavar="TIME", help="Time of the whole request."),
        click.option("--percentile", type=click.Choice([str(level) for level in PERCENTILES]),
                     help="Which percentile of --ttft, --itl and --e2e must hold. Default 95."),
        click.option("--slo", type=SloText(), multiple=True, metavar="METRIC:PNN:TIME",
                     help="An objective in full, for example ttft:p99:3s. May be repeated."),
        click.option("--headroom", type=Above(0.1, 1, unit="a share"), metavar="SHARE",
                     help=f"Planned utilisation of modelled capacity. Default {EVEN_UTILISATION:g}."),
    )(command)  # fmt: skip


def output_option(command: Command) -> Command:
    return click.option(
        "-o", "form", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True,
        help="For people, or for programs.",
    )(command)  # fmt: skip


def asked_of(flags: dict[str, Any]) -> Asked:
    """The shared flags of a command's parameters, which are taken out of `flags`."""
    weights = [word for words in flags.pop("weights") for word in words]
    percentile = flags.pop("percentile", None)
    return Asked(
        weights=tuple(dict.fromkeys(weights)) or None,
        percentile=int(percentile) if percentile else None,
        output=flags.pop("output_tokens", None),
        **{name: flags.pop(name) for name in list(flags) if name in Asked.__dataclass_fields__},
    )
