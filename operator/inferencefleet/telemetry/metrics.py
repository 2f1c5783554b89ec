"""All series of the operator's own /metrics, declared here and nowhere else."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import exp

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from inferencefleet.domain.calibration import CalibrationPhase, ShapeCalibration
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.plan import Plan

FLEET = ("namespace", "fleet")
FLEET_POOL = ("namespace", "fleet", "pool")
SHAPE = (*FLEET_POOL, "tensor_parallel")


@dataclass(slots=True)
class Telemetry:
    """One registry, so that several operators can live in one test process."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    last_tick_s: float | None = None
    """Monotonic time of the last completed tick, for the health probe."""
    _gauges: dict[str, Gauge] = field(default_factory=dict)
    _counters: dict[str, Counter] = field(default_factory=dict)
    _tick: Histogram = field(init=False)

    def __post_init__(self) -> None:
        self._tick = Histogram(
            "inferencefleet_tick_duration_seconds",
            "Time of one turn of the control loop.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self.registry,
        )
        for name, says, labels in _GAUGES:
            self._gauges[name] = Gauge(f"inferencefleet_{name}", says, labels, registry=self.registry)
        for name, says, labels in _COUNTERS:
            self._counters[name] = Counter(f"inferencefleet_{name}", says, labels, registry=self.registry)

    @contextmanager
    def tick(self) -> Iterator[None]:
        """Times one turn; a turn that raises does not count as completed."""
        started = time.monotonic()
        yield
        self.last_tick_s = time.monotonic()
        self._tick.observe(self.last_tick_s - started)
        self._gauges["last_tick_timestamp_seconds"].set_to_current_time()

    def tick_skipped(self) -> None:
        self._counters["ticks_skipped"].inc()

    def status_written(self, kind: str) -> None:
        self._counters["status_writes"].labels(kind).inc()

    def event_published(self, reason: str) -> None:
        self._counters["events"].labels(reason).inc()

    def observe(self, plan: Plan, writes: Mapping[FleetKey, int], refusals: Mapping[FleetKey, str]) -> None:
        """Gauges of this tick's plan. Fleets and pools that are gone lose their series."""
        for name in (
            "desired_replicas",
            "ready_replicas",
            "hourly_cost",
            "demand_requests_per_second",
            "pool_exhausted",
            *CALIBRATION,
        ):
            self._gauges[name].clear()
        for fleet in plan.fleets:
            labels = (fleet.key.namespace, fleet.key.name)
            for pool in fleet.pools:
                self._gauges["desired_replicas"].labels(*labels, pool.pool).set(pool.replicas)
                self._gauges["ready_replicas"].labels(*labels, pool.pool).set(pool.ready)
            self._gauges["hourly_cost"].labels(*labels).set(fleet.hourly_cost)
            if fleet.demand is not None:
                self._gauges["demand_requests_per_second"].labels(*labels).set(fleet.demand.arrivals_per_s)
            for entry in fleet.memory.calibration:
                self._calibration(entry, *labels)
        for pool_outlook in plan.pools:
            exhausted = pool_outlook.exhaustion is not None
            self._gauges["pool_exhausted"].labels(pool_outlook.pool).set(float(exhausted))
        self._gauges["fleets"].set(len(plan.fleets))
        self._counters["object_writes"].inc(sum(writes.values()))
        self._counters["apply_refusals"].inc(len(refusals))

    def _calibration(self, entry: ShapeCalibration, namespace: str, fleet: str) -> None:
        labels = (namespace, fleet, entry.pool, str(entry.key.tensor_parallel))
        if entry.used:
            self._gauges["calibration_ratio"].labels(*labels, "itl").set(exp(entry.itl_factor_log))
            self._gauges["calibration_ratio"].labels(*labels, "ttft").set(exp(entry.ttft_log + entry.ttft_guard_log))
        self._gauges["calibration_sigma"].labels(*labels).set(entry.sigma_log)
        self._gauges["calibration_windows"].labels(*labels, "used").set(entry.used)
        self._gauges["calibration_windows"].labels(*labels, "rejected").set(entry.rejected)
        for phase in CalibrationPhase:
            self._gauges["calibration_state"].labels(*labels, phase).set(float(phase is entry.phase))


CALIBRATION = ("calibration_ratio", "calibration_sigma", "calibration_windows", "calibration_state")
_GAUGES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("desired_replicas", "Replicas that a fleet asks for in a pool.", FLEET_POOL),
    ("ready_replicas", "Replicas of a fleet in a pool that serve.", FLEET_POOL),
    ("hourly_cost", "Cost per hour of the replicas asked for, in the pools' currency.", FLEET),
    ("demand_requests_per_second", "Arrivals that the last plan saw.", FLEET),
    (
        "calibration_ratio",
        "Factor on the times of the uncalibrated model that explains the measured latency.",
        (*SHAPE, "metric"),
    ),
    ("calibration_sigma", "Standard deviation of the log error of one prediction.", SHAPE),
    ("calibration_windows", "Windows that were learnt from or refused.", (*SHAPE, "verdict")),
    ("calibration_state", "1 for the state that the calibration is in.", (*SHAPE, "state")),
    ("pool_exhausted", "1 while a pool does not deliver nodes.", ("pool",)),
    ("fleets", "Fleets in the last plan.", ()),
    ("last_tick_timestamp_seconds", "When the last tick ended; alert when it stands still.", ()),
)
_COUNTERS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("ticks_skipped", "Ticks without a readable API server.", ()),
    ("object_writes", "Writes to Deployments, Services, PodDisruptionBudgets and pods.", ()),
    ("status_writes", "Status writes by kind.", ("kind",)),
    ("apply_refusals", "Fleets whose objects the API server refused.", ()),
    ("events", "Events published by reason.", ("reason",)),
)
