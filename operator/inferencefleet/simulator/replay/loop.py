"""`replay`: time passes on a stage, and a policy decides once a period."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from random import Random

from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.slo import SloMetric
from inferencefleet.simulator.policy import Hinting, Hints, Policy
from inferencefleet.simulator.replay.agenda import Agenda, Turn
from inferencefleet.simulator.replay.books import Books
from inferencefleet.simulator.replay.cluster import Cluster
from inferencefleet.simulator.replay.pods import Tenant
from inferencefleet.simulator.replay.prometheus import Prometheus
from inferencefleet.simulator.replay.replayed import Decision, Replayed
from inferencefleet.simulator.replay.scrapes import GROUPS, Scrapes
from inferencefleet.simulator.replay.sight import Onlooker, buckets_of
from inferencefleet.simulator.replay.stage import Stage, StageFleet
from inferencefleet.simulator.servers import EngineKind, ServersFactory


def replay(
    stage: Stage,
    policy: Policy,
    *,
    engines: ServersFactory,
    seed: int,
    progress: Callable[[float], None] | None = None,
) -> Replayed:
    """Play the stage under a policy (a new instance: it keeps state). The same arguments give the same result.

    `progress` hears the share that is done, 0..1, after every decision.
    """
    world = _World(stage, policy, engines, seed, progress)
    return world.play()


class _World:
    def __init__(
        self,
        stage: Stage,
        policy: Policy,
        engines: ServersFactory,
        seed: int,
        progress: Callable[[float], None] | None,
    ) -> None:
        self.stage = stage
        self.policy = policy
        self.seed = seed
        self.progress = progress
        self.agenda = Agenda()
        ordered = sorted(stage.fleets, key=lambda each: each.fleet.key)
        self.tenants = [_tenant(each, engines, seed) for each in ordered]
        self.prometheus = {
            str(tenant.key): Prometheus(
                tenant.fleet,
                Scrapes(buckets_of(tenant.stage), stage.scrape_s, stage.rate_window_s),
                window_s=stage.rate_window_s,
                start_epoch_s=stage.start_epoch_s,
            )
            for tenant in self.tenants
        }
        self.books = Books(stage, self.prometheus)
        self.cluster = Cluster(stage, self.tenants, self.agenda, self.books, seed)
        self.onlooker = Onlooker(stage, self.cluster, self.prometheus)

    def play(self) -> Replayed:
        stage = self.stage
        self.cluster.start()
        for group in range(GROUPS):
            self.agenda.at((group + 0.5) * stage.scrape_s / GROUPS, partial(self._scrape, group), Turn.SCRAPE)
        self.agenda.at(stage.period_s, self._tick, Turn.TICK)
        self.agenda.run(stage.duration_s)
        for tenant in self.tenants:
            tenant.servers.run_until(stage.duration_s)
        for cloud in self.cluster.clouds.values():
            cloud.close_books()
        by_pool, by_minute, beyond = self.books.dollars(self.cluster.clouds.values())
        return Replayed(
            stage=stage.name,
            policy=self.policy.name,
            seed=self.seed,
            fleets=tuple(self.books.score(tenant) for tenant in self.tenants),
            dollars=sum(by_pool.values()),
            dollars_beyond_reserved=beyond,
            dollars_by_pool=by_pool,
            dollars_by_minute=by_minute,
            decisions=tuple(self.books.decisions),
        )

    def _scrape(self, group: int, now_s: float) -> None:
        for tenant in self.tenants:
            scrapes, servers = self.prometheus[str(tenant.key)].scrapes, tenant.servers
            slots = scrapes.due(group)
            if slots.size:
                servers.run_until(now_s)
                scrapes.sample(slots, servers.counters(), servers.gauges(), now_s)
            else:
                scrapes.note_in_system(now_s)
        self.agenda.at(now_s + self.stage.scrape_s, partial(self._scrape, group), Turn.SCRAPE)

    def _tick(self, now_s: float) -> None:
        for tenant in self.tenants:
            tenant.servers.run_until(now_s)
        decided = self.policy.decide(self.onlooker.look(now_s))
        self._check(decided)
        for tenant in self.tenants:
            if tenant.key in decided:
                self._obey(tenant, decided[tenant.key], now_s)
        if self.progress is not None:
            self.progress(now_s / self.stage.duration_s)
        self.agenda.at(now_s + self.stage.period_s, self._tick, Turn.TICK)

    def _check(self, decided: Mapping[FleetKey, Mapping[str, int]]) -> None:
        known = {tenant.key for tenant in self.tenants}
        for key in decided:
            if key not in known:
                raise ValueError(
                    f"policy {self.policy.name!r} decided for fleet {key}, which is not on the stage; its fleets are "
                    f"{', '.join(sorted(map(str, known)))}"
                )

    def _obey(self, tenant: Tenant, wanted: Mapping[str, int], now_s: float) -> None:
        hints = self.policy.hints(tenant.key) if isinstance(self.policy, Hinting) else Hints()
        before = {pool: count for pool, count in tenant.wanted.items() if count}
        _reshape(tenant, hints)
        self.cluster.scale(tenant, wanted, hints.victims, now_s)
        after = {pool: count for pool, count in tenant.wanted.items() if count}
        if before != after:
            self.books.decisions.append(
                Decision(
                    at_s=now_s,
                    fleet=tenant.key,
                    before=before,
                    after=after,
                    reason=hints.reason,
                    sentence=hints.sentence,
                )
            )


def _tenant(stage_fleet: StageFleet, engines: ServersFactory, seed: int) -> Tenant:
    fleet = stage_fleet.fleet
    servers = engines(
        stage_fleet.arrivals,
        routing=fleet.routing,
        buckets=buckets_of(stage_fleet),
        seed=Random(f"{seed}:{fleet.key}:router").getrandbits(31),
        itl_target_s=min((slo.target_s for slo in fleet.slos if slo.metric is SloMetric.ITL), default=float("inf")),
    )
    return Tenant(stage_fleet, servers, seed)


def _reshape(tenant: Tenant, hints: Hints) -> None:
    """New replicas are what the policy says; those that run stay as they are."""
    for pool, shape in hints.shapes.items():
        known = tenant.kinds.get(pool)
        if known is None or known.shape.tensor_parallel != shape.tensor_parallel:
            template = known or next(iter(tenant.kinds.values()))
            tenant.kinds[pool] = EngineKind(shape=shape, truth=template.truth)
