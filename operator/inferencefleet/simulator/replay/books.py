"""The books of a replay: what was wanted, what served, what was decided, and at the end the score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from inferencefleet.domain.observation import Phase
from inferencefleet.domain.pool import CapacityType
from inferencefleet.simulator.replay.cloud import Bill, PoolCloud
from inferencefleet.simulator.replay.pods import Pod, Tenant
from inferencefleet.simulator.replay.prometheus import Prometheus
from inferencefleet.simulator.replay.replayed import (
    MINUTE_S,
    WORST_MINUTES,
    Decision,
    FleetReplayed,
    Minutes,
    by_minute,
    percentiles,
    reversals,
    step_means,
    verdicts,
    worst_window,
)
from inferencefleet.simulator.replay.stage import Stage
from inferencefleet.simulator.servers import Floats, Outcome

Steps = tuple[list[float], list[float]]
"""Times and values of a step function."""


class Books:
    """Told by the cluster whenever pods change (`cluster.Watcher`)."""

    def __init__(self, stage: Stage, prometheus: Mapping[str, Prometheus]) -> None:
        self._stage = stage
        self._prometheus = prometheus
        self._wanted: dict[tuple[str, str], Steps] = {}
        self._ready: dict[tuple[str, str], Steps] = {}
        self.decisions: list[Decision] = []

    # -- while it runs ---------------------------------------------------------------------------------------------

    def changed(self, tenant: Tenant, now_s: float) -> None:
        ready = Counter(pod.pool for pod in tenant.pods if pod.phase is Phase.READY)
        _note(self._wanted, str(tenant.key), tenant.wanted, now_s)
        _note(self._ready, str(tenant.key), ready, now_s)

    def serves(self, pod: Pod, now_s: float) -> None:
        if pod.slot is not None:
            self._prometheus[str(pod.tenant.key)].scrapes.add(pod.slot, pod.pool)

    def left(self, pod: Pod, now_s: float) -> None:
        if pod.slot is not None:
            self._prometheus[str(pod.tenant.key)].scrapes.leave(pod.slot, now_s)
        self.changed(pod.tenant, now_s)

    # -- at the end ------------------------------------------------------------------------------------------------

    @property
    def _edges_s(self) -> Floats:
        end_s = self._stage.duration_s
        return np.append(np.arange(0.0, end_s, MINUTE_S), end_s)

    def score(self, tenant: Tenant) -> FleetReplayed:
        stage, arrivals, key = self._stage, tenant.stage.arrivals, str(tenant.key)
        results = tenant.servers.results()
        good, counted = verdicts(tenant.fleet, arrivals, results, warm_up_s=stage.warm_up_s, end_s=stage.duration_s)
        edges_s = self._edges_s
        minutes = edges_s.size - 1
        asked = by_minute(arrivals.arrival_s, counted.astype(np.float64), minutes)
        kept = by_minute(arrivals.arrival_s, (good & counted).astype(np.float64), minutes)
        series = Minutes(
            start_s=edges_s[:-1],
            arrivals=by_minute(arrivals.arrival_s, np.ones(len(arrivals)), minutes),
            attainment=np.divide(kept, asked, out=np.full(minutes, np.nan), where=asked > 0),
            wanted={name: step_means(*steps, edges_s) for (fleet, name), steps in self._wanted.items() if fleet == key},
            ready={name: step_means(*steps, edges_s) for (fleet, name), steps in self._ready.items() if fleet == key},
        )
        mine = [decision for decision in self.decisions if decision.fleet == tenant.key]
        scored = [decision for decision in mine if decision.at_s >= stage.warm_up_s and decision.change]
        requests = int(counted.sum())
        return FleetReplayed(
            key=tenant.key,
            results=results,
            good=good,
            counted=counted,
            minutes=series,
            requests=requests,
            attainment=float(kept.sum()) / requests if requests else float("nan"),
            worst_five_minutes=worst_window(kept, asked, WORST_MINUTES),
            mean_ready=self._mean(self._ready, key),
            mean_wanted=self._mean(self._wanted, key),
            changes_per_hour=len(scored) / ((stage.duration_s - stage.warm_up_s) / 3600),
            reversals=reversals(scored),
            ttft_s=percentiles(results.ttft_s[counted]),
            tpot_s=percentiles(results.tpot_s[counted]),
            failed=int((results.outcome[counted] == Outcome.FAILED).sum()),
            refused=int((results.outcome[counted] == Outcome.REFUSED).sum()),
            unfinished=int((results.outcome[counted] == Outcome.PENDING).sum()),
            retries=int(results.retries.sum()),
            preemptions=int(results.preemptions.sum()),
            replicas_killed=tenant.killed,
        )

    def _mean(self, kept: Mapping[tuple[str, str], Steps], key: str) -> float:
        """Of the sum over pools, after the warm-up."""
        edges_s = np.array([self._stage.warm_up_s, self._stage.duration_s])
        return float(sum(step_means(*steps, edges_s)[0] for (fleet, _), steps in kept.items() if fleet == key))

    def dollars(self, clouds: Iterable[PoolCloud]) -> tuple[dict[str, float], dict[str, Floats], float]:
        """(by pool after the warm-up, by pool and minute, beyond what is reserved after the warm-up)."""
        warm_up_s, end_s = self._stage.warm_up_s, self._stage.duration_s
        totals: dict[str, float] = {}
        minutes: dict[str, Floats] = {}
        beyond = 0.0
        for cloud in clouds:
            name = cloud.pool.name
            totals[name] = sum(bill.dollars(warm_up_s, end_s) for bill in cloud.bills)
            minutes[name] = self._by_minute(cloud.bills)
            if cloud.pool.capacity_type is not CapacityType.RESERVED:
                beyond += totals[name]
        return totals, minutes, beyond

    def _by_minute(self, bills: Iterable[Bill]) -> Floats:
        edges_s = self._edges_s
        spent = np.zeros(edges_s.size - 1)
        for bill in bills:
            upto = np.clip(edges_s, bill.from_s, bill.to_s)
            spent += np.diff(upto) / 3600 * bill.dollars_per_hour
        return spent


def _note(kept: dict[tuple[str, str], Steps], key: str, counts: Mapping[str, int], now_s: float) -> None:
    """A step is kept only where the value changes."""
    for name in sorted({*counts, *(name for fleet, name in kept if fleet == key)}):
        times, values = kept.setdefault((key, name), ([0.0], [0.0]))
        count = float(counts.get(name, 0))
        if values[-1] == count:
            continue
        if times[-1] == now_s:
            values[-1] = count
        else:
            times.append(now_s)
            values.append(count)
