"""Where a kernel finds what: a few flat arrays for the whole fleet, and the names of their columns.

Few arrays with many columns, because each array is eight words of arguments in every call between kernels, and
because what is used together shall lie together.
"""

from __future__ import annotations

from typing import NamedTuple

from inferencefleet.simulator.servers import Floats, Integers, Outcome

NOBODY = -1
PHASES = 16
"""Block size: decoding sequences by the step, modulo this, in which they need a new block."""

# Requests, integers.
(STATE, SLOT, GENERATED, COMPUTED, HIT, TARGET, BLOCKS, JOINED, FINISH, NEXT, PREVIOUS, RETRIES, PREEMPTED, SLOW,
 SLOW_MARK, OUTCOME) = range(16)  # fmt: skip
REQUEST_COLUMNS = 16
NEW, WAITING, PREFILLING, DECODING = range(4)
FINISHED, FAILED, REFUSED = int(Outcome.FINISHED), int(Outcome.FAILED), int(Outcome.REFUSED)

# Requests, seconds.
QUEUED, SCHEDULED, FIRST, LAST = range(4)
REQUEST_TIMES = 4

# Replicas, integers: what they are, what they do, what they counted.
(KIND, KV_BLOCKS, WATERMARK, MAX_SEQS, MAX_BATCHED, MAX_LENGTH,
 STEPS, BATCH, CONTEXT, USED, RUNNING, QUEUE, QUEUE_HEAD, QUEUE_TAIL, RUN_HEAD, RUN_TAIL, IN_PREFILL, COMPLETING,
 DOING, LEFT, PROMPT_STEP, HEAPED, SLOW_STEPS, CHANCE_A, CHANCE_B, CHANCE_C,
 N_FINISHED, N_FIRST, N_PROMPT, N_OUTPUT, N_QUERIED, N_HIT, N_PREEMPTED, N_COMPUTED) = range(34)  # fmt: skip
GROWTH = 34
REPLICA_COLUMNS = GROWTH + PHASES
IDLE, DECODE_ONLY, MIXED = range(3)

# Replicas, seconds (FACTOR, SIGMA and SPREAD have no unit).
(FACTOR, SIGMA, FRONTEND, STARTED, STEP, STEP_GROWTH, SPREAD, LASTS,
 S_PREFILL, S_PROMPT, S_OUTPUT, S_TTFT, S_ITL, S_TPOT, S_E2E) = range(15)  # fmt: skip
REPLICA_TIMES = 15

# Histograms.
H_PROMPT, H_OUTPUT, H_TTFT, H_ITL, H_TPOT, H_E2E = range(6)

# Kinds: the first columns of `tables`, before the tables themselves.
GRAPH_TOKENS, EAGER8, READ, ATTEND = range(4)
WINDOW, WINDOW_READ, WINDOW_ATTEND = 4, 7, 10
TABLES = 13

# The fleet.
(ARRIVED, GATE_HEAD, GATE_TAIL, GATE_COUNT, TARGETS, LIVE, ROUTING, SEED, LANES, TOKENS_AT, SEQUENCES_AT, ENTRIES,
 PREFIXES) = range(13)  # fmt: skip
FLEET_COLUMNS = 13
UNIFORM, LOAD_AWARE, PREFIX_AWARE = range(3)

# Prefix cache entries: a replica that holds the prefix of a session.
HELD_BY, TOUCHED, HELD_TOKENS, NEXT_HOLDER = range(4)


class World(NamedTuple):
    """All state of a fleet. Kernels change the contents; only `FastServers` exchanges arrays, to let them grow."""

    arrival_s: Floats
    prompt: Integers
    output: Integers
    prefix: Integers
    session: Integers
    ri: Integers
    """Requests x columns."""
    rf: Floats
    si: Integers
    """Replicas x columns."""
    sf: Floats
    next_s: Floats
    """When the segment in flight of each replica ends; infinity while idle."""
    load: Integers
    """Requests in hand."""
    lists: Integers
    """Per replica: a heap of finish step and request, and the requests whose prefill ends with the step in flight."""
    tables: Floats
    """Kinds x (constants, decode, tokens, sequences)."""
    bounds: Floats
    """Of all histograms, each with infinity at its end."""
    edges: Integers
    """Where each histogram begins in `bounds`."""
    counts: Integers
    """Replicas x bounds."""
    targets: Integers
    """Replicas that are routed to, ascending."""
    live: Integers
    """Replicas that have not died, ascending."""
    fleet: Integers
    limits: Floats
    """[ITL target in seconds]"""
    normal: Floats
    """Quantiles of the normal distribution."""
    entries: Integers
    holders: Integers
    """By session: its first entry."""
