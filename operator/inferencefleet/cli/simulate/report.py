"""A replay as one HTML page: nothing is loaded from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from inferencefleet.cli.output import dollars, number
from inferencefleet.cli.refusal import refuse
from inferencefleet.cli.simulate import view
from inferencefleet.cli.simulate.answer import Simulated, one
from inferencefleet.cli.simulate.charts import pictures
from inferencefleet.cli.simulate.truth import described

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 66rem; padding: 0 1rem; color: #1c2833; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 0.9rem; }
th, td { text-align: left; padding: 0.25rem 0.6rem; border-bottom: 1px solid #d5d8dc; vertical-align: top; }
td.n, th.n { text-align: right; white-space: nowrap; }
svg { width: 100%; height: auto; } .lead { font-size: 1.1rem; } details { margin-top: 1rem; }
"""


def write_report(answer: Simulated, path: Path) -> None:
    """Raises `Refusal` without matplotlib, or when the file cannot be written."""
    try:
        path.write_text(page(answer), encoding="utf-8")
    except OSError as error:
        raise refuse("--report", path, f"cannot be written ({error.strerror}); give another place") from None


def page(answer: Simulated) -> str:
    fleet = answer.fleet
    about = [
        f"Model {fleet.model.id}; objectives: {', '.join(map(str, fleet.slos))}.",
        f"{view.traffic(answer)}; the same inputs give the same page.",
        f"Engines as they really are: {described(answer.truth)}.",
        *answer.notes,
    ]
    drawn = "".join(f"<h2>{escape(title)}</h2>\n{svg}\n" for title, svg in pictures(answer).items())
    decided = "".join(
        f"<details{' open' if index == 0 else ''}><summary>{escape(run.policy)}: {len(run.decisions)}</summary>"
        + _table(("At", "Replicas", "Where", "Why"), (view.decision_row(each) for each in run.decisions), left=4)
        + "</details>\n"
        for index, run in enumerate(answer.runs)
    )
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f"<title>{escape(str(fleet.key))}: simulation</title><style>{STYLE}</style></head><body>\n"
        f"<h1>{escape(str(fleet.key))}: what would have happened</h1>\n"
        f"<p class='lead'>{escape(view.conclusion(answer))}</p>\n"
        f"<p>{'<br>'.join(escape(line) for line in about)}</p>\n"
        f"<h2>Policies</h2>\n{_policies(answer)}\n{_latencies(answer)}\n{_pools(answer)}\n"
        f"{drawn}<h2>Decisions</h2>\n{decided}</body></html>\n"
    )


def _policies(answer: Simulated) -> str:
    head = ("Policy", "Within SLO", "Worst 5 min", "Dollars", "Beyond reserved", "Replicas", "Changes/h", "TTFT p95",
            "Token p95", "Lost")  # fmt: skip
    return _table(head, (view.row(run) for run in answer.runs))


def _latencies(answer: Simulated) -> str:
    rows = [
        (
            run.policy,
            *(view.seconds(value) for value in (*one(run).ttft_s, *one(run).tpot_s)),
            *(str(count) for count in (one(run).preemptions, one(run).retries, one(run).replicas_killed)),
        )
        for run in answer.runs
    ]
    head = ("Policy", "TTFT p50", "p95", "p99", "Token p50", "p95", "p99", "Preemptions", "Retries", "Replicas killed")
    return "<h2>Latencies and losses</h2>\n" + _table(head, rows)


def _pools(answer: Simulated) -> str:
    rows = [
        (run.policy, pool, number(count), dollars(run.dollars_by_pool.get(pool, 0.0)))
        for run in answer.runs
        for pool, count in view.ready_means(run).items()
    ]
    return "<h2>Pools</h2>\n" + _table(("Policy", "Pool", "Replicas on average", "Dollars"), rows, left=2)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{'' if place < left else ' class=n'}>{escape(cell)}</{tag}>" for place, cell in enumerate(cells)
        )

    body = "".join(f"<tr>{line(cells, 'td')}</tr>\n" for cells in rows)
    return f"<table><tr>{line(head, 'th')}</tr>\n{body}</table>"
