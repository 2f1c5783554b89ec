"""The answer of `explain`: demand -> horizon -> capacity -> replicas -> placement -> clamps, and whether it adds up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inferencefleet.cli.explain.recompute import Check, Recomputed, Verdict
from inferencefleet.cli.output import Page, dollars, number, rounded
from inferencefleet.domain.fleet import Fleet

Block = Mapping[str, Any]


def document(
    fleet: Fleet, source: str, status: Block, found: Sequence[Recomputed], checks: Sequence[Check]
) -> dict[str, Any]:
    """Keys as documented in docs/cli.md; `plan` is status.plan as it is."""
    return {
        "kind": "Explanation",
        "fleet": str(fleet.key),
        "source": source,
        "model": fleet.model.id,
        "replicas": status.get("replicas"),
        "observedGeneration": status.get("observedGeneration"),
        "generation": fleet.generation,
        "plan": status.get("plan"),
        "recomputed": [
            {
                "pool": replica.pool,
                "gpu": replica.shape.gpu.name,
                "tensorParallelSize": replica.shape.tensor_parallel,
                "weights": str(replica.shape.weights),
                "requestsPerSecond": rounded(replica.capacity.requests_per_s),
                "plannedRequestsPerSecond": rounded(replica.planned_requests_per_s),
                "bindingLimit": str(replica.capacity.binding),
                "message": replica.capacity.sentence,
                "uncertaintySigmaLog": rounded(replica.scales.sigma_log),
                "scales": {
                    name: rounded(getattr(replica.scales, name)) for name in ("memory", "compute", "overhead", "ttft")
                },
            }
            for replica in found
        ],
        "checks": [
            {"field": check.field, "status": check.said, "recomputed": check.recomputed,
             "verdict": str(check.verdict), "note": check.note}
            for check in checks
        ],
        "agrees": not any(check.verdict is Verdict.DIFFERS for check in checks),
    }  # fmt: skip


def show(fleet: Fleet, source: str, status: Block, found: Sequence[Recomputed], checks: Sequence[Check]) -> None:
    page = Page()
    plan = status.get("plan") or {}
    _head(page, fleet, source, status, plan)
    _demand(page, plan)
    _capacity(page, status)
    _placement(page, status)
    _clamps(page, plan)
    _calibration(page, status)
    page.heading("Recomputed")
    page.table(
        ("STATUS FIELD", "STATUS", "RECOMPUTED", "", "HOW"),
        [(check.field, _value(check.said), _value(check.recomputed), check.verdict, check.note) for check in checks],
        right=("STATUS", "RECOMPUTED"),
    )
    page.say("")
    page.say(_conclusion(checks))
    page.write()


def _head(page: Page, fleet: Fleet, source: str, status: Block, plan: Block) -> None:
    page.heading(f"{fleet.key} ({source}): {fleet.model.id}, mode {fleet.scaling.mode}")
    page.say(f"{plan.get('reason', '-')}: {plan.get('message', '-')}")
    page.say(
        f"{status.get('replicas', '-')} replicas wanted, {status.get('readyReplicas', '-')} ready; "
        f"SLO: {', '.join(str(slo) for slo in fleet.slos)}"
    )
    seen = status.get("observedGeneration")
    if isinstance(seen, int) and seen < fleet.generation:
        page.say(f"The status speaks about generation {seen} of the spec, which is at {fleet.generation}: wait a tick.")
    for condition in status.get("conditions") or ():
        if condition.get("status") != "True" and condition.get("type") in ("Ready", "SLOAttained", "CapacityAvailable"):
            page.say(
                f"{condition['type']}={condition.get('status')} ({condition.get('reason')}): {condition.get('message')}"
            )


def _demand(page: Page, plan: Block) -> None:
    page.heading("1. Demand and horizon")
    kind = "observed" if plan.get("demandObserved") else "declared"
    page.table(
        ("", "VALUE", "FROM"),
        [
            (f"demand ({kind})", _rate(plan.get("demandRequestsPerSecond")), plan.get("demandMessage") or ""),
            ("backlog", _value(plan.get("backlogRequests")), "waiting requests to work off"),
            ("horizon", f"{_value(plan.get('horizonSeconds'))} s", "until a replica asked for now serves"),
            ("planned for", _rate(plan.get("upperRequestsPerSecond")), plan.get("forecastMessage") or ""),
        ],
        right=("VALUE",),
    )


def _capacity(page: Page, status: Block) -> None:
    rows = status.get("sizing") or []
    if not rows:
        return
    page.heading("2. Capacity of one replica")
    page.table(
        ("POOL", "GPU", "TP", "REQUESTS/S", "PLANNED", "$/HOUR", "BINDS", "CONFIDENCE", "WHY"),
        [
            (
                row.get("pool"), row.get("gpu"), row.get("tensorParallelSize"), _value(row.get("requestsPerSecond")),
                _value(row.get("plannedRequestsPerSecond")), dollars(row.get("pricePerHour")),
                row.get("bindingLimit"), row.get("confidence") or "-", row.get("message"),
            )
            for row in rows
        ],
        right=("TP", "REQUESTS/S", "PLANNED", "$/HOUR"),
    )  # fmt: skip


def _placement(page: Page, status: Block) -> None:
    rows = status.get("pools") or []
    if not rows:
        return
    page.heading("3. Replicas and placement")
    names = ("desired", "placed", "ready", "starting", "blocked", "doomed")
    page.table(
        ("POOL", "TYPE", *(name.upper() for name in names), "REASON"),
        [
            (row.get("name"), row.get("capacityType"), *(row.get(name) for name in names), row.get("reason"))
            for row in rows
        ],
        right=tuple(name.upper() for name in names),
    )


def _clamps(page: Page, plan: Block) -> None:
    steps = plan.get("steps") or []
    if not steps:
        return
    page.heading("4. Steps from demand to replicas")
    page.table(
        ("STEP", "BEFORE", "AFTER", "WHY"),
        [
            (step.get("code"), _value(step.get("before")), _value(step.get("after")), step.get("message"))
            for step in steps
        ],
        right=("BEFORE", "AFTER"),
    )


def _calibration(page: Page, status: Block) -> None:
    rows = [row for row in status.get("calibration") or () if isinstance(row, Mapping)]
    if not rows:
        return
    page.heading("5. What the engines have taught")
    page.table(
        ("POOL", "SHAPE", "STATE", "ITL X", "TTFT X", "SIGMA", "WINDOWS", "REJECTED", "LAST"),
        [
            (
                row.get("pool"), row.get("shape"), row.get("state"), _value(row.get("factor")),
                _value(row.get("ttftFactor")), _value(row.get("sigma")), row.get("windows"), row.get("rejected"),
                row.get("message") or row.get("reason"),
            )
            for row in rows
        ],
        right=("ITL X", "TTFT X", "SIGMA", "WINDOWS", "REJECTED"),
    )  # fmt: skip


def _conclusion(checks: Sequence[Check]) -> str:
    count = {verdict: sum(check.verdict is verdict for check in checks) for verdict in Verdict}
    if not checks:
        return "The status derives nothing yet."
    text = f"{count[Verdict.AGREES]} of {len(checks)} values agree"
    if count[Verdict.NEAR]:
        text += f", {count[Verdict.NEAR]} are near (the status holds rounded or summarised inputs)"
    if count[Verdict.UNKNOWN]:
        text += f", {count[Verdict.UNKNOWN]} cannot be recomputed"
    if count[Verdict.DIFFERS]:
        fields = ", ".join(check.field for check in checks if check.verdict is Verdict.DIFFERS)
        return f"{text}; {count[Verdict.DIFFERS]} differ: {fields}."
    return text + "; none differs."


def _value(value: Any) -> str:
    if value is None:
        return "-"
    return number(value, 4) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def _rate(value: Any) -> str:
    return "-" if value is None else f"{_value(value)} /s"
