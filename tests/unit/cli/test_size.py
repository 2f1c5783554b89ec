"""`size` against the physics functions that the operator plans with."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

from inferencefleet import catalog
from inferencefleet.domain.capacity import EngineLimits, ReplicaShape
from inferencefleet.domain.fleet import EVEN_UTILISATION
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.slo import Slo, SloMetric
from inferencefleet.physics.capacity import replica_capacity
from inferencefleet.physics.confidence import prior_sigma_log
from inferencefleet.physics.lengths import lognormal_mix
from inferencefleet.physics.seed_question import SEED_UTILISATION, SeedQuestion
from inferencefleet.physics.seed_sizing import sizing_chain
from inferencefleet.planning.size import planned_share
from tests.unit.api import manifests
from tests.unit.cli.runner import CHAT, answer, refusal, run

SLOS = (
    Slo(metric=SloMetric.ITL, percentile=95, target_s=0.06),
    Slo(metric=SloMetric.TTFT, percentile=95, target_s=2.0),
)


def shape(gpu: str = "H100-SXM", tensor_parallel: int = 2, weights: str = "bf16") -> ReplicaShape:
    return ReplicaShape(
        model=catalog.model("Qwen/Qwen3-32B"),
        gpu=catalog.gpu(gpu),
        tensor_parallel=tensor_parallel,
        weights=NumberFormat(weights),
        kv_cache=NumberFormat.BF16,
        limits=EngineLimits(),
    )


def mix(**changes: float) -> LengthMix:
    return lognormal_mix(**{"prompt_mean": 1000.0, "output_mean": 250.0, **changes})


def test_capacity_and_replicas_are_those_of_the_planner() -> None:
    document = answer("size", "Qwen/Qwen3-32B", "--gpu", "H100", "--tp", "2", *CHAT)
    expected = replica_capacity(shape(), mix(), SLOS)
    assert document["capacity"]["requestsPerSecond"] == pytest.approx(expected.requests_per_s, rel=1e-5)
    assert document["capacity"]["bindingLimit"] == expected.binding
    planned = expected.requests_per_s * planned_share(EVEN_UTILISATION, prior_sigma_log(shape()))
    assert document["plan"]["plannedRequestsPerSecond"] == pytest.approx(planned, rel=1e-5)
    assert document["plan"]["replicas"] == math.ceil(20 / planned)
    assert document["plan"]["gpus"] == 2 * document["plan"]["replicas"]


def test_the_derivation_can_be_done_again_by_hand() -> None:
    document = answer("size", "Qwen/Qwen3-32B", "--gpu", "H100", *CHAT)
    memory, step, plan = document["memory"], document["step"], document["plan"]
    assert memory["usableGiB"] - memory["weightsGiB"] - memory["overheadGiB"] == pytest.approx(
        memory["kvCacheGiB"], abs=0.03
    )
    assert sum(step["termsSeconds"].values()) == pytest.approx(step["decodeStepSeconds"], rel=1e-5)
    rate = document["capacity"]["requestsPerSecond"]
    assert document["capacity"]["limitsRequestsPerSecond"][document["capacity"]["bindingLimit"]] == rate
    assert min(document["capacity"]["limitsRequestsPerSecond"].values()) == rate
    assert rate * plan["headroom"] * plan["uncertaintyFactor"] == pytest.approx(
        plan["plannedRequestsPerSecond"], rel=1e-4
    )
    # Little's law: what is resident arrives at the rate and stays for the residence time.
    assert step["decodeSequences"] == pytest.approx(rate * step["residenceSeconds"], rel=0.02)


def test_auto_shows_every_size_and_what_each_gives_for_a_gpu() -> None:
    document = answer("size", "Qwen/Qwen3-32B", "--gpu", "H100", *CHAT)
    sizes = {row["tensorParallelSize"]: row for row in document["tensorParallel"]}
    assert set(sizes) == {1, 2, 4, 8}
    assert sizes[1]["bindingLimit"] == "ModelTooLarge"
    assert document["replica"]["tensorParallelSize"] in (2, 4, 8)


def test_a_price_becomes_dollars_per_hour_and_per_token() -> None:
    document = answer("size", "Qwen/Qwen3-32B", "--gpu", "H100", *CHAT, "--price", "2.5")
    cost, plan = document["cost"], document["plan"]
    assert cost["usdPerHour"] == pytest.approx(2.5 * plan["gpus"])
    assert cost["usdPerMillionOutputTokens"] == pytest.approx(cost["usdPerHour"] / (20 * 250 * 3600) * 1e6, rel=1e-4)
    assert cost["usdPerMillionTokens"] == pytest.approx(cost["usdPerHour"] / (20 * 1250 * 3600) * 1e6, rel=1e-4)
    assert cost["outputTokensPerUSD"] == pytest.approx(20 * 250 * 3600 / cost["usdPerHour"], rel=1e-4)
    assert cost["source"] == "--price"


def test_an_objective_below_one_request_alone_ends_with_1_and_names_the_floor() -> None:
    result = run("size", "Qwen/Qwen3-32B", "--gpu", "H100", *CHAT, "--itl", "1ms")
    assert result.exit_code == 1
    assert "SLOUnreachable" in result.stdout
    assert "Set a target of at least" in result.stdout
    document = answer("size", "Qwen/Qwen3-32B", "--gpu", "H100", *CHAT, "--itl", "1ms", exit_code=1)
    assert document["plan"] is None
    assert document["step"] is None


def test_objectives_may_be_given_in_full() -> None:
    base = ("size", "Qwen/Qwen3-32B", "--gpu", "H100", "--rate", "20", "--prompt", "1000", "--output", "250")
    short = answer(*base, "--ttft", "2s", "--itl", "60ms", "--percentile", "99")
    full = answer(*base, "--slo", "ttft:p99:2s", "--slo", "itl:p99:60ms")
    assert short == full
    assert [slo["percentile"] for slo in full["slo"]] == [99, 99]


def test_fixed_lengths_serve_more_than_a_long_tail_of_the_same_mean() -> None:
    # Where single chunks decide about ITL, fixed lengths may also be worse: all of them are above the target then.
    base = ("size", "Qwen/Qwen3-32B", "--gpu", "H100", "--tp", "2", *CHAT, "--itl", "500ms")
    spread = answer(*base)["capacity"]["requestsPerSecond"]
    fixed = answer(*base, "--prompt-p95", "1000", "--output-p95", "250")["capacity"]["requestsPerSecond"]
    assert fixed > spread


def test_sensitivities_say_what_would_change_the_answer() -> None:
    document = answer("size", "Qwen/Qwen3-32B", "--gpu", "H100", "--tp", "2", *CHAT)
    inputs = {found["input"] for found in document["sensitivities"]}
    assert {"prompt_tokens", "gpu_bandwidth", "weights"} <= inputs


def test_seed_mode_gives_the_textbook_answer_and_what_breaks_in_it() -> None:
    question = SeedQuestion(
        model=catalog.model("meta-llama/Llama-3.1-8B"),
        gpu=catalog.gpu("H100"),
        requests_per_s=50,
        context_tokens=8000,
        output_tokens=256,
        batch=48,
        step_s=0.018,
        slos=(Slo(metric=SloMetric.TTFT, percentile=95, target_s=10.0),),
    )
    document = answer(
        "size", "meta-llama/Llama-3.1-8B", "--gpu", "H100", "--rate", "50", "--prompt", "7744", "--output", "256",
        "--ttft", "10s", "--mode", "seed", "--batch", "48", "--step", "18ms",
    )  # fmt: skip
    seed, physics = sizing_chain(question, "seed"), sizing_chain(question, "physics")
    assert document["seed"]["replicas"] == seed.replicas == 7
    assert document["physics"]["replicas"] == physics.replicas
    assert document["physics"]["replicas"] > 2 * 7
    assert document["broken"] == list(seed.broken)
    assert any("below the roofline" in sentence for sentence in document["broken"])


@pytest.fixture
def fleet_file(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(yaml.safe_dump(manifests.fleet({"spec.engine": {"maxNumBatchedTokens": 1024}})))
    return path


def test_a_manifest_gives_model_traffic_objectives_and_engine(fleet_file: Path) -> None:
    document = answer("size", "-f", fleet_file, "--gpu", "H100")
    assert document["replica"]["model"] == "Qwen/Qwen3-32B"
    assert document["replica"]["maxNumBatchedTokens"] == 1024
    assert document["traffic"]["requestsPerSecond"] == 4
    assert {slo["metric"] for slo in document["slo"]} == {"ttft", "itl"}
    lengths = mix(prompt_p95=3000.0, output_p95=800.0)
    own = ReplicaShape(
        model=catalog.model("Qwen/Qwen3-32B"), gpu=catalog.gpu("H100"),
        tensor_parallel=document["replica"]["tensorParallelSize"], weights=NumberFormat.BF16,
        kv_cache=NumberFormat.BF16, limits=EngineLimits(max_num_batched_tokens=1024),
    )  # fmt: skip
    assert document["capacity"]["requestsPerSecond"] == pytest.approx(
        replica_capacity(own, lengths, SLOS).requests_per_s, rel=1e-5
    )


def test_flags_override_the_manifest_and_leave_the_rest(fleet_file: Path) -> None:
    document = answer(
        "size", "-f", fleet_file, "--gpu", "H200", "--rate", "9", "--prompt", "500", "--prompt-p95", "900", "--weights",
        "fp8", "--ttft", "1s", "--tp", "1", "--headroom", "0.5",
    )  # fmt: skip
    assert document["traffic"]["requestsPerSecond"] == 9
    assert document["traffic"]["promptTokensMean"] == pytest.approx(500, rel=1e-3)
    assert document["traffic"]["outputTokensMean"] == pytest.approx(250, rel=1e-3)
    assert document["replica"]["weights"] == "fp8"
    assert document["replica"]["gpu"] == "H200-SXM"
    assert document["plan"]["headroom"] == 0.5
    assert {slo["metric"]: slo["targetSeconds"] for slo in document["slo"]} == {"ttft": 1.0, "itl": 0.06}


def test_pools_name_the_gpu_and_its_price(fleet_file: Path, tmp_path: Path) -> None:
    pools = tmp_path / "pools.yaml"
    pools.write_text(yaml.safe_dump(manifests.pool()))
    document = answer("size", "-f", fleet_file, "--pools", pools)
    assert document["replica"]["gpu"] == "H100-SXM"
    assert document["cost"]["usdPerGPUHour"] == 1.9
    assert document["cost"]["source"] == "pool h100-spot"


def test_what_is_wrong_in_a_manifest_is_said_with_its_field(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(yaml.safe_dump(manifests.fleet({"spec.slo": []})))
    assert "spec.slo" in refusal("size", "-f", path, "--gpu", "H100")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind: [", "neither YAML nor JSON"),
        ("kind: GPUPool", "exactly one InferenceFleet"),
        ("just words", "no Kubernetes"),
    ],
)
def test_a_file_that_holds_no_fleet_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(text)
    assert says in refusal("size", "-f", path, "--gpu", "H100")


def test_a_manifest_may_come_from_standard_input() -> None:
    result = run("size", "-f", "-", "--gpu", "H100", "-o", "yaml", stdin=yaml.safe_dump(manifests.fleet()))
    assert result.exit_code == 0
    assert yaml.safe_load(result.stdout)["replica"]["model"] == "Qwen/Qwen3-32B"


def test_without_headroom_a_plain_service_is_planned_and_the_textbook_stays_with_its_own_share() -> None:
    chat = ("Qwen/Qwen3-32B", *CHAT, "--gpu", "H100", "--tp", "2")
    assert answer("size", *chat)["plan"]["headroom"] == EVEN_UTILISATION
    textbook = ("--mode", "seed", "--batch", "9", "--step", "1s")
    assert f"over {SEED_UTILISATION:g} x" in answer("size", *chat, *textbook)["seed"]["message"]
    assert "over 0.5 x" in answer("size", *chat, *textbook, "--headroom", "0.5")["seed"]["message"]
