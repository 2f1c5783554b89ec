"""The cluster: a scheduler, ReplicaSets and a node autoscaler, as far as a fleet feels them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from inferencefleet.domain.observation import Phase
from inferencefleet.domain.pool import CapacityType
from inferencefleet.simulator.policy import ANY
from inferencefleet.simulator.replay.agenda import Agenda
from inferencefleet.simulator.replay.cloud import Node, PoolCloud
from inferencefleet.simulator.replay.pods import Pod, Tenant, victims_first
from inferencefleet.simulator.replay.stage import Stage, StageError
from inferencefleet.simulator.truth import DoesNotStart

DRAIN_LOOK_S = 1.0
"""How often a draining pod is asked whether it is empty."""


class Watcher(Protocol):
    """Who writes down what happens to pods."""

    def changed(self, tenant: Tenant, now_s: float) -> None:
        """The number of replicas wanted or ready may have changed."""
        ...

    def serves(self, pod: Pod, now_s: float) -> None: ...

    def left(self, pod: Pod, now_s: float) -> None:
        """A pod that had an engine is gone."""
        ...


class Cluster:
    """All pods of all fleets on all nodes."""

    def __init__(self, stage: Stage, tenants: Sequence[Tenant], agenda: Agenda, watcher: Watcher, seed: int) -> None:
        self.tenants = tenants
        self._stage = stage
        self._agenda = agenda
        self._watcher = watcher
        self.clouds = {
            each.pool.name: PoolCloud(each, agenda, self, seed=seed, duration_s=stage.duration_s)
            for each in sorted(stage.pools, key=lambda each: each.pool.name)
        }
        self._any_order = self._cheapest_first(stage)

    def start(self) -> None:
        """Initial replicas are ready, on nodes that are there."""
        for tenant in self.tenants:
            for pool, count in sorted(tenant.stage.initial.items()):
                tenant.wanted[pool] = count
                for _ in range(count):
                    self._start_ready(tenant, pool)
            self._watcher.changed(tenant, 0.0)

    def _start_ready(self, tenant: Tenant, pool: str) -> None:
        pod = tenant.new_pod(pool, 0.0)
        cloud, need = self.clouds[pool], tenant.gpus_in(pool)
        if not self._bind(pod, [pool], 0.0):
            if need > cloud.pool.gpus_per_node or cloud.pool.capacity_type is CapacityType.RESERVED:
                raise StageError(
                    f"fleet {tenant.key}: initial[{pool!r}] is {tenant.stage.initial[pool]}, and the pool's nodes from "
                    "the start have no room for so many; give it more nodes or fewer replicas"
                )
            cloud.add_ready(0.0)
            self._bind(pod, [pool], 0.0)
        # It came up long ago, in the time that its kind takes.
        loaded_s = tenant.load_s(pod)
        pod.created_s = pod.scheduled_s = -600.0 - loaded_s
        self._become_ready(pod, 0.0)
        pod.since_s = pod.ready_s = -600.0
        pod.changed()

    # -- what a policy wants ---------------------------------------------------------------------------------------

    def scale(
        self, tenant: Tenant, wanted: Mapping[str, int], victims: Mapping[str, Sequence[str]], now_s: float
    ) -> None:
        """Write `spec.replicas` of every Deployment; a Deployment that is not named is scaled to 0."""
        for target, count in wanted.items():
            if count < 0 or (target != ANY and target not in self.clouds):
                raise ValueError(
                    f"fleet {tenant.key}: {count} replicas in {target!r}; ask for 0 or more, in one of "
                    f"{', '.join(self.clouds)} or {ANY!r}"
                )
            if count and target != ANY and target not in tenant.kinds:
                raise ValueError(
                    f"fleet {tenant.key}: {count} replicas in {target!r}, where its model does not run; its pools are "
                    f"{', '.join(sorted(tenant.kinds))}"
                )
        if ANY in wanted and ANY not in tenant.wanted:
            tenant.adopt_all()
        known = {*tenant.wanted, *(target for target, count in wanted.items() if count)}
        tenant.wanted = {target: wanted.get(target, 0) for target in sorted(known)}
        self._reconcile(tenant, victims, now_s)
        self.on_capacity(now_s)

    def _reconcile(self, tenant: Tenant, victims: Mapping[str, Sequence[str]], now_s: float) -> None:
        for target in sorted({*tenant.wanted, *(pod.target for pod in tenant.pods)}):
            standing = tenant.standing(target)
            excess = len(standing) - tenant.wanted.get(target, 0)
            if excess > 0:
                for pod in victims_first(standing, victims.get(target, ()))[:excess]:
                    self._delete(pod, now_s)
            for _ in range(-excess):
                tenant.new_pod(target, now_s)
        self._watcher.changed(tenant, now_s)

    # -- pods find nodes -------------------------------------------------------------------------------------------

    def on_capacity(self, now_s: float) -> None:
        """First fit, largest pod first, onto nodes that are there, then that come; a new node for what is left."""
        pending = [pod for tenant in self.tenants for pod in tenant.pods if pod.phase is Phase.UNSCHEDULED]
        if not pending:
            return
        room = {node.name: node.free for cloud in self.clouds.values() for node in cloud.nodes if node.coming}
        for pod in sorted(pending, key=lambda each: (-each.tenant.gpus_in(each.target), each.created_s, each.name)):
            pools = self._choices(pod)
            if self._bind(pod, pools, now_s) or self._nominate(pod, pools, room):
                continue
            self._launch_for(pod, pools, room, now_s)

    def _cheapest_first(self, stage: Stage) -> list[str]:
        """Where pods go that may go anywhere: reserved GPUs are paid already, then by price."""
        allowed = [each.pool for each in stage.pools if each.pool.capacity_type in stage.any_capacity_types]
        order = sorted(allowed, key=lambda pool: (pool.marginal_price_per_gpu_hour, pool.name))
        return [pool.name for pool in order]

    def _choices(self, pod: Pod) -> Sequence[str]:
        if pod.target != ANY:
            return (pod.target,)
        allowed = pod.tenant.fleet.pools
        return [name for name in self._any_order if name in pod.tenant.kinds and (allowed is None or name in allowed)]

    def _bind(self, pod: Pod, pools: Iterable[str], now_s: float) -> bool:
        for pool in pools:
            need = pod.tenant.gpus_in(pool)
            for node in self.clouds[pool].nodes:
                if node.free >= need and node.open:
                    self._put(pod, node, now_s)
                    return True
        return False

    def _put(self, pod: Pod, node: Node, now_s: float) -> None:
        pod.node, pod.kind = node, pod.tenant.kinds[node.pool]
        node.pods.append(pod)
        node.free -= pod.gpus
        node.empty_since_s = None
        pod.scheduled_s, pod.message = now_s, ""
        pod.enter(Phase.STARTING, now_s)
        self._agenda.at(now_s + pod.tenant.load_s(pod), lambda at_s: self._become_ready(pod, at_s))

    def _nominate(self, pod: Pod, pools: Iterable[str], room: dict[str, int]) -> bool:
        """A node that comes anyway has room for it."""
        for pool in pools:
            need = pod.tenant.gpus_in(pool)
            for node in self.clouds[pool].nodes:
                if room.get(node.name, 0) >= need:
                    room[node.name] -= need
                    return True
        return False

    def _launch_for(self, pod: Pod, pools: Sequence[str], room: dict[str, int], now_s: float) -> None:
        for pool in pools:
            cloud, need = self.clouds[pool], pod.tenant.gpus_in(pool)
            node = cloud.launch(now_s) if need <= cloud.pool.gpus_per_node else None
            if node is not None:
                room[node.name] = node.free - need
                return
        said = [self.clouds[pool].refusal for pool in pools if self.clouds[pool].refusal]
        message = f"Failed to schedule pod, {said[-1] if said else 'no pool has nodes large enough for it'}"
        if pod.message != message:
            pod.message = message
            pod.changed()

    # -- the life of a pod -----------------------------------------------------------------------------------------

    def _become_ready(self, pod: Pod, now_s: float) -> None:
        if pod.gone or pod.kind is None or pod.phase is not Phase.STARTING:
            return
        servers = pod.tenant.servers
        servers.run_until(now_s)
        try:
            pod.slot = servers.add(pod.kind, seed=pod.tenant.engine_seed(pod))
        except DoesNotStart as refusal:
            pod.message = f"CrashLoopBackOff: {refusal}"
            pod.enter(Phase.FAILED, now_s)
            return
        servers.open(pod.slot)
        if pod.doomed:
            servers.avoid(pod.slot)
        pod.ready_s = now_s
        pod.enter(Phase.READY, now_s)
        self._watcher.serves(pod, now_s)
        self._watcher.changed(pod.tenant, now_s)

    def _delete(self, pod: Pod, now_s: float) -> None:
        """What serves drains first: its endpoint is gone, what it has in hand goes on."""
        if pod.slot is None:
            self._remove(pod, now_s)
            return
        pod.tenant.servers.run_until(now_s)
        pod.tenant.servers.close(pod.slot)
        pod.closed_s = now_s
        pod.enter(Phase.TERMINATING, now_s)
        self._look_at_drain(pod, now_s)

    def _look_at_drain(self, pod: Pod, now_s: float) -> None:
        if pod.gone or pod.slot is None or pod.closed_s is None:
            return
        servers, until_s = pod.tenant.servers, pod.closed_s + pod.tenant.fleet.engine.drain_s
        servers.run_until(now_s)
        if now_s < until_s and servers.in_flight(pod.slot) > 0:
            self._agenda.at(min(now_s + DRAIN_LOOK_S, until_s), lambda at_s: self._look_at_drain(pod, at_s))
            return
        servers.kill(pod.slot)
        self._remove(pod, now_s)
        self.on_capacity(now_s)

    def _remove(self, pod: Pod, now_s: float) -> None:
        pod.gone = True
        pod.tenant.pods.remove(pod)
        if pod.node is not None:
            pod.node.pods.remove(pod)
            pod.node.free += pod.gpus
            if pod.node.gone_s is None:
                self.clouds[pod.node.pool].note_empty(pod.node, now_s)
        if pod.slot is not None:
            self._watcher.left(pod, now_s)

    # -- nodes go --------------------------------------------------------------------------------------------------

    def on_notice(self, node: Node, now_s: float) -> None:
        """Nothing new is routed there. Pods that are bound to no pool are drained at once by the node autoscaler, and
        their Deployment makes new ones; for the others the operator decides."""
        evicted: dict[str, Tenant] = {}
        for pod in list(node.pods):
            pod.changed()
            if pod.slot is not None and pod.phase is Phase.READY:
                pod.tenant.servers.run_until(now_s)
                pod.tenant.servers.avoid(pod.slot)
            if pod.target == ANY and pod.phase is not Phase.TERMINATING:
                evicted[str(pod.tenant.key)] = pod.tenant
                self._delete(pod, now_s)
        self._renew(evicted, now_s)

    def on_death(self, node: Node, now_s: float) -> None:
        """Everything on it is gone; Deployments make new pods."""
        hit: dict[str, Tenant] = {}
        for pod in list(node.pods):
            tenant = hit[str(pod.tenant.key)] = pod.tenant
            if pod.slot is not None:
                tenant.servers.run_until(now_s)
                tenant.servers.kill(pod.slot)
                tenant.killed += pod.phase is Phase.READY
            self._remove(pod, now_s)
        self._renew(hit, now_s)

    def _renew(self, tenants: Mapping[str, Tenant], now_s: float) -> None:
        for tenant in tenants.values():
            self._reconcile(tenant, {}, now_s)
        self.on_capacity(now_s)
