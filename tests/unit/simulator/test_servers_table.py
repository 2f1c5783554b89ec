"""The tables that kernels read are the step model: every kind of model, every number of tokens, every context."""

from __future__ import annotations

import numpy as np
import pytest

from inferencefleet.domain.capacity import ReplicaShape, Scales
from inferencefleet.domain.fleet import Routing
from inferencefleet.physics.step import StepModel
from inferencefleet.simulator.fast import laws
from inferencefleet.simulator.fast import layout as at
from inferencefleet.simulator.fast.fleet import FastServers
from inferencefleet.simulator.servers import EngineKind
from inferencefleet.simulator.truth import Truth, build_engine
from tests.unit.simulator.servers_cases import BUCKETS, requests, shape

TRUTH = Truth(memory=0.97, compute=1.05, overhead=0.89, step_noise=0.0, replica_spread=0.05)
SHAPES = {
    "dense": shape(),
    "experts": shape("Qwen/Qwen3-235B-A22B", "B200", 4, "fp8"),
    "sliding windows and 4-bit experts": shape("openai/gpt-oss-20b", gpus=1, weights="mxfp4"),
    "sliding windows": shape("google/gemma-3-27b-it"),
    "compressed cache": shape("deepseek-ai/DeepSeek-V3", "H200", 8, "fp8"),
    "few graphs": shape(cuda_graph_tokens=64, max_num_batched_tokens=2048),
}


def filled(of: ReplicaShape) -> FastServers:
    servers = FastServers(requests((0.0, 10, 10)), Routing.UNIFORM, BUCKETS, 1, 1.0)
    servers.add(EngineKind(shape=of, truth=TRUTH), seed=5)
    return servers


@pytest.mark.parametrize("name", SHAPES)
def test_kernels_and_physics_agree_on_every_step(name: str) -> None:
    of = SHAPES[name]
    world = filled(of)._world
    truly = build_engine(of, TRUTH, 5)._step_time
    prior = StepModel(of, Scales(memory=TRUTH.memory, compute=TRUTH.compute, overhead=TRUTH.overhead))
    factor = world.sf[0, at.FACTOR]
    assert abs(factor - 1.0) > 0.001
    random = np.random.default_rng(1)
    most = of.limits.max_num_batched_tokens
    for _ in range(400):
        batch = int(random.integers(0, of.limits.max_num_seqs + 1))
        context = float(batch * np.exp(random.uniform(0, 10.4)))
        prompt = int(min(most - batch, np.exp(random.uniform(0, np.log(most)))))
        attended = float(np.exp(random.uniform(0, 10.4)))
        found = laws.mixed_step_s(world, 0, batch, context, prompt, attended)
        assert found == pytest.approx(prior.seconds(batch, context, prompt, attended), rel=1e-6)
        assert factor * found == pytest.approx(truly.seconds(batch, context, prompt, attended), rel=1e-6)
        if batch:
            decode = world.tables[0, at.TABLES + batch] + world.tables[0, at.READ] * context
            for number in range(3):
                window, read = world.tables[0, [at.WINDOW + number, at.WINDOW_READ + number]]
                decode += read * min(context, batch * window)
            assert decode == pytest.approx(prior.seconds(batch, context), rel=1e-6)


def test_a_model_with_windows_has_them_in_its_table() -> None:
    windows = filled(SHAPES["sliding windows"])._world.tables[0, at.WINDOW : at.WINDOW + 3]
    assert windows[0] == SHAPES["sliding windows"].model.sliding_window_tokens
    assert not windows[1:].any()


def test_kinds_of_different_widths_share_one_table_without_disturbing_each_other() -> None:
    servers = filled(shape(max_num_batched_tokens=2048))
    before = laws.mixed_step_s(servers._world, 0, 20, 30_000.0, 500, 900.0)
    servers.add(EngineKind(shape=shape(max_num_seqs=512, max_num_batched_tokens=16_384), truth=TRUTH), seed=6)
    assert laws.mixed_step_s(servers._world, 0, 20, 30_000.0, 500, 900.0) == before
    assert servers._world.si[1, at.KIND] == 1


@pytest.mark.parametrize("elapsed_share", [0.0, 0.3, 0.999_999, 1.0, 1.000_001])
def test_steps_over_by_a_time_are_counted_exactly(elapsed_share: float) -> None:
    step_s, growth_s = 0.02, 3e-6
    for steps in (1, 2, 17, 900):
        ends = laws.span_s(step_s, growth_s, steps)
        begins = laws.span_s(step_s, growth_s, steps - 1)
        elapsed = begins + elapsed_share * (ends - begins)
        expected = steps if elapsed_share >= 1.0 else steps - 1
        assert laws.steps_within(step_s, growth_s, elapsed, 1000) == expected
        assert laws.steps_within(step_s, growth_s, elapsed, steps - 1) == steps - 1
