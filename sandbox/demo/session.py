"""One run of the demo, from an empty cluster to the verdict."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.live import Live

from sandbox.cluster import Cluster
from sandbox.demo.report import Outcome, write_report
from sandbox.demo.sample import Observer, Sample, prometheus_share
from sandbox.demo.verdict import verdict
from sandbox.demo.view import View, console, plain_line
from sandbox.errors import ComponentError
from sandbox.layout import Layout, Settings
from sandbox.processes import resident_bytes
from sandbox.scenario import load_scenario
from sandbox.stack import OPERATOR, REPOSITORY, TWIN, Stack, end_product
from sandbox.toolchain import resolve
from sandbox.waiting import pause

SETTLE_S = 120.0
"""After traffic has ended, how long the fleet may take to be back on reserved GPUs alone."""
PLAIN_EVERY_S = 10.0
QUICKSTART = REPOSITORY / "examples" / "quickstart"


@dataclass(slots=True)
class Session:
    """Runs the scenario once and judges it."""

    scenario: str
    seed: int
    out: Path
    quiet: bool = False
    name: str = "demo"
    _targets: list[tuple[float, int]] = field(default_factory=list)
    _peak_ready: dict[str, int] = field(default_factory=dict)
    _beyond_reserved: bool = False
    _returned: bool = False
    _resident_mib: float = 0.0
    _screen: Any = field(default_factory=console)

    def run(self) -> Outcome:
        """Bring everything up, play, judge, write the report, take everything down."""
        self.out.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        layout = Layout.named(self.name)
        end_product(layout)
        with self._cluster(layout) as cluster:
            stack = Stack(cluster)
            try:
                observer, started = self._bring_up(stack)
                self._say(f"ready in {time.monotonic() - began:.1f} s; playing {self.scenario} with seed {self.seed}")
                last = self._play(stack, observer)
                return self._judge(stack, observer, last, started)
            finally:
                stack.stop()

    @contextmanager
    def _cluster(self, layout: Layout) -> Iterator[Cluster]:
        self._say("starting control plane and Prometheus")
        settings = Settings(prometheus=True, scrape_interval_s=2)
        with Cluster.start(layout.root, settings=settings, fresh=True, tools=resolve()) as cluster:
            yield cluster

    def _bring_up(self, stack: Stack) -> tuple[Observer, float]:
        self._say("installing the chart: CRDs, ServiceAccount, RBAC")
        stack.install()
        self._say("starting cloud, kubelets and engines (the twin), then the operator under its own token")
        twin_url = stack.start_twin(self.scenario, seed=self.seed, out=self.out)
        started = time.monotonic()
        stack.start_operator()
        self._say(f"applying {QUICKSTART.relative_to(REPOSITORY)}")
        stack.apply(QUICKSTART / "pools.yaml")
        stack.apply(QUICKSTART / "fleet.yaml")
        return Observer(stack.cluster, twin_url), started

    # ---- watching ---------------------------------------------------------------------------------------

    def _play(self, stack: Stack, observer: Observer) -> Sample:
        """Watch until traffic has ended and the fleet is back on reserved GPUs alone, or `SETTLE_S` later."""
        if self.quiet or not sys.stdout.isatty():
            return self._watch(stack, observer, self._print_now_and_then())
        view = View()
        with Live(console=self._screen, refresh_per_second=4, transient=False) as live:
            return self._watch(stack, observer, lambda sample: live.update(view.render(sample)))

    def _watch(self, stack: Stack, observer: Observer, show: Any) -> Sample:
        ended_at: float | None = None
        while True:
            self._both_alive(stack)
            sample = observer.look()
            self._note(stack, sample)
            show(sample)
            if sample.twin["phase"] == "done":
                ended_at = ended_at or time.monotonic()
                if self._returned or time.monotonic() - ended_at > SETTLE_S:
                    return sample
            pause(1.0)

    def _note(self, stack: Stack, sample: Sample) -> None:
        twin, desired = sample.twin, sample.status.get("replicas")
        if desired is not None and twin["phase"] != "waiting":
            beyond = any(each["desired"] and each["capacityType"] != "Reserved" for each in sample.status["pools"])
            self._returned = self._returned or (self._beyond_reserved and not beyond)
            self._beyond_reserved = self._beyond_reserved or beyond
            if not self._targets or self._targets[-1][1] != desired:
                self._targets.append((float(twin["elapsedSeconds"]), int(desired)))
        for pool in twin["pools"].values():
            kind = str(pool["capacityType"])
            self._peak_ready[kind] = max(self._peak_ready.get(kind, 0), int(pool["ready"]))
        total = sum(int(pool["ready"]) for pool in twin["pools"].values())
        self._peak_ready["all"] = max(self._peak_ready.get("all", 0), total)
        record = stack.record(OPERATOR)
        if record is not None:
            self._resident_mib = max(self._resident_mib, resident_bytes(record.pid) / 2**20)

    def _both_alive(self, stack: Stack) -> None:
        for name in (OPERATOR, TWIN):
            if stack.record(name) is None:
                raise ComponentError(f"{name} ended during the demo", log=stack.layout.log(name))

    def _print_now_and_then(self) -> Any:
        shown = [-PLAIN_EVERY_S]

        def show(sample: Sample) -> None:
            if sample.twin["elapsedSeconds"] - shown[0] >= PLAIN_EVERY_S:
                shown[0] = sample.twin["elapsedSeconds"]
                self._say(plain_line(sample))

        return show

    def _say(self, text: str) -> None:
        self._screen.print(text, markup=False, soft_wrap=True)

    # ---- judging ----------------------------------------------------------------------------------------

    def _judge(self, stack: Stack, observer: Observer, last: Sample, started: float) -> Outcome:
        summary, slo = last.twin, last.twin["slo"]
        seconds = summary["elapsedSeconds"]
        record = stack.record(OPERATOR)
        log = stack.layout.log(OPERATOR).read_text(errors="replace")
        events = observer.events()
        checks = verdict(
            summary,
            operator_alive=record is not None,
            defects=log.count(" ERROR ") + log.count("Traceback"),
            grew_into={kind for kind, ready in self._peak_ready.items() if ready > 0} - {"all"},
            lost_spot=any(event["reason"] == "ReplacingDoomed" for event in events),
            returned=self._returned,
        )
        static_replicas, static_dollars = self._static_peak(last)
        outcome = Outcome(
            summary=summary,
            prometheus={
                "ttft": prometheus_share(
                    stack.cluster, "vllm:time_to_first_token_seconds", slo["ttftTargetSeconds"], seconds
                ),
                "itl": prometheus_share(
                    stack.cluster, "vllm:inter_token_latency_seconds", slo["itlTargetSeconds"], seconds
                ),
            },
            checks=checks,
            decisions=events,
            targets=self._targets,
            static_dollars=static_dollars,
            static_replicas=static_replicas,
            operator={
                "cpuSeconds": cpu_seconds(record.pid) if record else 0.0,
                "wallSeconds": time.monotonic() - started,
                "residentMiB": self._resident_mib,
            },
        )
        write_report(outcome, self.out)
        return outcome

    def _static_peak(self, last: Sample) -> tuple[int, float]:
        """What the largest fleet of this run would have cost, kept all the time: reserved first, then on-demand."""
        scenario = load_scenario(self.scenario)
        size = max((int(each["tensorParallelSize"]) for each in last.status.get("sizing", [])), default=1)
        replicas = self._peak_ready.get("all", 0)
        gpus = replicas * size
        hourly = 0.0
        for pool in scenario.pools:
            if pool.capacity_type == "reserved":
                reserved = pool.max_nodes * pool.gpus_per_node
                hourly += reserved * pool.price_per_gpu_hour
                gpus = max(0, gpus - reserved)
        dearest = max(pool.price_per_gpu_hour for pool in scenario.pools if pool.capacity_type == "on-demand")
        hourly += gpus * dearest
        return replicas, hourly * scenario.duration / 3600


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
