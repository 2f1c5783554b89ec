"""`Servers` over the kernels: makes room for replicas, lists those that are routed to, and hands out copies."""

from __future__ import annotations

from math import exp, inf, nan
from random import Random
from statistics import NormalDist
from typing import Any

import numpy as np

from inferencefleet.domain.fleet import Routing
from inferencefleet.simulator.fast import laws
from inferencefleet.simulator.fast import layout as at
from inferencefleet.simulator.fast.layout import World
from inferencefleet.simulator.fast.router import drain_gateway, lose, run
from inferencefleet.simulator.fast.table import StepTable, step_table
from inferencefleet.simulator.servers import (
    Arrivals,
    Buckets,
    Counters,
    EngineKind,
    Floats,
    Gauges,
    Integers,
    Outcome,
    Results,
    Servers,
    check_simulated,
)
from inferencefleet.simulator.truth import build_engine

ROUTERS = {
    Routing.UNIFORM: at.UNIFORM,
    Routing.LOAD_AWARE: at.LOAD_AWARE,
    Routing.PREFIX_AWARE: at.PREFIX_AWARE,
}

BY_SLOT = ("si", "sf", "next_s", "load", "lists", "counts", "targets", "live")
"""Arrays of the world with a row for each replica."""


def servers(arrivals: Arrivals, *, routing: Routing, buckets: Buckets, seed: int, itl_target_s: float) -> Servers:
    """A `ServersFactory`."""
    return FastServers(arrivals, routing, buckets, seed, itl_target_s)


