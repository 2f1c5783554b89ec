"""Writes docs/seeds.md from the records: `python -m tests.seeds.document > docs/seeds.md`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.seeds.metric_names import METRICS
from tests.seeds.price_tiers import QUOTED_TIERS
from tests.seeds.record import SOURCES, Figure, Record, Value
from tests.seeds.records import EXAMPLES, FORMULAS
from tests.seeds.rules import RULES, WARNINGS, Stance
from tests.seeds.tables import BENCHMARKS, FITS, GOLDEN_DEFAULTS, LEVERS, QUOTED_GPUS, STARVED_BELOW

PATH = Path(__file__).parents[2] / "docs" / "seeds.md"

INTRODUCTION = """# Worked examples from elsewhere, computed again

People come with a number from an article. This page takes five public texts on sizing and paying for LLM inference,
computes each of their worked examples and formulas with the functions of this product, and says where the two differ
and why. Nothing here is an input of the product: quoted figures are marked *as quoted*, and every right value is
computed in `tests/seeds/`, from whose records this page is generated (a test fails when it drifts).

{sources}

Verdicts: **OK** it reproduces; **ERR** it contradicts its own inputs or arithmetic; **PHYS** the arithmetic is fine and
the physics is not; **AMB** symbols were lost on the page or inputs are missing. A right value with ≈ rests on constants
that are fitted to measurements, and moves a little when they do. A dash is a figure that the page lost or never gave.
When sources disagree: measured constants first, then the user's own data, then S2's chain (in its compatibility mode).

## The sizing question of S2, both ways

50 requests/s of an 8B model in bf16 on H100s, 7,744 prompt and 256 output tokens:

```python
from inferencefleet.catalog import gpu, model
from inferencefleet.physics.seed_question import SeedQuestion
from inferencefleet.physics.seed_sizing import sizing_chain

question = SeedQuestion(
    model=model("meta-llama/Llama-3.1-8B-Instruct"),
    gpu=gpu("H100-SXM"),
    requests_per_s=50,
    context_tokens=8000,
    output_tokens=256,
    batch=48,
    step_s=0.018,
    nominal_parameters=8e9,
    nominal_memory_bytes=80e9,
)
sizing_chain(question, mode="seed").replicas  # 7, step by step as printed
sizing_chain(question, mode="physics").replicas  # about 24, by the model the operator plans with
sizing_chain(question).broken  # why: the step time is below the roofline, and prefill is left out
```

```
kubectl fleet size meta-llama/Llama-3.1-8B-Instruct --gpu H100 --rate 50 --prompt 7744 --prompt-p95 7744 \\
  --output 256 --output-p95 256 --itl 500ms --mode seed --batch 48 --step 18ms
```

Both modes check the chain's assumptions (memory, units, step time, prefill, host) on the inputs of the question, so for
short prompts and a step time that the GPU reaches nothing is said to break. See D6 for the numbers.
"""

GPUS = """### GPUs

Prices differ by a factor of two and more between sources, so a price comes from the user or from a dated list.
"""
FIT = f"""### What fits

`cannot start`: not one request of the maximum length has room. `starved`: it starts, and fewer than {STARVED_BELOW}
requests of 1,000 + 250 tokens run at once. Room for KV cache is what 0.90 of the memory leaves beside weights and 3 GiB
a GPU.
"""
BENCHMARK = """### S3's benchmarks

Called system decode throughput at batch 128 with 1,024 + 128 tokens. They are near the bandwidth roofline of *one*
request instead, six of the seven even above it, and contradict S3's own Pitfall 3 (batch 64 is up to 64 times the
throughput). Not used as validation data. Ours, in output tok/s: decode only, and the largest steady load with its
prefills.
"""
TIERS = """### Price tiers

Share of the on-demand price, and notice before spot is taken. AWS gives 2 minutes, GCP about 30 seconds, so the notice
is a field of the pool.
"""
DEFAULTS = """### Golden defaults of S3

Not used: the batch follows from the SLO and the traffic, the context from `maxModelLen`, and formats are the user's
choice.
"""
CLAIMS = """### Forecast claims of S0

