"""`recommend` against `economics.recommend`, and what a person reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from inferencefleet import catalog
from tests.unit.api import manifests
from tests.unit.cli.runner import CHAT, answer, refusal, run

PRICES = ("--price", "H100=2.5", "--price", "L40S=1.2", "--price", "A100=1.5")
BASE = ("recommend", "Qwen/Qwen3-32B", *CHAT, "--gpus", "H100,L40S,A100", *PRICES)


def test_the_first_is_the_cheapest_and_size_gives_the_same_replicas() -> None:
    document = answer(*BASE)
    first = document["ranked"][0]
    assert first["usdPerHour"] == min(row["usdPerHour"] for row in document["ranked"])
    sized = answer(
        "size", "Qwen/Qwen3-32B", "--gpu", first["gpu"], "--tp", first["tensorParallelSize"], "--weights",
        first["weights"], "--max-num-batched-tokens", first["maxNumBatchedTokens"], *CHAT, *PRICES,
    )  # fmt: skip
    assert sized["capacity"]["requestsPerSecond"] == first["requestsPerSecond"]
    assert sized["plan"]["plannedRequestsPerSecond"] == first["plannedRequestsPerSecond"]
    assert sized["plan"]["replicas"] == first["replicas"]
    assert sized["cost"]["usdPerHour"] == first["usdPerHour"]


def test_every_gpu_that_was_asked_about_is_somewhere_in_the_text() -> None:
    text = run(*BASE).stdout
    for gpu in ("H100-SXM", "L40S", "A100-SXM"):
        assert gpu in text
    for step in ("1. workload", "2. model + context", "3. memory fit", "6. hardware", "7. cost"):
        assert step in text


def test_a_gpu_without_a_price_is_listed_and_not_ranked() -> None:
    document = answer("recommend", "Qwen/Qwen3-32B", *CHAT, "--gpus", "name=Ours,memory=80Gi,bandwidth=3350,bf16=989")
    assert document["ranked"] == []
    assert {row["gpu"] for row in document["unpriced"]} == {"Ours"}
    assert "--price Ours=USD" in document["unpriced"][0]["reason"]


def test_a_price_for_a_gpu_in_numbers_is_taken_by_its_name() -> None:
    own = "name=Ours,memory=80Gi,bandwidth=3350,bf16=989"
    document = answer("recommend", "Qwen/Qwen3-32B", *CHAT, "--gpus", own, "--price", "Ours=1.0")
    assert document["ranked"][0]["usdPerGPUHour"] == 1.0


def test_nothing_that_serves_ends_with_1_and_says_why() -> None:
    result = run("recommend", "Qwen/Qwen3-32B", *CHAT, "--itl", "1ms", "--gpus", "H100", *PRICES)
    assert result.exit_code == 1
    assert "Nothing can be ranked" in result.stdout
    assert "itl p95 <= 1ms cannot be met" in result.stdout


def test_weights_that_are_named_are_ranked_whatever_they_need() -> None:
    document = answer(*BASE, "--weights", "int4")
    assert {row["weights"] for row in document["ranked"]} == {"int4"}
    assert document["otherCheckpoints"] == []
    assert {row["checkpoint"] for row in document["ranked"]} == {"needs another checkpoint"}


def test_a_token_budget_that_is_given_is_not_tuned() -> None:
    document = answer(*BASE, "--max-num-batched-tokens", "4096")
    assert {row["maxNumBatchedTokens"] for row in document["ranked"]} == {4096}


def test_top_shortens_the_table_and_says_how_many_more_there_are() -> None:
    text = run(*BASE, "--top", "1").stdout
    assert " more: --top " in text


def test_all_shows_every_other_size_and_every_refusal_with_its_reason() -> None:
    text = run(*BASE, "--all").stdout
    assert "Other sizes" in text
    assert "requests/s for each GPU" in text
    assert "Out of the question" in text


def test_pools_bring_their_gpus_prices_and_node_sizes(tmp_path: Path) -> None:
    pools = tmp_path / "pools.yaml"
    pools.write_text(yaml.safe_dump(manifests.pool({"spec.gpu.perNode": 2})))
    document = answer("recommend", "Qwen/Qwen3-32B", *CHAT, "--pools", pools)
    rows = [*document["ranked"], *document["otherSizes"], *document["refused"], *document["otherCheckpoints"]]
    assert {row["gpu"] for row in rows} == {"H100-SXM"}
    assert {row["tensorParallelSize"] for row in rows} == {1, 2}
    assert {row["priceSource"] for row in document["ranked"]} == {"pool h100-spot"}


def test_what_a_manifest_leaves_out_is_free_and_what_it_declares_is_fixed(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    ask = ("recommend", "-f", path, "--gpus", "H100", "--price", "2")
    path.write_text(yaml.safe_dump(manifests.fleet()))
    assert {row["weights"] for row in answer(*ask)["ranked"]} == {"bf16", "fp8"}
    path.write_text(
        yaml.safe_dump(manifests.fleet({"spec.model.weights": "fp8", "spec.engine": {"maxNumBatchedTokens": 4096}}))
    )
    fixed = answer(*ask)["ranked"]
    assert {row["weights"] for row in fixed} == {"fp8"}
    assert {row["maxNumBatchedTokens"] for row in fixed} == {4096}


def test_pools_that_a_fleet_does_not_use_offer_nothing(tmp_path: Path) -> None:
    fleet, pools = tmp_path / "fleet.yaml", tmp_path / "pools.yaml"
    other = manifests.pool({"metadata.name": "h200", "spec.gpu.type": "H200-SXM"})
    pools.write_text(yaml.safe_dump_all([manifests.pool(), other]))
    fleet.write_text(yaml.safe_dump(manifests.fleet({"spec.placement": {"pools": ["h200"]}})))
    assert {row["gpu"] for row in answer("recommend", "-f", fleet, "--pools", pools)["ranked"]} == {"H200-SXM"}


@pytest.mark.parametrize("flag", ["--ttft", "--itl"])
def test_a_manifest_gives_the_workload_and_flags_override_it(tmp_path: Path, flag: str) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(yaml.safe_dump(manifests.fleet()))
    document = answer("recommend", "-f", path, "--gpus", "H100", "--price", "2", flag, "300ms")
    targets = {slo["metric"]: slo["targetSeconds"] for slo in document["slo"]}
    assert targets[flag[2:]] == 0.3
    assert document["traffic"]["requestsPerSecond"] == 4


def test_list_prices_say_cloud_date_and_source_and_may_be_of_one_cloud_only() -> None:
    base = ("recommend", "Qwen/Qwen3-32B", *CHAT, "--gpus", "H100,MI300X")
    for row in answer(*base, "--cloud", "AWS")["ranked"]:
        listed = [price for price in catalog.prices()[row["gpu"]] if price.cloud == "aws"]
        assert row["usdPerGPUHour"] == min(price.usd_per_gpu_hour for price in listed)
        assert row["priceSource"].startswith("aws ")
        assert listed[0].date in row["priceSource"]
    everywhere = {row["gpu"]: row["usdPerGPUHour"] for row in answer(*base)["ranked"]}
    assert everywhere["H100-SXM"] == catalog.price("H100-SXM").usd_per_gpu_hour


def test_spot_prices_are_taken_when_spot_is_asked_for() -> None:
    document = answer("recommend", "Qwen/Qwen3-32B", *CHAT, "--gpus", "A100", "--capacity-type", "spot")
    assert {row["capacityType"] for row in document["ranked"]} == {"Spot"}
    assert document["ranked"][0]["usdPerGPUHour"] == catalog.price("A100-SXM", "Spot").usd_per_gpu_hour


def test_an_unknown_cloud_is_refused_with_those_that_are_known() -> None:
    text = refusal("recommend", "Qwen/Qwen3-32B", *CHAT, "--cloud", "awz")
    assert "closest: aws" in text
    assert "azure" in text
