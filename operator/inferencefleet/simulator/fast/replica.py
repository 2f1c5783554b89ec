"""Kernels of one replica: the rules of `simulator.engine`, with all decode-only steps up to the next event as one."""

from __future__ import annotations

from math import inf, sqrt

from inferencefleet.simulator.fast import layout as at
from inferencefleet.simulator.fast.compiling import compiled
from inferencefleet.simulator.fast.laws import (
    draw_apart,
    first_request,
    first_step,
    mixed_step_s,
    noise,
    observe,
    place_of,
    push,
    remove,
    span_s,
    steps_within,
)
from inferencefleet.simulator.fast.layout import World
from inferencefleet.simulator.fast.prefixes import touch
from inferencefleet.simulator.fast.table import WINDOWS

PIECES = 4
"""Parts of a run of steps whose durations are drawn apart for the histogram of token intervals."""


@compiled
def blocks_for(tokens: int) -> int:
    return (tokens + at.PHASES - 1) // at.PHASES


@compiled
def growth_of(w: World, s: int, steps: int) -> int:
    """Blocks that the decoding requests fill in the next `steps` steps."""
    whole = steps // at.PHASES
    found = whole * w.si[s, at.BATCH]
    now = w.si[s, at.STEPS]
    for step in range(now + 1, now + 1 + steps - whole * at.PHASES):
        found += w.si[s, at.GROWTH + step % at.PHASES]
    return int(found)


# -- the end of a step -----------------------------------------------------------------------------------------------


@compiled
def settle(w: World, s: int, steps: int) -> None:
    """Book the first `steps` steps of the decode-only run in flight; the rest of it stays in flight."""
    batch = w.si[s, at.BATCH]
    step_s, growth_s, spread = w.sf[s, at.STEP], w.sf[s, at.STEP_GROWTH], w.sf[s, at.SPREAD]
    piece = (steps + PIECES - 1) // PIECES
    done = 0
    while done < steps:
        count = min(piece, steps - done)
        duration_s = step_s + growth_s * (done + 0.5 * (count - 1))
        if spread > 0.0:
            duration_s *= 1.0 + spread * draw_apart(w, s)
        observe(w, s, at.H_ITL, duration_s, batch * count)
        if duration_s > w.limits[0]:
            w.si[s, at.SLOW_STEPS] += count
        done += count
    total_s = span_s(step_s, growth_s, steps)
    w.sf[s, at.S_ITL] += batch * total_s
    w.si[s, at.N_OUTPUT] += batch * steps
    w.si[s, at.N_COMPUTED] += batch * steps
    w.si[s, at.USED] += growth_of(w, s, steps)
    w.si[s, at.STEPS] += steps
    w.si[s, at.LEFT] -= steps
    w.sf[s, at.STARTED] += total_s
    w.sf[s, at.STEP] += growth_s * steps


@compiled
def leave(w: World, s: int, r: int) -> None:
    """Out of the batch, at the end of a step."""
    before, after = w.ri[r, at.PREVIOUS], w.ri[r, at.NEXT]
    if before == at.NOBODY:
        w.si[s, at.RUN_HEAD] = after
    else:
        w.ri[before, at.NEXT] = after
    if after == at.NOBODY:
        w.si[s, at.RUN_TAIL] = before
    else:
        w.ri[after, at.PREVIOUS] = before
    w.si[s, at.RUNNING] -= 1
    if w.ri[r, at.STATE] == at.PREFILLING:
        w.si[s, at.IN_PREFILL] = at.NOBODY
        w.si[s, at.USED] -= w.ri[r, at.BLOCKS]
        return
    joined, target = w.ri[r, at.JOINED], w.ri[r, at.TARGET]
    decoded = w.si[s, at.STEPS] - joined
    w.si[s, at.BATCH] -= 1
    w.si[s, at.CONTEXT] -= target - joined
    w.si[s, at.GROWTH + (joined + 1 - target) % at.PHASES] -= 1
    w.ri[r, at.GENERATED] += decoded
    w.ri[r, at.SLOW] += w.si[s, at.SLOW_STEPS] - w.ri[r, at.SLOW_MARK]
    w.si[s, at.USED] -= blocks_for(target + decoded)


