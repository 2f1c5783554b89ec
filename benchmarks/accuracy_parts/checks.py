"""The sections about decisions: overload, intervals, memory, start-up; and the other models on identical rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.accuracy_parts import coverage
from benchmarks.accuracy_parts.aic import Key, key_of
from benchmarks.accuracy_parts.baselines import Guess, constant_utilisation, linear_law, weights_over_bandwidth
from benchmarks.accuracy_parts.cases import Case
from benchmarks.accuracy_parts.coverage import FEW_POINTS_SIGMA_LOG, TTFT_SIGMA_LOG
from benchmarks.accuracy_parts.metrics import Scored, score, summary
from benchmarks.accuracy_parts.overload import Verdict, confusion
from benchmarks.accuracy_parts.split import Side
from benchmarks.accuracy_parts.startup import Server, read_servers
from benchmarks.accuracy_parts.study import Study, unsaturated
from benchmarks.accuracy_parts.tables import SHOWN, cells, quantity_title, share
from benchmarks.paper import Table
from inferencefleet.physics.confidence import DENSE_SIGMA_LOG, LOW_SIGMA_LOG, MOE_SIGMA_LOG
from inferencefleet.planning.calibrate import BEYOND_SIGMA_LOG

Parts = list[str | Table]
Errors = dict[tuple[str, str], list[float | None]]


def overload(study: Study) -> tuple[Parts, dict[str, Any]]:
    """Confusion matrices of open-loop runs."""
    seen = [row for found in study.calibrated_open.calibrations for row in found.points]
    lines, kept, wrong = [], {}, []
    for name, rows in (
        ("uncalibrated, all", study.open),
        ("uncalibrated, vLLM", [row for row in study.open if row.case.family == "vllm"]),
        ("uncalibrated, the rows below", _same(study.rescored_open, study.open)),
        ("calibrated on the lowest rates, the others", study.rescored_open),
        (
            "calibrated on the lowest rates, the others, vLLM",
            [row for row in study.rescored_open if row.case.family == "vllm"],
        ),
        ("uncalibrated, stand-ins (speculative decoding, unnamed format, ...)", study.stand_ins),
    ):
        found = study.verdicts(rows)
        counts = confusion(found)
        if not counts.runs:
            continue
        kept[name] = {"runs": counts.runs, "right": counts.accuracy, "false alarms": counts.false_alarms,
                      "missed": counts.missed}  # fmt: skip
        lines.append([name, str(counts.runs), str(counts.stable_right), str(counts.overload_right),
                      str(counts.false_alarms), str(counts.missed), share(counts.accuracy)])  # fmt: skip
        if not name.endswith("vLLM"):
            wrong += [_mistake(name, verdict) for verdict in found if not verdict.right]
    if not lines:
        return ["No open-loop rows that can be judged."], {}
    unjudged = len(study.open) - len(study.verdicts(study.open))
    parts: Parts = [
        "A run is overloaded when it served fewer than 0.95 of the requests that arrived (the time to drain the last "
        "ones left out), or when its mean TTFT is above 1 s and 10 times that of the lowest rate: defined in "
        "`accuracy_parts/overload.py` before any prediction was compared with it. The physics calls a run overloaded "
        f"when more arrives than the replica can serve. {unjudged} rows measured neither rate nor TTFT; "
        f"{len(seen)} rows were calibrated on.",
        Table(("", "runs", "stable, right", "overloaded, right", "false alarms", "missed", "right, %"), lines),
    ]
    if wrong:
        parts += ["Mistakes:", Table(("", "run", "rate, 1/s", "served, 1/s", "modelled use, %", "mistake"), wrong)]
    return parts, kept


def intervals(study: Study) -> tuple[Parts, dict[str, Any]]:
    """Coverage of 80 % intervals."""
    lines, kept = [], {}
    families = {"vLLM": lambda family: family == "vllm", "all engines": lambda family: True}
    sides = {"all": frozenset(Side), "test only": frozenset({Side.TEST})}
    for engines, wanted in families.items():
        for quantity in SHOWN:
            for side, chosen in sides.items():

                def kept_in(case: Case, wanted: Any = wanted, chosen: frozenset[Side] = chosen) -> bool:
                    return case.side in chosen and wanted(case.family)

                rows = [row for row in unsaturated(study.closed) if kept_in(row.case)]
                for name, found in (
                    ("uncalibrated", coverage.uncalibrated(rows, quantity)),
                    ("calibrated", coverage.calibrated(study.calibrated, study.oracle, quantity, kept_in)),
                ):
                    if found.rows:
                        kept[f"{engines} {quantity} {name} {side}"] = {"rows": found.rows, "inside": found.share}
                        lines.append([engines, quantity_title(quantity), name, side, str(found.rows),
                                      share(found.share), share(found.below / found.rows),
                                      share(found.above / found.rows), f"{found.width:.2f}"])  # fmt: skip
    text = (
        "Share of measurements inside their 80 % interval (aim 75-85 %), closed loop, unsaturated, with the spreads "
        "that the product itself works with. Uncalibrated: a standard deviation of the logarithm of "
        f"{DENSE_SIGMA_LOG:g} (dense), {MOE_SIGMA_LOG:g} (MoE) or {LOW_SIGMA_LOG:g} (borrowed constants, unpacked "
        "formats). Calibrated: conformal with the residuals at the calibration points of the deployment, which are "
        f"few, made up by {FEW_POINTS_SIGMA_LOG['itl']:g} plus {BEYOND_SIGMA_LOG:g} for each doubling of the batch "
        f"beyond them. TTFT: {TTFT_SIGMA_LOG:g} and {FEW_POINTS_SIGMA_LOG['ttft']:g}."
    )
    columns = ("engines", "quantity", "", "side", "rows", "inside, %", "below, %", "above, %", "upper / lower")
    return [text, Table(columns, lines)], kept


def startup(extra: Path | None) -> tuple[Parts, dict[str, Any]]:
    """KV capacity and start-up seconds."""
    parts: Parts = []
    kept: dict[str, Any] = {}
    for title, path in (("committed rows (llm-d, Apache-2.0)", None), ("the file given by --kv", extra)):
        if title.startswith("the") and extra is None:
            continue
        servers, left_out = read_servers(path) if path else read_servers()
        kv = [server.kv_gib / server.seen_kv_gib - 1 for server in servers if server.seen_kv_gib]
        weights = [server.weights_gib / server.seen_weights_gib - 1 for server in servers if server.seen_weights_gib]
        load = [server.load_s / server.seen_load_s - 1 for server in servers if server.seen_load_s]
        start = [server.start_s / server.seen_start_s - 1 for server in servers if server.seen_start_s]
        kept[title] = {name: vars_of(summary(values)) for name, values in
                       (("kv", kv), ("weights", weights), ("load", load), ("start", start))}  # fmt: skip
        parts += [
            f"**KV cache and start-up, {title}**: error of KV bytes by GPU {cells(summary(kv))}, of weights "
            f"{cells(summary(weights))}, of seconds to load the weights {cells(summary(load))}, of seconds to load and "
            f"start the engine {cells(summary(start))} (median (mean) bias, per cent).",
            Table(("server", "KV GiB/GPU", "measured", "weights GiB/GPU", "measured", "load s", "measured", "start s",
                   "measured"), [_server(server) for server in servers]),
        ]  # fmt: skip
        parts += [f"Left out: {count} x {reason}." for reason, count in left_out.items()]
    return parts, kept


def side_by_side(study: Study, answers: Mapping[Key, tuple[float, float]]) -> tuple[Parts, dict[str, Any]]:
    """All models on identical rows: those that no calibration saw and every model of the table answers."""
    calibrated = {id(row.case): row for row in unsaturated(study.rescored)}
    plain: dict[str, dict[tuple[str, str], Errors]] = {"without": {}, "with": {}}
    for found in study.calibrated.calibrations:
        batches = [score(case, study.oracle).running for case in found.points]
        law = linear_law(found.points, batches)
        if law is None:
            continue
        for case in found.rest:
            after = calibrated.get(id(case))
            if after is None:
                continue
            before = score(case, study.oracle)
            guesses = {
                "weights / bandwidth": weights_over_bandwidth(case),
                "constant utilisation (MBU 0.7, MFU 0.5)": constant_utilisation(case, before.running),
                "linear law on the same 2-3 points": law.guess(case, before.running),
            }
            _add(plain["without"], case, before, after, guesses)
            answer = answers.get(key) if (key := key_of(case)) is not None else None
            if answer is not None:
                other = {**guesses, "aiconfigurator 0.12": Guess(itl_s=answer[0], ttft_s=answer[1])}
                _add(plain["with"], case, before, after, other)
    parts: Parts = []
    kept: dict[str, Any] = {}
    for name, title in (
        ("without", "**On all rows of (b)**"),
        ("with", "**On those of them that aiconfigurator 0.12 answered** (its newest database, not version-matched)"),
    ):
        lines = []
        for (family, kind), table in sorted(plain[name].items()):
            for method in dict.fromkeys(method for method, _ in table):
                itl, ttft = summary(table[method, "itl"]), summary(table.get((method, "ttft"), []))
                kept[f"{name} aiconfigurator, {family} {kind}, {method}"] = {"itl": vars_of(itl), "ttft": vars_of(ttft)}
                lines.append([family, kind, method, str(itl.rows), cells(itl), cells(ttft)])
        if lines:
            parts += [title, Table(("engine", "kind", "model", "rows", "ITL", "TTFT"), lines)]
    return parts, kept


def vars_of(found: Any) -> dict[str, float]:
    return {name: getattr(found, name) for name in ("rows", "median", "mean", "bias")}


def _add(
    into: dict[tuple[str, str], Errors], case: Case, before: Scored, after: Scored, guesses: Mapping[str, Guess]
) -> None:
    table = into.setdefault((case.family, case.kind), {})
    ours = {"ours, uncalibrated": before, "ours, calibrated on 2-3 points": after}
    for name, row in ours.items():
        for quantity in ("itl", "ttft"):
            table.setdefault((name, quantity), []).append(row.error(quantity))
    for name, guess in guesses.items():
        for quantity, value, seen in (
            ("itl", guess.itl_s, before.seen.itl_s),
            ("ttft", guess.ttft_s, before.seen.ttft_s),
        ):
            error = value / seen - 1 if value is not None and seen else None
            table.setdefault((name, quantity), []).append(error)


def _mistake(name: str, verdict: Verdict) -> list[str]:
    row, case = verdict.scored, verdict.scored.case
    served = case.row.req_per_s
    return [
        name, f"{case.row.engine_version or case.row.engine} {case.row.model} {round(case.row.isl or 0)}/"
        f"{round(case.row.osl or 0)}", f"{case.requests_per_s * case.replicas:.4g}",
        f"{served:.4g}" if served else "-", f"{100 * row.utilisation:.0f}",
        "missed" if verdict.overloaded else "false alarm",
    ]  # fmt: skip


def _server(server: Server) -> list[str]:
    def cell(value: float | None) -> str:
        return "-" if value is None or math.isnan(value) else f"{value:.1f}"

    return [server.name, *(cell(value) for value in (
        server.kv_gib, server.seen_kv_gib, server.weights_gib, server.seen_weights_gib,
        server.load_s, server.seen_load_s, server.start_s, server.seen_start_s))]  # fmt: skip


def _same(wanted: Sequence[Scored], rows: Sequence[Scored]) -> list[Scored]:
    kept = {id(row.case) for row in wanted}
    return [row for row in rows if id(row.case) in kept]
