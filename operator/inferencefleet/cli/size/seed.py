"""`size --mode seed`: the textbook chain as printed, and which of its assumptions break for this question."""

from __future__ import annotations

from typing import Any

from inferencefleet.cli.output import Page, number, rounded, write_document
from inferencefleet.cli.refusal import Refusal
from inferencefleet.cli.workload import Workload
from inferencefleet.domain.hardware import GpuSpec, NumberFormat
from inferencefleet.physics.memory import GIB
from inferencefleet.physics.seed_question import SEED_UTILISATION, InvalidQuestion, SeedQuestion
from inferencefleet.physics.seed_sizing import SizingChain, Step, sizing_chain


def answer_as_seed(
    workload: Workload, gpu: GpuSpec, weights: NumberFormat, batch: float | None, step_s: float | None, form: str
) -> None:
    """Print the chain, and beside it what the physics answers to the same question (fixed lengths, no uncertainty)."""
    if batch is None or step_s is None:
        raise Refusal(
            "--batch, --step: the textbook chain takes both from the person who asks; give for example --batch 48 "
            "--step 18ms, or use --mode physics, which computes them"
        )
    serving = workload.serving
    question = SeedQuestion(
        model=serving.model,
        gpu=gpu,
        requests_per_s=workload.requests_per_s,
        context_tokens=workload.lengths.mean_prompt_tokens + workload.lengths.mean_output_tokens,
        output_tokens=workload.lengths.mean_output_tokens,
        batch=batch,
        step_s=step_s,
        utilisation=workload.headroom if workload.headroom_chosen else SEED_UTILISATION,
        tensor_parallel=serving.tensor_parallel or 1,
        weights=weights,
        kv_cache=serving.kv_cache,
        slos=workload.slos,
    )
    try:
        seed, physics = sizing_chain(question, "seed"), sizing_chain(question, "physics")
    except InvalidQuestion as error:
        raise Refusal(str(error)) from None
    if form == "table":
        _show(question, seed, physics)
    else:
        write_document(document(seed, physics), form)


def document(seed: SizingChain, physics: SizingChain) -> dict[str, Any]:
    return {"kind": "SeedSizing", "seed": _chain(seed), "physics": _chain(physics), "broken": list(seed.broken)}


def _chain(chain: SizingChain) -> dict[str, Any]:
    return {
        "replicas": chain.replicas,
        "gpus": chain.gpus,
        "requestsPerSecond": rounded(chain.requests_per_s),
        "message": chain.sentence,
        "steps": [
            {"name": step.name, "formula": step.formula, "value": rounded(step.value), "unit": step.unit,
             "note": step.note}
            for step in chain.steps
        ],
    }  # fmt: skip


def _show(question: SeedQuestion, seed: SizingChain, physics: SizingChain) -> None:
    page = Page()
    page.heading(
        f"{question.model.id} on {question.tensor_parallel} x {question.gpu.name}, as the textbook chain sizes it"
    )
    page.table(("STEP", "VALUE", "FORMULA", ""), [_cells(step) for step in seed.steps], right=("VALUE",))
    page.say(seed.sentence)
    page.heading("The same question by the physics (fixed lengths, no margin for uncertainty)")
    page.table(("STEP", "VALUE", "FORMULA", ""), [_cells(step) for step in physics.steps], right=("VALUE",))
    page.say(physics.sentence)
    page.heading("Assumptions of the chain that do not hold here")
    page.items(seed.broken or ("none: the chain may be used for this question",))
    page.write()


def _cells(step: Step) -> tuple[str, str, str, str]:
    value = f"{step.value / GIB:.3g} GiB" if step.unit == "bytes" else f"{number(step.value)} {step.unit}"
    return step.name, value, step.formula, step.note
