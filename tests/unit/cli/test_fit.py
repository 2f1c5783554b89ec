"""`fit` against the memory budget of the physics."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inferencefleet import catalog
from inferencefleet.domain.capacity import EngineLimits, ReplicaShape
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.physics.kv import sequence_bytes
from inferencefleet.physics.memory import GIB, memory_budget, missing_bytes
from tests.unit.cli.runner import answer, run


def test_every_row_is_the_memory_budget_of_that_replica() -> None:
    document = answer("fit", "Qwen/Qwen3-32B", "--gpu", "H100,L40S", "--weights", "bf16,fp8", "--request", "4000")
    assert len(document["replicas"]) == 2 * 2 * 4
    for row in document["replicas"]:
        shape = ReplicaShape(
            model=catalog.model("Qwen/Qwen3-32B"),
            gpu=catalog.gpu(row["gpu"]),
            tensor_parallel=row["tensorParallelSize"],
            weights=NumberFormat(row["weights"]),
            kv_cache=NumberFormat.BF16,
            limits=EngineLimits(),
        )
        budget, missing = memory_budget(shape), missing_bytes(shape)
        assert row["weightsGiB"] == pytest.approx(budget.weights_bytes / GIB, abs=0.01)
        assert row["kvCacheGiB"] == pytest.approx(max(0.0, budget.kv_cache_bytes) / GIB, abs=0.01)
        assert row["kvCacheTokens"] == round(budget.kv_cache_tokens)
        fits = missing <= 0
        assert row["verdict"] == ("fits" if fits else "loads, cannot serve" if budget.fits else "does not fit")
        assert row["missingGiB"] == pytest.approx(max(0.0, missing) / GIB, abs=0.01)
        at_once = int(budget.kv_cache_bytes // float(sequence_bytes(shape, 4000.0)))
        assert row["concurrentRequests"] == (at_once if fits else 0)


def test_the_smallest_is_the_least_memory_that_fits() -> None:
    document = answer("fit", "Qwen/Qwen3-32B")
    fitting = [row["gpuMemoryGiB"] for row in document["replicas"] if row["verdict"] == "fits"]
    assert document["smallest"]["gpuMemoryGiB"] == min(fitting)


def test_weights_that_load_and_leave_no_room_cannot_serve_whatever_the_quick_rule_says() -> None:
    # 16 GB x 1.2 = 19.2 GB are within 24 GB, but a request of 32,768 tokens has no place beside the weights.
    [row] = answer(
        "fit", "meta-llama/Llama-3.1-8B", "--gpu", "A10G", "--tp", "1", "--weights", "bf16", exit_code=1
    )["replicas"]  # fmt: skip
    assert row["quickFitAsQuoted"] is True
    assert row["verdict"] == "loads, cannot serve"
    assert row["missingGiB"] > 0


def test_a_model_is_never_split_over_slices_of_a_gpu() -> None:
    rows = answer("fit", "Qwen/Qwen3-8B", "--gpu", "H100/3g.40gb,H100")["replicas"]
    sizes = {(row["gpu"], row["tensorParallelSize"]) for row in rows}
    assert sizes == {("H100-SXM/3g.40gb", 1), *(("H100-SXM", size) for size in (1, 2, 4, 8))}


def test_what_nothing_holds_ends_with_1_and_a_way_out() -> None:
    result = run("fit", "deepseek-ai/DeepSeek-V3", "--gpu", "L4", "--tp", "1")
    assert result.exit_code == 1
    assert "does not fit" in result.stdout
    assert "smaller weights" in result.stdout


def test_the_quality_of_a_smaller_format_is_stated_as_quoted() -> None:
    result = run("fit", "Qwen/Qwen3-32B", "--gpu", "H100")
    assert "int4: perplexity +0.3 to +1.2 (as quoted)" in result.stdout
    assert "needs another checkpoint" in result.stdout


def test_the_table_has_one_row_for_a_gpu_and_format_and_all_has_every_size() -> None:
    short = run("fit", "Qwen/Qwen3-32B", "--gpu", "H100", "--weights", "bf16").stdout
    long = run("fit", "Qwen/Qwen3-32B", "--gpu", "H100", "--weights", "bf16", "--all").stdout
    assert sum(line.startswith("H100-SXM") for line in short.splitlines()) == 1
    assert sum(line.startswith("H100-SXM") for line in long.splitlines()) == 4


def test_a_config_file_describes_a_model_that_no_catalogue_knows(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(
        json.dumps(
            {
                "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
                "intermediate_size": 14336, "vocab_size": 128256, "max_position_embeddings": 131072,
            }
        )
    )  # fmt: skip
    own = answer("fit", "our/model", "--config", path, "--gpu", "H100", "--weights", "bf16")
    known = answer("fit", "meta-llama/Llama-3.1-8B", "--gpu", "H100", "--weights", "bf16")
    assert own["model"] == "our/model"
    assert own["replicas"] == known["replicas"]


def test_a_slice_of_a_gpu_and_a_gpu_in_numbers_are_gpus_too() -> None:
    numbers = "name=OurGPU,memory=80Gi,bandwidth=3350,bf16=989,nvlink=false"
    document = answer(
        "fit", "Qwen/Qwen3-8B", "--gpu", "H100/3g.40gb", "--gpu", numbers, "--tp", "1", "--weights", "bf16"
    )
    assert {row["gpu"] for row in document["replicas"]} == {"H100-SXM/3g.40gb", "OurGPU"}