R² 0.91 with a mean error of 3.8 tokens per dollar cannot be: tokens per dollar are near 100,000 (D1). It makes sense in
the unit that B1 prints, tokens/s per dollar an hour. 2.6 times the tokens per dollar for 4-bit weights, no gain from
more than 80 GB below 20B parameters, and +70 % for spot are quoted without data; the product computes the first two for
each question and takes the third from the pools' prices.
"""


def text() -> str:
    """The whole page."""
    sources = _list(f"**{key}** {title}" for key, title in SOURCES.items())
    parts = [
        INTRODUCTION.format(sources=sources),
        "## Worked examples\n",
        *(_example(record) for record in EXAMPLES),
        "## Formulas\n",
        _table(("", "Source", "Formula", "Verdict", "Figure: as quoted → right", "Remark"), map(_formula, FORMULAS)),
        _tables(),
        _rules(),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _example(record: Record) -> str:
    head = f"### {record.id} ({record.source}): {_verdict(record)}\n\n{record.what}.\n"
    if not record.figures:
        return f"{head}\nNot testable. {record.not_testable} {record.reason}\n"
    rows = ((figure.name, _quoted(figure), _right(figure), figure.because) for figure in record.figures)
    return f"{head}\n{_table(('', 'As quoted', 'Right', 'The quoted value comes from'), rows)}\n{record.reason}\n"


def _formula(record: Record) -> tuple[str, ...]:
    figures = "; ".join(
        f"{figure.name}: {_quoted(figure)} → {_right(figure)}"
        if figure.quoted is not None
        else f"{figure.name}: {_right(figure)}"
        for figure in record.figures
    )
    return record.id, record.source, record.what, _verdict(record), figures, record.reason


def _tables() -> str:
    gpus = (
        (
            row.source,
            row.gpu,
            _given(row.memory_gb, "GB"),
            _given(row.bandwidth_tb_per_s, "TB/s"),
            _given(row.bf16_tflops, "TFLOPS"),
            f"${row.usd_per_hour[0]:.2f}-{row.usd_per_hour[1]:.2f}" if row.usd_per_hour else "–",
            row.differs or "agrees",
        )
        for row in QUOTED_GPUS
    )
    fits = (
        (
            row.source,
            row.what,
            f"{row.max_model_len_tokens:,}",
            f"{row.kv_gb:.1f} GB",
            f"**{row.verdict}**",
            row.comment,
        )
        for row in FITS
    )
    benchmarks = (
        (
            f"{row.what}, {row.weights}, {row.gpus} x {row.gpu}",
            f"{row.quoted_tokens_per_s:,.0f}",
            f"{row.roofline_batch_1:,.0f}",
            f"≈ {row.decode_batch_128:,.0f}" if row.decode_batch_128 else "not in the catalogue",
            f"≈ {row.serving:,.0f}" if row.serving else "–",
        )
        for row in BENCHMARKS
    )
    tiers = (
        (
            tier.capacity_type,
            f"{tier.low:.2f}-{tier.high:.2f}",
            _notice(tier.notice_low_s, tier.notice_high_s),
            tier.source,
        )
        for tier in QUOTED_TIERS
    )
    return "\n".join(
        (
            "\n## Tables, as quoted\n",
            GPUS,
            _table(("Source", "GPU", "Memory", "Bandwidth", "bf16 dense", "$/h", "Against the catalogue"), gpus),
            FIT,
            _table(("Source", "As quoted", "Max length", "KV cache", "Verdict", ""), fits),
            BENCHMARK,
            _table(("", "As quoted", "Roofline, batch 1", "Ours, batch 128 decode", "Ours, serving"), benchmarks),
            TIERS,
            _table(("Capacity", "Of on-demand", "Notice", "Source"), tiers),
            DEFAULTS,
            _table(("Use", "Batch", "Context", "KV cache", "Goal"), GOLDEN_DEFAULTS),
            "### Levers of S4\n",
            _table(("Lever", "As quoted", "Remark"), LEVERS),
            CLAIMS,
        )
    )


def _rules() -> str:
    order = (Stance.USED, Stance.OTHERWISE, Stance.WRONG, Stance.NOT_OURS)
    rules = (
        (rule.rule, rule.source, str(rule.stance), rule.ours)
        for stance in order
        for rule in RULES
        if rule.stance is stance
    )
    metrics = (
        (f"`{metric.quoted}`", metric.state, f"`vllm:{metric.first_name}`" if metric.first_name else "not read")
        for metric in METRICS
    )
    return "\n".join(
        (
            "## Thresholds and rules\n",
            _table(("Rule, as quoted", "Source", "In the product", ""), rules),
            "## Warnings\n",
            _table(("Warning", "Source", "In the product"), WARNINGS),
            "## Metric names of S4\n",
            _table(("As quoted", "State", "Read first"), metrics),
        )
    )


def _verdict(record: Record) -> str:
    return ", ".join(record.verdict)


def _quoted(figure: Figure) -> str:
    return f"{figure.relation} {_value(figure.quoted, figure)}".lstrip()


def _right(figure: Figure) -> str:
    about = "≈ " if figure.within > 0.01 else ""
    return about + _value(figure.right, figure)


def _value(value: Value | None, figure: Figure) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if figure.unit.startswith("$"):
        return f"{'-' if value < 0 else ''}${_number(abs(value))}{figure.unit[1:]}"
    return f"{_number(value)} {figure.unit}".rstrip()


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 and value == round(value) else f"{value:,.5g}"


def _given(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:g} {unit}"


def _notice(low_s: float | None, high_s: float | None) -> str:
    return "–" if low_s is None or high_s is None else f"{low_s / 60:g}-{high_s / 60:g} min"


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(text(), end="")
