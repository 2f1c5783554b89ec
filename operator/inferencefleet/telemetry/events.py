"""Every Event of the operator is built by a function here: fixed reasons, message = from -> to, why, numbers."""

from __future__ import annotations

from inferencefleet.domain.fleet import FleetKey
from inferencefleet.ports import Event

NORMAL, WARNING = "Normal", "Warning"
LONGEST_MESSAGE = 1024
"""The API server refuses longer ones."""


def scaled(key: FleetKey, uid: str, *, before: int, after: int, reason: str, why: str) -> Event:
    return _fleet(key, uid, NORMAL, reason, f"Replicas {before} -> {after}: {why}")


def refused(key: FleetKey, uid: str, *, code: str, why: str) -> Event:
    return _fleet(key, uid, WARNING, code, f"{why.rstrip('.')}. Replicas stay as they are")


def accepted(key: FleetKey, uid: str) -> Event:
    return _fleet(key, uid, NORMAL, "SpecAccepted", "The spec can be planned again")


def metrics_lost(key: FleetKey, uid: str, *, code: str, why: str) -> Event:
    return _fleet(key, uid, WARNING, code, f"{why}. Holding: the fleet may grow, it will not shrink")


def metrics_back(key: FleetKey, uid: str) -> Event:
    return _fleet(key, uid, NORMAL, "MetricsBack", "Metrics are available again")


def slo_missed(key: FleetKey, uid: str, *, why: str) -> Event:
    return _fleet(key, uid, WARNING, "SLOMissed", why)


def slo_attained(key: FleetKey, uid: str, *, why: str) -> Event:
    return _fleet(key, uid, NORMAL, "SLOAttained", why)


def replacing_doomed(key: FleetKey, uid: str, *, why: str) -> Event:
    return _fleet(key, uid, WARNING, "ReplacingDoomed", why)


def capacity_short(key: FleetKey, uid: str, *, code: str, why: str) -> Event:
    return _fleet(key, uid, WARNING, code, why)


def capacity_back(key: FleetKey, uid: str) -> Event:
    return _fleet(key, uid, NORMAL, "CapacityBack", "Every replica that is wanted has a place again")


def budget_short(key: FleetKey, uid: str, *, code: str, why: str) -> Event:
    return _fleet(key, uid, WARNING, code, why)


def budget_enough(key: FleetKey, uid: str, *, why: str) -> Event:
    return _fleet(key, uid, NORMAL, "WithinBudget", why)


def apply_refused(key: FleetKey, uid: str, *, why: str) -> Event:
    return _fleet(key, uid, WARNING, "ApplyRefused", why)


def pool_exhausted(name: str, uid: str, *, why: str) -> Event:
    return _pool(name, uid, WARNING, "Exhausted", f"The pool {why}. Replicas go to other pools meanwhile")


def pool_delivers(name: str, uid: str) -> Event:
    return _pool(name, uid, NORMAL, "Delivering", "The pool delivers nodes again")


def pool_refused(name: str, uid: str, *, code: str, why: str) -> Event:
    return _pool(name, uid, WARNING, code, f"{why.rstrip('.')}. No fleet uses this pool until it is corrected")


def _fleet(key: FleetKey, uid: str, kind: str, reason: str, message: str) -> Event:
    return Event(
        kind="InferenceFleet",
        namespace=key.namespace,
        name=key.name,
        uid=uid,
        type=kind,
        reason=reason,
        message=message[:LONGEST_MESSAGE],
    )


def _pool(name: str, uid: str, kind: str, reason: str, message: str) -> Event:
    return Event(
        kind="GPUPool",
        namespace=None,
        name=name,
        uid=uid,
        type=kind,
        reason=reason,
        message=message[:LONGEST_MESSAGE],
    )