class FastServers:
    """One fleet in flat arrays."""

    def __init__(self, arrivals: Arrivals, routing: Routing, buckets: Buckets, seed: int, itl_target_s: float) -> None:
        self._now_s = 0.0
        self._slots = 0
        self._itl_target_s = itl_target_s
        self._kinds: list[EngineKind] = []
        self._tables: list[StepTable] = []
        self._opened: set[int] = set()
        self._avoided: set[int] = set()
        self._dead: set[int] = set()
        self._world = _empty_world(arrivals, routing, buckets, seed, itl_target_s)

    # -- replicas come and go ----------------------------------------------------------------------------------------

    def add(self, kind: EngineKind, *, seed: int) -> int:
        check_simulated(kind.shape)
        config = build_engine(kind.shape, kind.truth, seed, self._itl_target_s).config
        number = self._kind_number(kind, config.max_num_seqs)
        slot = self._slots
        self._slots += 1
        self._make_room(lanes=config.max_num_seqs)
        chance = Random(seed)
        integers, times = self._world.si[slot], self._world.sf[slot]
        integers[at.KIND] = number
        integers[at.KV_BLOCKS] = config.kv_blocks
        integers[at.WATERMARK] = int(config.watermark * config.kv_blocks)
        integers[at.MAX_SEQS] = config.max_num_seqs
        integers[at.MAX_BATCHED] = config.max_num_batched_tokens
        integers[at.MAX_LENGTH] = config.max_model_len_tokens
        integers[[at.QUEUE_HEAD, at.QUEUE_TAIL, at.RUN_HEAD, at.RUN_TAIL, at.IN_PREFILL]] = at.NOBODY
        # The same draw as that of `build_engine`.
        times[at.FACTOR] = exp(chance.gauss(0.0, kind.truth.replica_spread))
        times[at.SIGMA] = config.step_noise
        times[at.FRONTEND] = config.frontend_s
        integers[at.CHANCE_A] = chance.randrange(1, laws.FIRST_MODULUS)
        integers[at.CHANCE_B] = chance.randrange(1, laws.SECOND_MODULUS)
        integers[at.CHANCE_C] = chance.randrange(1, laws.APART_MODULUS)
        self._world.next_s[slot] = inf
        self._list_slots()
        return slot

    def open(self, slot: int) -> None:
        self._opened.add(slot)
        self._list_slots()
        drain_gateway(self._world, self._now_s)

    def avoid(self, slot: int) -> None:
        self._avoided.add(slot)
        self._list_slots()

    def close(self, slot: int) -> None:
        self._opened.discard(slot)
        self._list_slots()

    def kill(self, slot: int) -> int:
        self._opened.discard(slot)
        self._dead.add(slot)
        self._list_slots()
        world = self._world
        lost = lose(world, slot, self._now_s)
        world.load[slot] = 0
        world.si[slot, [at.RUNNING, at.QUEUE, at.USED]] = 0
        world.si[slot, at.DOING] = at.IDLE
        world.next_s[slot] = inf
        return lost

    def _list_slots(self) -> None:
        """Those to route to, and those whose time passes."""
        slots = sorted(self._opened - self._avoided) or sorted(self._opened)
        live = [slot for slot in range(self._slots) if slot not in self._dead]
        self._world.targets[: len(slots)] = slots
        self._world.live[: len(live)] = live
        self._world.fleet[at.TARGETS] = len(slots)
        self._world.fleet[at.LIVE] = len(live)

    def _make_room(self, lanes: int) -> None:
        """For one more replica, and for batches of this size."""
        world = self._world
        room, wide = world.next_s.size, int(world.fleet[at.LANES])
        if self._slots > room:
            larger: dict[str, Any] = {name: _grown(getattr(world, name), 2 * room) for name in BY_SLOT}
            self._world = world = world._replace(**larger)
        if lanes > wide:
            wider = np.zeros((world.next_s.size, 2 * lanes), dtype=np.int64)
            wider[:, :wide] = world.lists[:, :wide]
            wider[:, lanes : lanes + wide] = world.lists[:, wide:]
            world.fleet[at.LANES] = lanes
            self._world = world._replace(lists=wider)

    def _kind_number(self, kind: EngineKind, max_num_seqs: int) -> int:
        """Its row in the tables, which all become as wide as the widest."""
        for number, known in enumerate(self._kinds):
            if known is kind or known == kind:
                return number
        self._kinds.append(kind)
        self._tables.append(step_table(kind.shape, kind.truth, max_num_seqs))
        sequences = max(table.decode_s.size for table in self._tables)
        tokens = max(table.tokens_s.size for table in self._tables)
        rows = np.stack([_table_row(table, sequences, tokens) for table in self._tables])
        self._world.fleet[at.TOKENS_AT] = at.TABLES + sequences
        self._world.fleet[at.SEQUENCES_AT] = at.TABLES + sequences + tokens
        self._world = self._world._replace(tables=rows)
        return len(self._kinds) - 1

    # -- time passes -------------------------------------------------------------------------------------------------

    @property
    def now_s(self) -> float:
        return self._now_s

    def run_until(self, until_s: float) -> None:
        self._now_s = max(self._now_s, until_s)
        run(self._world, self._now_s)

    # -- what is to be seen ------------------------------------------------------------------------------------------

    def in_flight(self, slot: int) -> int:
        return int(self._world.load[slot])

    def gateway_waiting(self) -> int:
        return int(self._world.fleet[at.GATE_COUNT])

    def counters(self) -> Counters:
        integers, times = self._world.si[: self._slots], self._world.sf[: self._slots]
        finished, prefills = integers[:, at.N_FINISHED].copy(), integers[:, at.N_FINISHED].copy()
        return Counters(
            finished=finished,
            first_tokens=integers[:, at.N_FIRST].copy(),
            prompt_tokens=integers[:, at.N_PROMPT].copy(),
            output_tokens=integers[:, at.N_OUTPUT].copy(),
            prefix_queries=integers[:, at.N_QUERIED].copy(),
            prefix_hits=integers[:, at.N_HIT].copy(),
            preemptions=integers[:, at.N_PREEMPTED].copy(),
            computed_tokens=integers[:, at.N_COMPUTED].copy(),
            prefill_seconds=times[:, at.S_PREFILL].copy(),
            prefills=prefills,
            prompt_hist=self._histogram(at.H_PROMPT),
            prompt_sum=times[:, at.S_PROMPT].copy(),
            output_hist=self._histogram(at.H_OUTPUT),
            output_sum=times[:, at.S_OUTPUT].copy(),
            ttft_hist=self._histogram(at.H_TTFT),
            ttft_sum=times[:, at.S_TTFT].copy(),
            itl_hist=self._histogram(at.H_ITL),
            itl_sum=times[:, at.S_ITL].copy(),
            tpot_hist=self._histogram(at.H_TPOT),
            tpot_sum=times[:, at.S_TPOT].copy(),
            e2e_hist=self._histogram(at.H_E2E),
            e2e_sum=times[:, at.S_E2E].copy(),
        )

    def _histogram(self, number: int) -> Integers:
        start, end = self._world.edges[number], self._world.edges[number + 1]
        return self._world.counts[: self._slots, start:end].copy()

    def gauges(self) -> Gauges:
        integers = self._world.si[: self._slots]
        # A run of decode-only steps books blocks when steps are over; the step in flight has its own already.
        column = at.GROWTH + (integers[:, at.STEPS] + 1) % at.PHASES
        growth = np.where(integers[:, at.DOING] == at.DECODE_ONLY, integers[np.arange(self._slots), column], 0)
        return Gauges(
            running=integers[:, at.RUNNING].copy(),
            waiting=integers[:, at.QUEUE].copy(),
            kv_cache_usage=(integers[:, at.USED] + growth) / integers[:, at.KV_BLOCKS],
            kv_cache_tokens=integers[:, at.KV_BLOCKS] * at.PHASES,
        )

    def results(self) -> Results:
        world = self._world
        outcome = world.ri[:, at.OUTCOME].copy()
        done = outcome == Outcome.FINISHED
        first, last = world.rf[:, at.FIRST], world.rf[:, at.LAST]
        intervals = np.maximum(world.output - 1, 1)
        return Results(
            outcome=outcome,
            ttft_s=np.where(world.ri[:, at.GENERATED] > 0, first - world.arrival_s, nan),
            tpot_s=np.where(done, np.where(world.output > 1, (last - first) / intervals, 0.0), nan),
            e2e_s=np.where(done, last - world.arrival_s, nan),
            slot=np.where(done, world.ri[:, at.SLOT], at.NOBODY),
            retries=world.ri[:, at.RETRIES].copy(),
            preemptions=world.ri[:, at.PREEMPTED].copy(),
            hit_tokens=world.ri[:, at.HIT].copy(),
            slow_tokens=np.where(done, world.ri[:, at.SLOW], 0),
        )


