"""How long one capacity takes, and a table of them; the same question to aiconfigurator's search, where there is one.

    python -m benchmarks.sizing_speed [--aiconfigurator PYTHON]

`PYTHON` is an interpreter with aiconfigurator 0.12 (`pip install aiconfigurator==0.12.*` in an environment of its own).
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from benchmarks.paper import Paper, Table, milliseconds, quantile
from benchmarks.shapes import a_shape
from inferencefleet.catalog import gpus
from inferencefleet.domain.capacity import Limit, ReplicaCapacity, ReplicaShape
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.slo import Slo, SloMetric
from inferencefleet.physics.capacity import replica_capacities, replica_capacity
from inferencefleet.physics.lengths import lognormal_mix

REPEATS = 60
TABLES = 15
ID = "Qwen/Qwen3-32B"
GPUS = ("A100-SXM", "H100-SXM", "H200", "B200", "L40S", "A10G", "A100-40", "RTX-4090", "RTX-PRO-6000")
FORMATS = (NumberFormat.BF16, NumberFormat.FP8, NumberFormat.INT4)
SIZES = (1, 2, 4, 8)
TTFT = Slo(metric=SloMetric.TTFT, percentile=95, target_s=2.0)
ITL = Slo(metric=SloMetric.ITL, percentile=95, target_s=0.060)
CHAT = (TTFT, ITL)
SEARCHED = {"isl": 1000, "osl": 250, "ttft": 2000.0, "tpot": 60.0}


def questions() -> dict[str, tuple[ReplicaShape, tuple[Slo, ...]]]:
    """One question for each limit that can bind, and the usual one with two SLOs."""
    return {
        "TTFT and ITL p95": (a_shape(), CHAT),
        "TTFT p95 binds": (a_shape(), (replace(TTFT, target_s=0.3),)),
        "ITL p95 binds": (a_shape(), (ITL,)),
        "E2E p50 binds": (a_shape(), (Slo(metric=SloMetric.E2E, percentile=50, target_s=4.0),)),
        "KV cache binds": (a_shape(gpus=1, weights="fp8"), ()),
        "slots bind": (a_shape(max_num_seqs=16), ()),
        "host binds": (a_shape("Qwen/Qwen3-0.6B", "B200", max_num_seqs=1024, cuda_graph_tokens=16384), ()),
        "ITL p95 of a mixture of experts": (a_shape("Qwen/Qwen3-235B-A22B", gpus=8, weights="fp8"), CHAT),
        "does not fit": (a_shape("meta-llama/Llama-3.3-70B-Instruct", gpus=1), CHAT),
    }


def table_shapes() -> list[ReplicaShape]:
    """9 GPU types x 4 sizes x 3 formats."""
    known = gpus()
    names = [name for name in GPUS if name in known]
    names += [name for name in known if name not in names and "/" not in name][: len(GPUS) - len(names)]
    return [
        a_shape(gpu_name=name, gpus=size, weights=weights)
        for name, size, weights in itertools.product(names, SIZES, FORMATS)
    ]


def fresh_mixes() -> Iterator[LengthMix]:
    """Mixes that differ in the last digits, so that nothing is remembered."""
    for number in itertools.count():
        yield lognormal_mix(prompt_mean=1000.0 + number * 1e-3, output_mean=250.0)


def timed(ask: Callable[[LengthMix], object], mixes: Iterable[LengthMix]) -> list[float]:
    """Processor seconds of `ask` for each of these mixes: it uses one core, and the machine is shared."""
    found = []
    for mix in mixes:
        begun = time.process_time()
        ask(mix)
        found.append(time.process_time() - begun)
    return found


def _ask_one(shape: ReplicaShape, slos: Sequence[Slo], mix: LengthMix) -> ReplicaCapacity:
    return replica_capacity(shape, mix, slos)


def _ask_all(shapes: Sequence[ReplicaShape], mix: LengthMix) -> list[ReplicaCapacity]:
    return replica_capacities(shapes, mix, CHAT)


def spread(seconds: list[float]) -> list[str]:
    return [milliseconds(quantile(seconds, share)) for share in (0.0, 0.5, 0.95)]


# What an interpreter with aiconfigurator runs: one search of the same question, timed after a first one that loads.
_SEARCH = """
import contextlib, io, json, logging, sys, time
logging.disable(logging.CRITICAL)
asked = json.loads(sys.argv[1])
from aiconfigurator.cli.api import cli_default
from importlib.metadata import version
times = []
for number in range(4):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        begun = time.process_time()
        cli_default(
            model_path=asked["model"], total_gpus=asked["gpus"], system=asked["system"], backend="vllm",
            isl=asked["isl"] + number, osl=asked["osl"], ttft=asked["ttft"], tpot=asked["tpot"],
        )
        times.append(time.process_time() - begun)
