"""A token budget at the largest CUDA graph: decoding sequences take their tokens off it, so no step is above it."""

from __future__ import annotations

import numpy as np
import pytest

from inferencefleet import catalog
from inferencefleet.domain.capacity import EngineLimits, ReplicaShape
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.physics.capacity import operating_latencies_s
from inferencefleet.physics.lengths import lognormal_mix

MIX = lognormal_mix(prompt_mean=1155, prompt_p95=3300, output_mean=211, output_p95=500)


@pytest.fixture(scope="module")
def replica() -> ReplicaShape:
    return ReplicaShape(
        model=catalog.model("Qwen/Qwen3-32B"),
        gpu=catalog.gpu("H100-SXM"),
        tensor_parallel=2,
        weights=NumberFormat.BF16,
        kv_cache=NumberFormat.BF16,
        limits=EngineLimits(max_num_batched_tokens=512, cuda_graph_tokens=512),
    )


def test_itl_rises_smoothly_past_the_number_of_sequences_that_prompts_were_cut_for(replica: ReplicaShape) -> None:
    rates = np.arange(7.0, 9.6, 0.1)
    found = operating_latencies_s(replica, MIX, rates)
    assert found["running"][0] < 40, "the rates lie around 64 others and their spread"
    assert found["running"][-1] > 55
    steps = np.diff(found["itl_mean"]) / found["itl_mean"][:-1]
    assert steps.max() < 0.03, "one step of 0.1 requests/s cost 40 % when chunks were not cut to what is left"


def test_latencies_near_capacity_are_those_of_the_engine(replica: ReplicaShape) -> None:
    """The token-level engine at 9 requests/s for 4,000 requests: mean TPOT 28.4 ms, TTFT p95 1.4 s."""
    found = operating_latencies_s(replica, MIX, [9.0], (95,))
    assert found["itl_mean"][0] == pytest.approx(0.0284, rel=0.08)
    assert found["ttft_p95"][0] == pytest.approx(1.42, rel=0.25)