@compiled
def finish(w: World, s: int, r: int, now_s: float) -> None:
    leave(w, s, r)
    w.load[s] -= 1
    last_s = now_s + w.sf[s, at.FRONTEND]
    first_s, output = w.rf[r, at.FIRST], w.output[r]
    w.rf[r, at.LAST] = last_s
    w.ri[r, at.STATE] = at.NEW
    w.ri[r, at.OUTCOME] = at.FINISHED
    w.si[s, at.N_FINISHED] += 1
    observe(w, s, at.H_PROMPT, float(w.prompt[r]), 1)
    observe(w, s, at.H_OUTPUT, float(output), 1)
    w.sf[s, at.S_PROMPT] += w.prompt[r]
    w.sf[s, at.S_OUTPUT] += output
    tpot_s = (last_s - first_s) / (output - 1) if output > 1 else 0.0
    observe(w, s, at.H_TPOT, tpot_s, 1)
    w.sf[s, at.S_TPOT] += tpot_s
    e2e_s = last_s - w.rf[r, at.QUEUED]
    observe(w, s, at.H_E2E, e2e_s, 1)
    w.sf[s, at.S_E2E] += e2e_s
    w.sf[s, at.S_PREFILL] += first_s - w.rf[r, at.SCHEDULED] - w.sf[s, at.FRONTEND]
    touch(w, s, r, w.prompt[r] + output)


@compiled
def emit(w: World, s: int, r: int, now_s: float) -> None:
    """The token at the end of a prefill: the first one, or the next after a preemption."""
    visible_s = now_s + w.sf[s, at.FRONTEND]
    if w.ri[r, at.GENERATED] == 0:
        w.rf[r, at.FIRST] = visible_s
        w.si[s, at.N_FIRST] += 1
        w.si[s, at.N_PROMPT] += w.prompt[r]
        ttft_s = visible_s - w.rf[r, at.QUEUED]
        observe(w, s, at.H_TTFT, ttft_s, 1)
        w.sf[s, at.S_TTFT] += ttft_s
        touch(w, s, r, w.prompt[r])
    else:
        interval_s = visible_s - w.rf[r, at.LAST]
        observe(w, s, at.H_ITL, interval_s, 1)
        w.sf[s, at.S_ITL] += interval_s
        if interval_s > w.limits[0]:
            w.ri[r, at.SLOW] += 1
    w.ri[r, at.GENERATED] += 1
    w.rf[r, at.LAST] = visible_s
    steps, target = w.si[s, at.STEPS], w.ri[r, at.TARGET]
    w.ri[r, at.STATE] = at.DECODING
    w.ri[r, at.JOINED] = steps
    w.ri[r, at.SLOW_MARK] = w.si[s, at.SLOW_STEPS]
    w.ri[r, at.FINISH] = steps + w.output[r] - w.ri[r, at.GENERATED]
    w.si[s, at.BATCH] += 1
    w.si[s, at.CONTEXT] += target - steps
    w.si[s, at.GROWTH + (steps + 1 - target) % at.PHASES] += 1
    if w.ri[r, at.FINISH] == steps:
        finish(w, s, r, now_s)
    else:
        push(w, s, w.ri[r, at.FINISH], r)


@compiled
def end(w: World, s: int) -> None:
    """What is in flight ends: a run of decode-only steps, or one step with prompt tokens."""
    now_s = w.next_s[s]
    completing = 0
    if w.si[s, at.DOING] == at.DECODE_ONLY:
        settle(w, s, w.si[s, at.LEFT])
    else:
        batch, lasts_s = w.si[s, at.BATCH], w.sf[s, at.LASTS]
        completing = w.si[s, at.COMPLETING]
        w.si[s, at.STEPS] += 1
        if batch > 0:
            observe(w, s, at.H_ITL, lasts_s, batch)
            w.sf[s, at.S_ITL] += batch * lasts_s
            if lasts_s > w.limits[0]:
                w.si[s, at.SLOW_STEPS] += 1
        w.si[s, at.N_OUTPUT] += batch + completing
        w.si[s, at.N_COMPUTED] += batch + completing + w.si[s, at.PROMPT_STEP]
    while w.si[s, at.HEAPED] > 0 and first_step(w, s) == w.si[s, at.STEPS]:
        r = first_request(w, s)
        remove(w, s, 0)
        finish(w, s, r, now_s)
    for number in range(completing):
        emit(w, s, w.lists[s, w.fleet[at.LANES] + number], now_s)


# -- the beginning of a step -----------------------------------------------------------------------------------------


