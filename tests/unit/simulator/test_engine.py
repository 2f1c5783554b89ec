"""What must hold of the engine for any load: nothing is lost, nothing is over-used, order is kept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencefleet.simulator.engine import Engine, EngineConfig, StepResult
from inferencefleet.simulator.request import Request, State

BLOCK = 16


class LinearStep:
    """A step time that is easy to predict by hand."""

    def seconds(
        self, decode_seqs: float, context_tokens_sum: float, prefill_tokens: float, prefill_context_tokens: float
    ) -> float:
        return 0.01 + 1e-4 * decode_seqs + 1e-7 * context_tokens_sum + 1e-5 * prefill_tokens


def engine_with(seed: int = 1, **overrides: float) -> Engine:
    config = {
        "kv_blocks": 64,
        "max_num_seqs": 8,
        "max_num_batched_tokens": 64,
        "max_model_len_tokens": 800,
        **overrides,
    }
    return Engine(EngineConfig(**config), LinearStep(), seed)  # type: ignore[arg-type]


def blocks_held(engine: Engine) -> int:
    """Counted the slow way, from every running request."""
    held = 0
    for request in engine.running.values():
        if request.state is State.DECODING:
            held += engine.kv.blocks_for(request.target + engine.steps - request.joined_step)
        else:
            held += request.blocks
    return held


def run(engine: Engine, arrivals: list[Request]) -> list[StepResult]:
    """Feed arrivals in time order and step until everything is done, checking the books at each step."""
    results: list[StepResult] = []
    queue = sorted(arrivals, key=lambda each: each.arrival_s)
    while queue or engine.next_event_s() is not None:
        ends = engine.next_event_s()
        if queue and (ends is None or queue[0].arrival_s < ends):
            request = queue.pop(0)
            engine.submit(request, request.arrival_s)
            continue
        assert ends is not None
        result = engine.step(ends)
        results.append(result)
        assert 0 <= engine.kv.used <= engine.kv.total
        flight = engine.next_event_s() is not None
        growth = engine.kv.growth_at(engine.steps + 1) if flight else 0
        assert engine.kv.used == blocks_held(engine) + growth
        assert len(engine.running) <= engine.config.max_num_seqs
        assert result.decoded + result.prefill_tokens <= max(engine.config.max_num_batched_tokens, result.decoded)
        assert result.ended_s > result.started_s
        assert len(results) < 100_000
    return results


@st.composite
def loads(draw: st.DrawFn) -> list[Request]:
    lengths = st.tuples(st.floats(0, 2), st.integers(1, 300), st.integers(1, 200), st.integers(0, 300))
    return [
        Request(id=index, arrival_s=at, prompt_tokens=prompt, output_tokens=output, cached_tokens=cached)
        for index, (at, prompt, output, cached) in enumerate(draw(st.lists(lengths, min_size=1, max_size=40)))
    ]


@settings(deadline=None, max_examples=120)
@given(arrivals=loads(), kv_blocks=st.integers(50, 120), noise=st.sampled_from([0.0, 0.05]))
def test_every_request_finishes_with_all_its_tokens_and_no_block_is_lost(
    arrivals: list[Request], kv_blocks: int, noise: float
) -> None:
    engine = engine_with(kv_blocks=kv_blocks, step_noise=noise)
    results = run(engine, arrivals)
    assert all(request.state is State.FINISHED for request in arrivals)
    assert all(request.generated == request.output_tokens for request in arrivals)
    assert sum(result.tokens for result in results) == sum(request.output_tokens for request in arrivals)
    assert engine.metrics.generation_tokens == sum(request.output_tokens for request in arrivals)
    assert engine.metrics.prompt_tokens == sum(request.prompt_tokens for request in arrivals)
    assert engine.metrics.finished["stop"] == len(arrivals)
    assert engine.metrics.itl.total == sum(request.output_tokens - 1 for request in arrivals)
    assert engine.kv.used == 0
    assert engine.context_tokens == 0
    assert not engine.running
    assert not engine.waiting


@settings(deadline=None, max_examples=60)
@given(arrivals=loads())
def test_first_admission_is_in_order_of_arrival(arrivals: list[Request]) -> None:
    engine = engine_with(kv_blocks=60)
    run(engine, arrivals)
    ordered = sorted(arrivals, key=lambda each: each.arrival_s)
    starts = [request.scheduled_s for request in ordered]
    assert starts == sorted(start for start in starts if start is not None)


@settings(deadline=None, max_examples=30)
@given(arrivals=loads(), seed=st.integers(0, 5))
def test_the_same_seed_gives_the_same_run(arrivals: list[Request], seed: int) -> None:
    def fresh() -> list[Request]:
        return [
            Request(id=r.id, arrival_s=r.arrival_s, prompt_tokens=r.prompt_tokens, output_tokens=r.output_tokens)
            for r in arrivals
        ]

    first = [result.ended_s for result in run(engine_with(seed), fresh())]
    again = [result.ended_s for result in run(engine_with(seed), fresh())]
    assert first == again


@settings(deadline=None, max_examples=60)
@given(arrivals=loads(), steps=st.integers(0, 60))
def test_aborting_in_the_middle_of_a_step_gives_every_block_back(arrivals: list[Request], steps: int) -> None:
    engine = engine_with(kv_blocks=60)
    for request in arrivals:
        engine.submit(request, 0.0)
    for _ in range(steps):
        if (ends := engine.next_event_s()) is None:
            break
        engine.step(ends)
    for request in arrivals[::2]:
        engine.abort(request)
    while (ends := engine.next_event_s()) is not None:
        engine.step(ends)
    assert engine.kv.used == 0
    assert engine.context_tokens == 0
    assert all(request.state in {State.FINISHED, State.ABORTED} for request in arrivals)


def test_latencies_of_one_request_follow_from_the_step_time() -> None:
    engine = engine_with(step_noise=0.0, frontend_s=0.0)
    request = Request(id=1, arrival_s=5.0, prompt_tokens=100, output_tokens=3)
    run(engine, [request])
    # 64 + 36 prompt tokens in two chunks, then two decode steps over 101 and 102 tokens of context.
    assert request.ttft_s == pytest.approx(0.02 + 100e-5)
    assert request.mean_itl_s == pytest.approx(0.01 + 1e-4 + 1e-7 * 101.5)
    assert engine.metrics.queue.sum == 0.0


def test_a_full_cache_preempts_the_youngest_and_recomputes_it() -> None:
    engine = engine_with(kv_blocks=52, watermark=0.0, max_num_batched_tokens=800)
    old = Request(id=1, arrival_s=0.0, prompt_tokens=400, output_tokens=100)
    young = Request(id=2, arrival_s=0.001, prompt_tokens=380, output_tokens=100)
    results = run(engine, [old, young])
    assert [request.id for result in results for request in result.preempted] == [2]
    assert old.preemptions == 0
    assert young.generated == 100
    assert engine.metrics.preemptions == 1
    resumed = [interval for result in results for interval in result.resumed_itl_s]
    assert len(resumed) == 1
    assert resumed[0] > 0.5, "the interval spans the wait and the recomputation"


def test_slow_tokens_are_counted_on_the_request_that_felt_them() -> None:
    engine = engine_with(step_noise=0.0, max_num_batched_tokens=800, kv_blocks=200, itl_target_s=0.012)
    early = Request(id=1, arrival_s=0.0, prompt_tokens=10, output_tokens=40)
    long = Request(id=2, arrival_s=0.1, prompt_tokens=500, output_tokens=2)
    run(engine, [early, long])
    assert early.slow_tokens == 1, "one step carried the 500-token prefill"
    assert long.slow_tokens == 0


def test_a_request_that_can_never_fit_is_refused_with_the_numbers() -> None:
    engine = engine_with(kv_blocks=10)
    with pytest.raises(ValueError, match="200 tokens exceed the KV cache of 160 tokens"):
        engine.submit(Request(id=1, arrival_s=0.0, prompt_tokens=150, output_tokens=50), 0.0)


def test_a_late_loop_does_not_change_when_steps_end() -> None:
    engine = engine_with(step_noise=0.0)
    engine.submit(Request(id=1, arrival_s=0.0, prompt_tokens=10, output_tokens=5), 0.0)
    ends = engine.next_event_s()
    assert ends is not None
    result = engine.step(ends + 3.0)
    assert result.ended_s == ends
    following = engine.next_event_s()
    assert following is not None
    assert following < ends + 0.1


def test_phases_are_those_of_the_engine_and_leave_the_api_server_out() -> None:
    engine = engine_with(step_noise=0.0, frontend_s=0.5)
    engine.submit(Request(id=1, arrival_s=0.0, prompt_tokens=10, output_tokens=3), 0.0)
    while (due_s := engine.next_event_s()) is not None:
        engine.step(due_s)
    seen = engine.metrics
    assert seen.ttft.sum == pytest.approx(seen.prefill.sum + 0.5)
    assert seen.prefill.sum + seen.decode.sum == pytest.approx(seen.inference.sum)
    assert seen.e2e.sum == pytest.approx(seen.queue.sum + seen.inference.sum + 0.5)