print(json.dumps({"version": version("aiconfigurator"), "first_s": times[0], "next_s": times[1:]}))
"""


def aiconfigurator(python: str | None) -> dict[str, object] | str:
    """Seconds of aiconfigurator's search, or why there are none."""
    if python is None:
        if importlib.util.find_spec("aiconfigurator") is None:
            return "not installed"
        python = sys.executable
    asked = {"model": ID, "gpus": 8, "system": "h100_sxm", **SEARCHED}
    run = subprocess.run(
        [python, "-c", _SEARCH, json.dumps(asked)], capture_output=True, text=True, check=False, timeout=600
    )
    if run.returncode:
        return f"failed: {run.stderr.strip().splitlines()[-1] if run.stderr.strip() else run.returncode}"
    found: dict[str, object] = json.loads(run.stdout.strip().splitlines()[-1])
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--aiconfigurator", metavar="PYTHON", help="an interpreter that has it")
    arguments = parser.parse_args(argv)
    paper = Paper(name="sizing_speed", title="Speed of sizing", seed="none: everything is deterministic")
    mixes = fresh_mixes()

    rows, figures = [], {}
    for name, (shape, slos) in questions().items():
        replica_capacity(shape, next(mixes), slos)
        cold = timed(partial(_ask_one, shape, slos), itertools.islice(mixes, REPEATS))
        answer = replica_capacity(shape, next(mixes), slos)
        rows.append([name, str(answer.binding), *spread(cold)])
        figures[name] = {"binding": str(answer.binding), "seconds": cold}
    shapes = table_shapes()
    replica_capacities(shapes, next(mixes), CHAT)
    tables = timed(partial(_ask_all, shapes), itertools.islice(mixes, TABLES))
    mix = next(mixes)
    answers = replica_capacities(shapes, mix, CHAT)
    remembered = timed(partial(_ask_one, shapes[0], CHAT), [mix] * REPEATS)
    again = timed(partial(_ask_all, shapes), [mix] * TABLES)
    refused = sum(answer.binding is Limit.MODEL_TOO_LARGE for answer in answers)

    paper.parts += [
        "Milliseconds of processor time of one question, each with a length mix of 512 requests never seen before. It "
        "runs on one core; the machine was shared, which makes caches colder: see its load below.",
        Table(("question", "binding limit", "least", "median", "p95"), rows),
        f"A table of {len(shapes)} replicas of {ID} ({len(shapes) // 12} GPU types x {SIZES} GPUs x "
        f"{', '.join(FORMATS)}; {refused} do not fit) with two SLOs, and questions that were asked before:",
        Table(
            ("question", "least", "median", "p95"),
            [
                [f"{len(shapes)} replicas", *spread(tables)],
                [f"{len(shapes)} replicas, asked before", *spread(again)],
                ["one replica, asked before", *spread(remembered)],
            ],
        ),
    ]
    paper.figures = {"single": figures, "table_s": tables, "table_again_s": again, "remembered_s": remembered}
    paper.parts += against(aiconfigurator(arguments.aiconfigurator), mixes, paper)
    paper.write()
    return 0


def against(found: dict[str, object] | str, mixes: Iterator[LengthMix], paper: Paper) -> list[str | Table]:
    """The same question, which GPUs and sizes serve this model best on one node of 8 x H100, both ways."""
    shapes = [a_shape(gpus=size, weights=weights) for size in SIZES for weights in ("bf16", "fp8")]
    ours = timed(partial(_ask_all, shapes), itertools.islice(mixes, REPEATS))
    paper.figures["search_s"] = ours
    text = (
        f"The search of aiconfigurator for {ID} on 8 x H100 (vLLM, {SEARCHED['isl']} prompt and {SEARCHED['osl']} "
        f"output tokens, TTFT {SEARCHED['ttft']:.0f} ms, TPOT {SEARCHED['tpot']:.0f} ms), and the capacities of all "
        f"{len(shapes)} sizes and formats on that node by this project, at the distribution of lengths. The first "
        "search loads the operator measurements."
    )
    rows = [["this project", *spread(ours), "1"]]
    if isinstance(found, str):
        rows.append(["aiconfigurator 0.12", found, "", "", ""])
    else:
        later = [float(value) for value in found["next_s"]]  # type: ignore[attr-defined]
        paper.figures["aiconfigurator"] = found
        ratio = quantile(later, 0.5) / quantile(ours, 0.5)
        rows.append([f"aiconfigurator {found['version']}", *spread(later), f"{ratio:,.0f}"])
        rows.append(["its first search", milliseconds(float(str(found["first_s"]))), "", "", ""])
    return [text, Table(("search", "least", "median", "p95", "times ours"), rows)]


if __name__ == "__main__":
    sys.exit(main())