@compiled
def begin(w: World, s: int, now_s: float) -> None:
    if w.load[s] == 0:
        w.si[s, at.DOING] = at.IDLE
        w.next_s[s] = inf
        return
    preempted = False
    phase = at.GROWTH + (w.si[s, at.STEPS] + 1) % at.PHASES
    while w.si[s, phase] > w.si[s, at.KV_BLOCKS] - w.si[s, at.USED]:
        preempt(w, s, w.si[s, at.RUN_TAIL], now_s)
        preempted = True
    growth = w.si[s, phase]
    w.si[s, at.USED] += growth
    batch = w.si[s, at.BATCH]
    w.si[s, at.COMPLETING] = 0
    budget = w.si[s, at.MAX_BATCHED] - batch
    prompt, work = 0, 0.0
    if w.si[s, at.IN_PREFILL] != at.NOBODY and budget > 0:
        r = w.si[s, at.IN_PREFILL]
        work += chunk(w, s, r, budget)
        prompt = w.si[s, at.PROMPT_STEP]
    while prompt < budget and w.si[s, at.QUEUE] > 0 and not preempted and admit(w, s, now_s):
        r = w.si[s, at.RUN_TAIL]
        work += chunk(w, s, r, budget - prompt)
        prompt += w.si[s, at.PROMPT_STEP]
    w.sf[s, at.STARTED] = now_s
    if prompt == 0:
        # A run books the growth of its steps when they are over.
        w.si[s, at.USED] -= growth
        decode_only(w, s)
        return
    w.si[s, at.DOING] = at.MIXED
    w.si[s, at.PROMPT_STEP] = prompt
    context = float(w.si[s, at.CONTEXT] + batch * (w.si[s, at.STEPS] + 1))
    lasts_s = mixed_step_s(w, w.si[s, at.KIND], batch, context, prompt, work / prompt)
    lasts_s *= w.sf[s, at.FACTOR] * noise(w, s, w.sf[s, at.SIGMA])
    w.sf[s, at.LASTS] = lasts_s
    w.next_s[s] = now_s + lasts_s


