"""The status document of a fleet."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from inferencefleet.api.convert_calibration import calibration_block, overview
from inferencefleet.api.status_fleet import FleetStatus
from inferencefleet.control.report.conditions import Statement, conditions
from inferencefleet.control.report.history import history
from inferencefleet.control.report.observed import observed_block
from inferencefleet.control.report.slo import attained_share, read_slos
from inferencefleet.control.report.statements import broken_statements, fleet_statements
from inferencefleet.domain.fleet import Mode
from inferencefleet.domain.observation import Phase
from inferencefleet.domain.plan import FleetPlan, PoolPlan, Sizing
from inferencefleet.domain.pool import CapacityType, Pool
from inferencefleet.domain.snapshot import BrokenFleet, FleetState
from inferencefleet.economics.dollars import tokens_per_usd, usd_per_million_tokens, usd_per_month

JsonObject = dict[str, Any]


def fleet_status(
    state: FleetState,
    plan: FleetPlan,
    pools: Mapping[str, Pool],
    reported: Mapping[str, Any],
    *,
    refusal: str | None,
    at_s: float,
    unreadable: Collection[str] = (),
) -> JsonObject:
    """Everything `kubectl get/describe` shows of a fleet. `reported` is the status the API server holds.

    `unreadable` are the pools that exist and cannot be read: what runs there stays.
    """
    fleet = state.fleet
    serving_s = max((at_s - replica.since_s for replica in state.replicas if replica.phase is Phase.READY), default=0.0)
    readings = read_slos(fleet, state.metrics, long=False)
    failing = [replica for replica in state.replicas if replica.phase is Phase.FAILED]
    statements = fleet_statements(fleet, plan, state.metrics, readings, refusal, serving_s, failing)
    share = attained_share(read_slos(fleet, state.metrics, long=True))
    if not plan.pools:
        return _unplanned(statements, state, plan, reported, at_s)
    return _document(
        {
            "observedGeneration": fleet.generation,
            "conditions": conditions(statements, reported, generation=fleet.generation, at_s=at_s),
            "replicas": plan.replicas,
            "readyReplicas": plan.ready,
            "selector": f"inferencefleet.io/fleet={fleet.key.name}",
            "summary": _summary(plan, pools, share) | _refused(refusal),
            "pools": [
                _pool(pool, pools[pool.pool], sum(replica.pool == pool.pool for replica in failing))
                for pool in plan.pools
                if _in_use(pool)
            ],
            "observed": observed_block(state.metrics, share, plan.demand),
            "sizing": [_sizing(sizing) for sizing in plan.sizings],
            "calibration": calibration_block(plan.memory.calibration),
            "plan": _derivation(plan),
            "recommendation": None if fleet.scaling.mode is Mode.OFF else _recommendation(plan),
            "cost": _cost(plan, state, pools),
            "history": history(reported, state, plan, refused=refusal is not None, unreadable=unreadable, at_s=at_s),
        }
    )


def broken_status(broken: BrokenFleet, reported: Mapping[str, Any], *, at_s: float) -> JsonObject:
    """Status of a fleet whose spec cannot be read: the old one with the conditions replaced."""
    ready = sum(replica.phase is Phase.READY for replica in broken.replicas)
    statements = broken_statements(broken.problems, ready)
    first = broken.problems[0]
    document = {
        **reported,
        "observedGeneration": broken.generation,
        "conditions": conditions(statements, reported, generation=broken.generation, at_s=at_s),
        "replicas": sum(workload.replicas for workload in broken.workloads),
        "readyReplicas": ready,
        "summary": {**reported.get("summary", {}), "reason": first.code, "message": str(first)},
    }
    return _document(document)


def _unplanned(
    statements: Sequence[Statement], state: FleetState, plan: FleetPlan, reported: Mapping[str, Any], at_s: float
) -> JsonObject:
    ready = sum(replica.phase is Phase.READY for replica in state.replicas)
    return _document(
        {
            **reported,
            "observedGeneration": state.fleet.generation,
            "conditions": conditions(statements, reported, generation=state.fleet.generation, at_s=at_s),
            "replicas": _total(state),
            "readyReplicas": ready,
            "summary": {**reported.get("summary", {}), "reason": str(plan.reason), "message": plan.sentence},
            "sizing": [_sizing(sizing) for sizing in plan.sizings],
        }
    )


def _document(content: Mapping[str, Any]) -> JsonObject:
    """Through the typed model: a field that the CRD does not know would be dropped by the API server without a word."""
    return FleetStatus.model_validate(content).to_json()


def _total(state: FleetState) -> int:
    return sum(workload.replicas for workload in state.workloads)


def _in_use(pool: PoolPlan) -> bool:
    return bool(pool.replicas or pool.placed or pool.ready or pool.starting or pool.blocked or pool.doomed)


def _summary(plan: FleetPlan, pools: Mapping[str, Pool], share: float | None) -> JsonObject:
    def count(kind: CapacityType) -> int:
        return sum(pool.replicas for pool in plan.pools if pools[pool.pool].capacity_type is kind)

    return {
        "slo": None if share is None else f"{100 * share:.1f}%",
        "reserved": count(CapacityType.RESERVED),
        "onDemand": count(CapacityType.ON_DEMAND),
        "spot": count(CapacityType.SPOT),
        "hourly": f"{plan.hourly_cost:.2f}",
        "calibration": overview(plan.memory.calibration),
        "reason": str(plan.reason),
        "message": plan.sentence,
    }


def _refused(refusal: str | None) -> JsonObject:
    """What was decided is not what is there: the columns must not look healthy."""
    return {} if refusal is None else {"reason": "ApplyRefused", "message": refusal}


def _pool(plan: PoolPlan, pool: Pool, failing: int) -> JsonObject:
    return {
        "name": plan.pool,
        "capacityType": pool.capacity_type,
        "gpu": pool.gpu.name,
        "tensorParallelSize": plan.shape.tensor_parallel,
        "desired": plan.replicas,
        "placed": plan.placed,
        "ready": plan.ready,
        "starting": plan.starting,
        "blocked": plan.blocked + failing,
        "doomed": plan.doomed,
        "reason": str(plan.reason),
        "message": plan.sentence,
    }


def _sizing(sizing: Sizing) -> JsonObject:
    capacity = sizing.capacity
    return {
        "pool": sizing.pool,
        "gpu": sizing.shape.gpu.name,
        "tensorParallelSize": sizing.shape.tensor_parallel,
        "requestsPerSecond": round(capacity.requests_per_s, 3),
        "plannedRequestsPerSecond": round(sizing.planned_requests_per_s, 3),
        "utilisation": round(sizing.utilisation, 4),
        "bindingLimit": str(capacity.binding),
        "message": capacity.sentence,
        "limitsRequestsPerSecond": {
            str(limit): round(rate, 3) for limit, rate in capacity.limits_requests_per_s.items() if rate < 1e9
        },
        "latencySeconds": {name: round(value, 4) for name, value in capacity.latencies_s.items()},
        "concurrency": round(capacity.concurrency, 1),
        "kvCacheTokens": None if capacity.memory is None else round(capacity.memory.kv_cache_tokens),
        "confidence": str(capacity.confidence),
        "caveats": list(capacity.caveats) or None,
        "pricePerHour": round(sizing.price_per_hour, 2),
        "marginalPricePerHour": round(sizing.marginal_price_per_hour, 2),
    }


def _derivation(plan: FleetPlan) -> JsonObject:
    demand, ahead = plan.demand, plan.forecast
    if demand is None or ahead is None:
        return {"reason": str(plan.reason), "message": plan.sentence}
    return {
        "reason": str(plan.reason),
        "message": plan.sentence,
        "demandRequestsPerSecond": round(demand.arrivals_per_s, 3),
        "demandObserved": demand.observed,
        "demandMessage": demand.sentence,
        "promptTokensMean": round(demand.lengths.mean_prompt_tokens, 1),
        "outputTokensMean": round(demand.lengths.mean_output_tokens, 1),
        "prefixHitRatio": round(demand.lengths.prefix_hit_ratio, 3),
        "lengthsSource": demand.lengths.source,
        "backlogRequests": round(demand.backlog_requests, 1),
        "horizonSeconds": round(ahead.horizon_s, 1),
        "levelRequestsPerSecond": round(ahead.level_per_s, 3),
        "trendRequestsPerSecondPerMinute": round(60 * ahead.trend_per_s2, 3),
        "noiseRequestsPerSecond": round(ahead.noise_per_s, 3),
        "backlogDrainRequestsPerSecond": round(ahead.backlog_drain_per_s, 3),
        "upperRequestsPerSecond": round(ahead.upper_per_s, 3),
        "quantile": round(ahead.quantile, 5),
        "attainmentFactor": round(plan.memory.feedback.factor, 4),
        "stretch": round(ahead.stretch, 3),
        "floorRequestsPerSecond": round(ahead.floor_per_s, 3),
        "forecasters": [
            {
                "name": way.name,
                "weight": round(way.weight, 4),
                "requestsPerSecond": round(way.location_per_s, 3),
                "deviationRequestsPerSecond": round(way.deviation_per_s, 3),
            }
            for way in ahead.candidates
        ]
        or None,
        "forecastMessage": ahead.sentence,
        "risk": plan.risk or None,
        "steps": [
            {"code": str(verdict.code), "message": verdict.sentence, "before": verdict.before, "after": verdict.after}
            for verdict in plan.verdicts
        ],
    }


def _recommendation(plan: FleetPlan) -> JsonObject:
    return {
        "lower": plan.lower,
        "target": sum(pool.placed for pool in plan.pools),
        "upper": plan.upper,
        "uncapped": plan.uncapped,
    }


def _cost(plan: FleetPlan, state: FleetState, pools: Mapping[str, Pool]) -> JsonObject:
    currencies = {pools[pool.pool].currency for pool in plan.pools if pool.replicas > 0}
    budget = state.fleet.most_per_hour
    return {
        "hourly": round(plan.hourly_cost, 2),
        "marginalHourly": round(plan.marginal_hourly_cost, 2),
        "monthly": round(usd_per_month(plan.hourly_cost), 2),
        "budgetHourly": None if budget is None else round(budget, 2),
        "currency": currencies.pop() if len(currencies) == 1 else None,
        **_per_token(plan, getattr(state.metrics, "output_tokens_per_s", None)),
    }


def _per_token(plan: FleetPlan, output_per_s: float | None) -> JsonObject:
    """At the observed traffic; without any a token has no price."""
    if not output_per_s:
        return {}
    cost = plan.hourly_cost
    return {
        "perMillionOutputTokens": round(usd_per_million_tokens(cost, output_per_s), 3),
        "marginalPerMillionOutputTokens": round(usd_per_million_tokens(plan.marginal_hourly_cost, output_per_s), 3),
        "outputTokensPerDollar": round(tokens_per_usd(output_per_s, cost)) if cost > 0 else None,
    }
