"""The whole loop on fakes: three pools, a fleet, and everything that can go wrong between them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from inferencefleet.control.apply import Applier
from inferencefleet.control.gather import Gatherer
from inferencefleet.control.loop import ControlLoop
from inferencefleet.control.report import Reporter
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.observation import FleetMetrics, Phase, Replica
from inferencefleet.domain.snapshot import PlannerSettings
from inferencefleet.telemetry.metrics import Telemetry
from tests.builders import metrics
from tests.fakes.ports import FakeActuator, FakeClock, FakeMetrics, FakeReader, RecordingSink, RecordingWriter
from tests.unit.api import manifests


def a_fleet_manifest(name: str = "chat", **changes: Any) -> dict[str, Any]:
    """`spec__scaling__minReplicas=3` stands for the path with dots."""
    found = manifests.fleet({path.replace("__", "."): value for path, value in changes.items()})
    found["metadata"] = {"name": name, "namespace": "default", "uid": f"uid-{name}", "generation": 1}
    return found


def a_pool_manifest(name: str, kind: str, *, price: float = 2.0, gpus: int = 16) -> dict[str, Any]:
    found = manifests.pool({"spec.capacityType": kind, "spec.price.perGPUHour": price, "spec.limits.gpus": gpus})
    found["metadata"] = {"name": name, "uid": f"uid-{name}", "generation": 1}
    return found


@dataclass
class Stage:
    reader: FakeReader = field(
        default_factory=lambda: FakeReader(
            fleets=[a_fleet_manifest()],
            pools=[a_pool_manifest("reserved", "Reserved"), a_pool_manifest("spot", "Spot", price=1.9)],
        )
    )
    metrics: FakeMetrics = field(default_factory=FakeMetrics)
    clock: FakeClock = field(default_factory=FakeClock)
    sink: RecordingSink = field(default_factory=RecordingSink)
    telemetry: Telemetry = field(default_factory=Telemetry)

    def __post_init__(self) -> None:
        self.actuator = FakeActuator(self.reader)
        self.writer = RecordingWriter(self.reader)
        self.gatherer = Gatherer(reader=self.reader, metrics=self.metrics, settings=PlannerSettings())
        self.loop = ControlLoop(
            clock=self.clock,
            gatherer=self.gatherer,
            applier=Applier(actuator=self.actuator),
            reporter=Reporter(writer=self.writer, sink=self.sink, telemetry=self.telemetry),
            telemetry=self.telemetry,
            period_s=15.0,
        )

    async def tick(self, after_s: float = 15.0) -> None:
        self.clock.at_s += after_s
        await self.loop.tick()

    def serve(self, name: str = "chat", *, rps: float | None = 4.0, **overrides: Any) -> None:
        """Every replica that is asked for serves, and engines report `rps`."""
        key = FleetKey("default", name)
        created = self.clock.at_s - 900
        self.reader.replicas[key] = tuple(
            Replica(
                name=f"{name}-{workload.pool}-{index}",
                pool=workload.pool,
                phase=Phase.READY,
                node=f"{workload.pool}-0",
                since_s=created + 100,
                created_s=created,
                tensor_parallel=workload.tensor_parallel,
            )
            for workload in self.reader.workloads.get(key, ())
            for index in range(workload.replicas)
        )
        if rps is not None:
            self.report(name, rps, **overrides)

    def report(self, name: str, rps: float, **overrides: Any) -> None:
        seen: FleetMetrics = metrics(rps=rps, engines=3, at_s=self.clock.at_s, **overrides)
        self.metrics.answers[name] = seen

    def doom(self, name: str, count: int) -> None:
        key = FleetKey("default", name)
        pods = self.reader.replicas[key]
        self.reader.replicas[key] = (*(replace(pod, doomed=True) for pod in pods[:count]), *pods[count:])

    def status(self, name: str = "chat") -> dict[str, Any]:
        found: dict[str, Any] = next(
            manifest["status"] for manifest in self.reader.fleets if manifest["metadata"]["name"] == name
        )
        return found

    def condition(self, type_: str, name: str = "chat") -> dict[str, Any]:
        found: dict[str, Any] = next(c for c in self.status(name)["conditions"] if c["type"] == type_)
        return found

    def asked(self, name: str = "chat") -> int:
        return sum(workload.replicas for workload in self.reader.workloads.get(FleetKey("default", name), ()))

    def edit(self, name: str, **changes: Any) -> None:
        """A new spec, as `kubectl apply` would write it."""
        for index, manifest in enumerate(self.reader.fleets):
            if manifest["metadata"]["name"] == name:
                edited = a_fleet_manifest(name, **changes)
                edited["metadata"]["generation"] = manifest["metadata"]["generation"] + 1
                self.reader.fleets[index] = {**edited, "status": manifest.get("status", {})}