@compiled
def decode_only(w: World, s: int) -> None:
    """All steps until the next finish, until the KV cache is full, or until some layers read no more than a window."""
    batch, now, kind = w.si[s, at.BATCH], w.si[s, at.STEPS], w.si[s, at.KIND]
    steps = first_step(w, s) - now
    free = w.si[s, at.KV_BLOCKS] - w.si[s, at.USED]
    if (steps // at.PHASES + 1) * batch > free:
        fit = free // batch * at.PHASES
        free %= batch
        while fit < steps:
            free -= w.si[s, at.GROWTH + (now + 1 + fit) % at.PHASES]
            if free < 0:
                break
            fit += 1
        steps = min(steps, fit)
    context = float(w.si[s, at.CONTEXT] + batch * (now + 1))
    slope = w.tables[kind, at.READ]
    step_s = w.tables[kind, at.TABLES + batch] + slope * context
    for number in range(WINDOWS):
        window, read = w.tables[kind, at.WINDOW + number], w.tables[kind, at.WINDOW_READ + number]
        if window > 0.0:
            step_s += read * min(context, batch * window)
            if context < batch * window:
                slope += read
                steps = min(steps, int(window - context / batch) + 1)
    sigma = w.sf[s, at.SIGMA]
    factor = w.sf[s, at.FACTOR] * noise(w, s, sigma / sqrt(float(steps)))
    w.sf[s, at.SPREAD] = sigma * sqrt(1.0 - 1.0 / steps)
    w.sf[s, at.STEP] = factor * step_s
    w.sf[s, at.STEP_GROWTH] = factor * slope * batch
    w.si[s, at.DOING] = at.DECODE_ONLY
    w.si[s, at.LEFT] = steps
    w.next_s[s] = w.sf[s, at.STARTED] + span_s(w.sf[s, at.STEP], w.sf[s, at.STEP_GROWTH], steps)


@compiled
def preempt(w: World, s: int, r: int, now_s: float) -> None:
    if w.ri[r, at.STATE] == at.DECODING:
        w.rf[r, at.LAST] = now_s + w.sf[s, at.FRONTEND]
        remove(w, s, place_of(w, s, w.ri[r, at.FINISH], r))
    leave(w, s, r)
    w.ri[r, at.STATE] = at.WAITING
    w.ri[r, at.PREEMPTED] += 1
    w.ri[r, at.TARGET] = w.prompt[r] + w.ri[r, at.GENERATED]
    w.si[s, at.N_PREEMPTED] += 1
    w.ri[r, at.NEXT] = w.si[s, at.QUEUE_HEAD]
    w.si[s, at.QUEUE_HEAD] = r
    if w.si[s, at.QUEUE] == 0:
        w.si[s, at.QUEUE_TAIL] = r
    w.si[s, at.QUEUE] += 1


@compiled
def admit(w: World, s: int, now_s: float) -> bool:
    """Let the head of the queue in if a sequence and blocks for its whole prompt are free."""
    r = w.si[s, at.QUEUE_HEAD]
    blocks = blocks_for(w.ri[r, at.TARGET])
    spare = w.si[s, at.KV_BLOCKS] - w.si[s, at.USED]
    if w.si[s, at.RUNNING] > 0:
        spare -= w.si[s, at.WATERMARK]
    if w.si[s, at.RUNNING] >= w.si[s, at.MAX_SEQS] or blocks > spare:
        return False
    w.si[s, at.QUEUE_HEAD] = w.ri[r, at.NEXT]
    w.si[s, at.QUEUE] -= 1
    w.si[s, at.USED] += blocks
    w.ri[r, at.BLOCKS] = blocks
    w.ri[r, at.STATE] = at.PREFILLING
    w.ri[r, at.COMPUTED] = w.ri[r, at.HIT]
    if w.rf[r, at.SCHEDULED] < 0.0:
        w.rf[r, at.SCHEDULED] = now_s
        w.si[s, at.N_QUERIED] += w.prompt[r]
        w.si[s, at.N_HIT] += w.ri[r, at.HIT]
    tail = w.si[s, at.RUN_TAIL]
    w.ri[r, at.PREVIOUS] = tail
    w.ri[r, at.NEXT] = at.NOBODY
    if tail == at.NOBODY:
        w.si[s, at.RUN_HEAD] = r
    else:
        w.ri[tail, at.NEXT] = r
    w.si[s, at.RUN_TAIL] = r
    w.si[s, at.RUNNING] += 1
    return True


@compiled
def chunk(w: World, s: int, r: int, budget: int) -> float:
    """As much of this prompt as the step has room for, into `PROMPT_STEP`; returns the tokens it attends to in all."""
    computed = w.ri[r, at.COMPUTED]
    missing = w.ri[r, at.TARGET] - computed
    tokens = min(budget, missing)
    w.ri[r, at.COMPUTED] = computed + tokens
    w.si[s, at.PROMPT_STEP] = tokens
    if tokens == missing:
        w.si[s, at.IN_PREFILL] = at.NOBODY
        number = w.si[s, at.COMPLETING]
        w.lists[s, w.fleet[at.LANES] + number] = r
        w.si[s, at.COMPLETING] = number + 1
    else:
        w.si[s, at.IN_PREFILL] = r
    return float(tokens * (computed + 0.5 * tokens))


# -- time passes -----------------------------------------------------------------------------------------------------


@compiled
def advance(w: World, s: int, until_s: float) -> None:
    """All events up to and including this time."""
    while w.next_s[s] <= until_s:
        now_s = w.next_s[s]
        end(w, s)
        begin(w, s, now_s)


@compiled
def refresh(w: World, s: int, now_s: float) -> None:
    """Book the steps that are over of a run in flight, so that counters and the cache are those of this moment."""
    if w.si[s, at.DOING] == at.DECODE_ONLY:
        left = w.si[s, at.LEFT] - 1
        steps = steps_within(w.sf[s, at.STEP], w.sf[s, at.STEP_GROWTH], now_s - w.sf[s, at.STARTED], left)
        if steps > 0:
            settle(w, s, steps)


@compiled
def submit(w: World, s: int, r: int, now_s: float) -> None:
    """To the end of the queue; a run in flight ends with the step in which this happens."""
    w.rf[r, at.QUEUED] = now_s
    w.rf[r, at.SCHEDULED] = -1.0
    w.ri[r, at.STATE] = at.WAITING
    w.ri[r, at.SLOT] = s
    w.ri[r, at.GENERATED] = 0
    w.ri[r, at.SLOW] = 0
    w.ri[r, at.TARGET] = w.prompt[r]
    w.ri[r, at.NEXT] = at.NOBODY
    if w.si[s, at.QUEUE] == 0:
        w.si[s, at.QUEUE_HEAD] = r
    else:
        w.ri[w.si[s, at.QUEUE_TAIL], at.NEXT] = r
    w.si[s, at.QUEUE_TAIL] = r
    w.si[s, at.QUEUE] += 1
    w.load[s] += 1
    if w.si[s, at.DOING] == at.IDLE:
        begin(w, s, now_s)
    elif w.si[s, at.DOING] == at.DECODE_ONLY and w.si[s, at.QUEUE] == 1:
        step_s, growth_s, started_s = w.sf[s, at.STEP], w.sf[s, at.STEP_GROWTH], w.sf[s, at.STARTED]
        steps = 1 + steps_within(step_s, growth_s, now_s - started_s, w.si[s, at.LEFT] - 1)
        if steps < w.si[s, at.LEFT]:
            w.si[s, at.LEFT] = steps
            w.next_s[s] = started_s + span_s(step_s, growth_s, steps)