def _empty_world(arrivals: Arrivals, routing: Routing, buckets: Buckets, seed: int, itl_target_s: float) -> World:
    """Room for one replica, and for every request."""
    requests = len(arrivals)
    shared = bool((arrivals.prefix_tokens > 0).any() and (arrivals.session >= 0).any())
    sessions = int(arrivals.session.max()) + 1 if shared else 0
    families = (
        buckets.prompt_tokens, buckets.output_tokens, buckets.ttft_s, buckets.itl_s, buckets.itl_s, buckets.e2e_s,
    )  # fmt: skip
    edges = np.cumsum([0, *(len(bounds) + 1 for bounds in families)], dtype=np.int64)
    fleet = np.zeros(at.FLEET_COLUMNS, dtype=np.int64)
    fleet[[at.GATE_HEAD, at.GATE_TAIL]] = at.NOBODY
    fleet[at.ROUTING], fleet[at.SEED], fleet[at.LANES], fleet[at.PREFIXES] = ROUTERS[routing], seed, 1, shared
    quantiles = 2**laws.NORMAL_BITS
    normal = np.array([NormalDist().inv_cdf((number + 0.5) / quantiles) for number in range(quantiles)])
    return World(
        arrival_s=np.ascontiguousarray(arrivals.arrival_s, dtype=np.float64),
        prompt=np.ascontiguousarray(arrivals.prompt_tokens, dtype=np.int64),
        output=np.ascontiguousarray(arrivals.output_tokens, dtype=np.int64),
        prefix=np.ascontiguousarray(arrivals.prefix_tokens, dtype=np.int64),
        session=np.ascontiguousarray(arrivals.session, dtype=np.int64),
        ri=np.zeros((requests, at.REQUEST_COLUMNS), dtype=np.int64),
        rf=np.zeros((requests, at.REQUEST_TIMES)),
        si=np.zeros((1, at.REPLICA_COLUMNS), dtype=np.int64),
        sf=np.zeros((1, at.REPLICA_TIMES)),
        next_s=np.full(1, inf),
        load=np.zeros(1, dtype=np.int64),
        lists=np.zeros((1, 2), dtype=np.int64),
        tables=np.zeros((1, at.TABLES)),
        bounds=np.concatenate([np.array([*bounds, inf]) for bounds in families]),
        edges=edges,
        counts=np.zeros((1, int(edges[-1])), dtype=np.int64),
        targets=np.zeros(1, dtype=np.int64),
        live=np.zeros(1, dtype=np.int64),
        fleet=fleet,
        limits=np.array([itl_target_s]),
        normal=normal / normal.std(),
        # A request leaves a prefix on one replica, and on another one if the first dies.
        entries=np.zeros((2 * requests if shared else 1, 4), dtype=np.int64),
        holders=np.full(max(1, sessions), at.NOBODY, dtype=np.int64),
    )


def _table_row(table: StepTable, sequences: int, tokens: int) -> Floats:
    """Constants, then the three tables."""
    return np.concatenate(
        [
            [table.graph_tokens, table.eager8, table.read_s, table.attend_s],
            table.windows,
            table.window_read_s,
            table.window_attend_s,
            np.pad(table.decode_s, (0, sequences - table.decode_s.size)),
            np.pad(table.tokens_s, (0, tokens - table.tokens_s.size)),
            np.pad(table.sequences_s, (0, sequences - table.sequences_s.size)),
        ]
    )


def _grown(array: Floats | Integers, rows: int) -> Floats | Integers:
    """The same array with room for more rows."""
    more: Floats | Integers = np.zeros((rows, *array.shape[1:]), dtype=array.dtype)
    more[: array.shape[0]] = array
    return more
