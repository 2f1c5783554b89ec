"""What joins GPUs, and what feeds them: NVLink, PCIe, bridges, and the one process that streams the answers."""

from __future__ import annotations

import pytest

from inferencefleet.catalog import gpu, gpus
from inferencefleet.domain.capacity import Limit, ReplicaCapacity, ReplicaShape
from inferencefleet.physics.capacity import replica_capacity
from inferencefleet.physics.step import StepModel
from inferencefleet.physics.tensor_parallel import Question, choose
from tests.unit.physics.shapes import CHAT_SLOS, chat, shape, slo

WITHOUT_NVLINK = [name for name, spec in gpus().items() if not spec.nvlink]


def served(id: str, gpu_name: str, size: int, weights: str = "bf16") -> ReplicaCapacity:
    return replica_capacity(shape(id, gpu_name, size, weights), chat(), CHAT_SLOS)


def all_reduce_s(id: str, gpu_name: str, size: int, tokens: float) -> float:
    """Seconds of a step that more tokens take on `size` GPUs beyond their share of what they take on one."""
    alone, group = (StepModel(shape(id, gpu_name, each)) for each in (1, size))
    step = [model.seconds(1.0, 1.0, tokens, 1.0) - model.seconds(1.0, 1.0, 8.0, 1.0) for model in (alone, group)]
    return step[1] - step[0] / size


def test_over_nvlink_every_doubling_serves_more_for_each_replica() -> None:
    rates = [served("Qwen/Qwen3-32B", "H100-SXM", size, "fp8").requests_per_s for size in (1, 2, 4, 8)]
    assert rates == sorted(rates)
    assert rates[1] > 1.6 * rates[0]


def test_over_pcie_eight_gpus_of_a_small_model_serve_less_than_one() -> None:
    one, two, eight = (served("Qwen/Qwen3-8B", "L40S", size) for size in (1, 2, 8))
    assert two.requests_per_s < 2 * one.requests_per_s
    assert eight.requests_per_s < one.requests_per_s


def test_a_bridge_joins_two_gpus_and_leaves_four_to_pcie() -> None:
    one, two, four = (served("Qwen/Qwen3-32B", "H100-NVL", size, "fp8").requests_per_s for size in (1, 2, 4))
    assert two > 1.3 * one
    assert four < 1.2 * two


def test_the_all_reduce_of_prompts_is_many_times_longer_over_pcie() -> None:
    nvlink, pcie = (all_reduce_s("Qwen/Qwen3-8B", name, 8, 4096.0) for name in ("A100-SXM", "A100-PCIE-80GB"))
    assert pcie > 20 * nvlink > 0


@pytest.mark.parametrize("name", WITHOUT_NVLINK)
def test_without_nvlink_one_gpu_is_chosen_wherever_one_serves(name: str) -> None:
    small = shape("Qwen/Qwen3-1.7B", name, 1)
    found, capacity = choose(
        Question(
            model=small.model,
            gpu=gpu(name),
            weights=small.weights,
            kv_cache=small.kv_cache,
            limits=small.limits,
            lengths=chat(),
            slos=CHAT_SLOS,
        )
    )
    assert capacity.serves
    assert found.tensor_parallel == 1


def small_model(gpu_name: str = "H100-SXM", tensor_parallel: int = 1) -> ReplicaShape:
    return shape("Qwen/Qwen3-0.6B", gpu_name, tensor_parallel, max_num_seqs=512, cuda_graph_tokens=8192)


def test_the_host_caps_a_small_model_whatever_the_gpu_and_however_many() -> None:
    for name, size in (("H100-SXM", 1), ("H100-SXM", 2), ("B200", 1), ("H200-SXM", 1)):
        found = replica_capacity(small_model(name, size), chat(prompt=50), ())
        assert found.binding is Limit.HOST, name
        assert found.requests_per_s == pytest.approx(25_000 / 250)
        assert "One API server process was seen to stream 25,000 tokens/s" in found.sentence


def test_the_host_answers_180_requests_a_second_however_short() -> None:
    found = replica_capacity(small_model(), chat(prompt=50, output=4), ())
    assert found.limits_requests_per_s[Limit.HOST] == 180
    assert found.requests_per_s <= 180


def test_a_large_model_never_meets_the_host() -> None:
    found = served("meta-llama/Llama-3.1-70B-Instruct", "H100-SXM", 4)
    assert found.limits_requests_per_s[Limit.HOST] > 2 * found.requests_per_s
    assert found.binding is not Limit.HOST


def test_a_host_bound_replica_does_not_gain_from_a_looser_target() -> None:
    tight, loose = (
        replica_capacity(small_model(), chat(prompt=50), (slo("itl", 95, target),)) for target in (0.1, 1.0)
    )
    assert tight.binding is loose.binding is Limit.HOST
    assert tight.requests_per_s == loose.requests_per_s
