"""From a placement to what each Deployment asks for now: up at once, down only when others serve already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inferencefleet.domain.observation import Phase, Replica
from inferencefleet.domain.plan import Reason, Verdict
from inferencefleet.planning.rooms import Census


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The next state of one pool's Deployment."""

    replicas: int
    verdict: Verdict | None


def reshape(
    placed: Mapping[str, int], current: Mapping[str, int], counted: Mapping[str, Census], *, needed: int
) -> Mapping[str, Step]:
    """One step from `current` (spec.replicas by pool) towards `placed`.

    - A pool grows at once; replicas on doomed nodes are asked for again on top of them.
    - A pool shrinks only as far as replicas that serve elsewhere make up for it (make before break), so a move
      between pools never leaves fewer than `needed` replicas able to serve, as far as they could serve before. The
      same holds for replicas that start: none is given up for one that starts later elsewhere.

    `needed` is what demand asks for; it exceeds the sum of `placed` when no pool has room for all.
    """
    ready = sum(count.ready for count in counted.values())
    bound = ready + sum(count.starting for count in counted.values())
    spare, spare_bound, replaced = max(0, ready - needed), bound - needed, ready >= needed
    newcomers = {pool: max(0, min(count.starting, placed[pool] - count.ready)) for pool, count in counted.items()}
    all_newcomers = sum(newcomers.values())
    steps: dict[str, Step] = {}
    for pool in sorted(placed):
        count = counted[pool]
        target, now = placed[pool], current.get(pool, 0)
        if target + count.doomed >= now:
            steps[pool] = Step(replicas=target + _surge(count, replaced), verdict=_replacing(pool, target, count))
            continue
        # Replicas that do not serve go first and cost nothing; of those that serve only the spare ones may go.
        mine = count.ready + count.starting
        elsewhere = all_newcomers - newcomers[pool]
        replicas = max(target, count.ready - spare, mine - max(0, spare_bound - elsewhere))
        spare -= max(0, count.ready - replicas)
        spare_bound -= max(0, mine - replicas)
        steps[pool] = Step(
            replicas=min(now, replicas + _surge(count, replaced)), verdict=_waiting(pool, target, replicas)
        )
    return steps


def _surge(count: Census, replaced: bool) -> int:
    """Doomed replicas that are still asked for on top.

    They are let go (drained in time) once enough others serve. While any replica starts here the ReplicaSet would
    kill that one first, so the doomed ones are then left to their node.
    """
    can_let_go = replaced and count.starting == 0 and count.unscheduled == 0
    return 0 if can_let_go else count.doomed


def _replacing(pool: str, target: int, count: Census) -> Verdict | None:
    if count.doomed == 0:
        return None
    return Verdict(
        code=Reason.REPLACING_DOOMED,
        sentence=f"{count.doomed} replicas in {pool} are on nodes that go away; replacing them before they die",
        before=target,
        after=target + count.doomed,
    )


def _waiting(pool: str, target: int, replicas: int) -> Verdict | None:
    if replicas <= target:
        return None
    return Verdict(
        code=Reason.WAITING_FOR_REPLACEMENT,
        sentence=f"{pool} keeps {replicas} replicas where {target} are wanted, until replicas elsewhere serve",
        before=target,
        after=replicas,
    )


def victims(replicas: Sequence[Replica], pool: str) -> tuple[str, ...]:
    """Names of ready replicas of a pool, the one that costs least to lose first.

    On a doomed node, then on the node with the fewest replicas of the fleet (an empty node can be given back), then
    the youngest, then by name.
    """
    mine = [replica for replica in replicas if replica.pool == pool and replica.phase is Phase.READY]
    on_node = Counter(replica.node for replica in mine)
    ordered = sorted(
        mine, key=lambda replica: (not replica.doomed, on_node[replica.node], -replica.created_s, replica.name)
    )
    return tuple(replica.name for replica in ordered)
