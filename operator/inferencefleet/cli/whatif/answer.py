"""A snapshot planned as it was and changed, and what differs. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from inferencefleet.catalog.errors import closest
from inferencefleet.cli.output import dollars, number
from inferencefleet.cli.refusal import Refusal, refuse
from inferencefleet.cli.whatif import changes
from inferencefleet.cli.whatif.changes import Change
from inferencefleet.cli.whatif.flags import Rate
from inferencefleet.cli.whatif.traffic import at_rates, with_longer_prompts, without_lessons
from inferencefleet.domain.fleet import FleetKey, Routing
from inferencefleet.domain.plan import FleetPlan, Plan, PoolOutlook
from inferencefleet.domain.slo import Slo
from inferencefleet.domain.snapshot import Snapshot
from inferencefleet.planning.plan import plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Both plans of the same moment."""

    at_s: float
    changes: tuple[str, ...]
    before: Plan
    after: Plan

    @property
    def fleets(self) -> tuple[tuple[FleetPlan, FleetPlan], ...]:
        return tuple(zip(self.before.fleets, self.after.fleets, strict=True))

    @property
    def pools(self) -> tuple[tuple[PoolOutlook, PoolOutlook], ...]:
        return tuple(zip(self.before.pools, self.after.pools, strict=True))


def compare(
    snapshot: Snapshot,
    *,
    fleets: Sequence[str] = (),
    rate: Rate | None = None,
    prompt: float | None = None,
    slo: Sequence[Slo] = (),
    least: int | None = None,
    most: int | None = None,
    routing: Routing | None = None,
    pool_gone: Sequence[str] = (),
    price: Sequence[tuple[str, float]] = (),
    limit: Sequence[tuple[str, float]] = (),
) -> Answer:
    """Raises `Refusal` for names that are not in the snapshot, and when nothing is changed."""
    keys = _keys(snapshot, fleets)
    for flag, name in (
        *(("--pool-gone", name) for name in pool_gone),
        *(("--price", name) for name, _ in price),
        *(("--limit", name) for name, _ in limit),
    ):
        _check_pool(snapshot, flag, name)
    for flag, name, gpus in (("--limit", name, gpus) for name, gpus in limit):
        if gpus != int(gpus):
            raise refuse(flag, f"{name}={gpus:g}", "GPUs are whole; give a whole number")
    _check_replicas(snapshot, keys, least, most)
    snapshot = without_lessons(snapshot)
    before = plan(snapshot)
    wanted: list[tuple[str, Change]] = []
    whose = "all fleets" if len(keys) == len(snapshot.fleets) else ", ".join(map(str, sorted(keys)))
    if rate is not None:
        wanted.append((f"traffic of {whose}: {rate}", at_rates(_factors(before, keys, rate))))
    if prompt is not None:
        wanted.append((f"prompts of {whose}: x{prompt:g}", with_longer_prompts(keys, prompt)))
    if slo:
        wanted.append((f"objectives of {whose}: {', '.join(map(str, slo))}", changes.with_slos(keys, slo)))
    if least is not None or most is not None:
        limits = ", ".join(
            f"{word} {value}" for word, value in (("at least", least), ("at most", most)) if value is not None
        )
        wanted.append((f"replicas of {whose}: {limits}", changes.with_replicas(keys, least, most)))
    if routing is not None:
        wanted.append((f"routing of {whose}: {routing}", changes.with_routing(keys, routing)))
    wanted += [(f"pool {name}: {dollars(to)} a GPU and hour", changes.with_price(name, to)) for name, to in price]
    wanted += [(f"pool {name}: at most {number(to)} GPUs", changes.with_limit(name, int(to))) for name, to in limit]
    wanted += [(f"pool {name}: gone", changes.without_pool(name)) for name in pool_gone]
    if not wanted:
        flags = "--rate, --prompt, --slo, --pool-gone, --price, --limit, --min, --max, --routing"
        raise Refusal(f"what-if: nothing is changed; give at least one of {flags}")
    changed = snapshot
    for _, change in wanted:
        changed = change(changed)
    return Answer(at_s=snapshot.at_s, changes=tuple(said for said, _ in wanted), before=before, after=plan(changed))


def _keys(snapshot: Snapshot, names: Sequence[str]) -> frozenset[FleetKey]:
    known = {str(state.fleet.key): state.fleet.key for state in snapshot.fleets}
    if not known:
        raise refuse(
            "--snapshot", "(no fleets)", "holds no fleet that can be planned; take one while a fleet is declared"
        )
    short = {key.name: key for key in known.values()} if len({k.name for k in known.values()}) == len(known) else {}
    found = set()
    for name in names:
        key = known.get(name) or short.get(name)
        if key is None:
            near = closest(name, known, count=1)[0]
            raise refuse("--fleet", name, f"is not in the snapshot; closest: {near} (known: {', '.join(known)})")
        found.add(key)
    return frozenset(found or known.values())


def _check_pool(snapshot: Snapshot, flag: str, name: str) -> None:
    known = [state.pool.name for state in snapshot.pools]
    if name not in known:
        near = f"; closest: {closest(name, known, count=1)[0]}" if known else ""
        raise refuse(flag, name, f"is not in the snapshot{near} (known: {', '.join(known) or 'none'})")


def _check_replicas(snapshot: Snapshot, keys: Collection[FleetKey], least: int | None, most: int | None) -> None:
    for state in snapshot.fleets:
        scaling = state.fleet.scaling
        low = scaling.min_replicas if least is None else least
        high = scaling.max_replicas if most is None else most
        if state.fleet.key in keys and low > high:
            raise Refusal(
                f"--min/--max: {state.fleet.key} would have at least {low} and at most {high} replicas; give both so "
                "that the first is not above the second"
            )


def _factors(before: Plan, keys: Collection[FleetKey], rate: Rate) -> dict[FleetKey, float]:
    if rate.is_factor:
        return dict.fromkeys(keys, rate.value)
    factors = {}
    for fleet in before.fleets:
        if fleet.key not in keys:
            continue
        now = fleet.demand.arrivals_per_s if fleet.demand else 0.0
        if now <= 0:
            rule = f"nothing arrives at {fleet.key}, so it cannot be scaled to a rate; leave it out with --fleet"
            raise refuse("--rate", rate.value, rule)
        factors[fleet.key] = rate.value / now
    return factors
