"""From a GPUPool manifest to the vocabulary, and from a bad one to sentences."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from inferencefleet.api.convert import exhaustion_from_manifest, pool_from_manifest
from inferencefleet.api.convert_pool import interruptions_from_status
from inferencefleet.api.times import from_timestamp, to_timestamp
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.pool import Batch, CapacityType, Exhaustion, InterruptionRecord, Pool, Tally
from tests.unit.api.bad_pools import BAD_POOLS
from tests.unit.api.manifests import Bad, pool

EXAMPLES = Path(__file__).parents[3] / "examples" / "quickstart" / "pools.yaml"


def test_the_shortest_manifest_gets_defaults_that_are_right_for_most() -> None:
    found = pool_from_manifest(pool())
    assert isinstance(found, Pool)
    assert (found.name, found.gpu.name, found.gpus_per_node) == ("h100-spot", "H100-SXM", 8)
    assert (found.capacity_type, found.price_per_gpu_hour, found.currency) == (CapacityType.SPOT, 1.9, "USD")
    assert (found.max_gpus, found.resource_name) == (64, "nvidia.com/gpu")
    assert found.node_selector == {"inferencefleet.io/pool": "h100-spot"}
    assert found.tolerations == ()
    assert (found.provision_p50_s, found.provision_p95_s, found.spot_notice_s) == (180, 600, 120)


def test_the_examples_convert() -> None:
    found = [pool_from_manifest(each) for each in yaml.safe_load_all(EXAMPLES.read_text(encoding="utf-8"))]
    assert [each.name for each in found if isinstance(each, Pool)] == ["h100-reserved", "h100-on-demand", "h100-spot"]


def test_a_gpu_outside_the_catalogue_is_taken_by_its_numbers() -> None:
    numbers = {"type": "MI300X", "memory": "192Gi", "bandwidthGBPerSecond": 5300, "bf16TFLOPS": 1307}
    found = pool_from_manifest(pool({"spec.gpu": numbers}))
    assert isinstance(found, Pool)
    assert (found.gpu.name, found.gpu.memory_bytes) == ("MI300X", 192 * 2**30)
    assert found.gpu.bandwidth_bytes_per_s == 5.3e12
    assert found.gpu.peak_flops[NumberFormat.BF16] == 1.307e15


def test_an_unknown_gpu_is_refused_with_the_closest_names() -> None:
    found = pool_from_manifest(pool({"spec.gpu.type": "H100-PCIE-X"}))
    assert isinstance(found, tuple)
    (problem,) = found
    assert (problem.code, problem.field) == ("UnknownGPU", "spec.gpu.type")
    assert "H100-PCIE" in problem.sentence


def test_an_unknown_gpu_described_in_part_is_told_what_is_missing() -> None:
    found = pool_from_manifest(pool({"spec.gpu.type": "X100", "spec.gpu.memory": "192Gi"}))
    assert isinstance(found, tuple)
    assert "unknown GPU type 'X100'" in found[0].sentence
    assert "bandwidthGBPerSecond and bf16TFLOPS are missing" in found[0].sentence


def test_explicit_values_win_over_the_catalogue_one_by_one() -> None:
    found = pool_from_manifest(pool({"spec.gpu.memory": "94Gi", "spec.gpu.fp4TFLOPS": 4000}))
    assert isinstance(found, Pool)
    assert found.gpu.name == "H100-SXM"
    assert found.gpu.memory_bytes == 94 * 2**30
    assert found.gpu.peak_flops[NumberFormat.NVFP4] == 4e15
    assert found.gpu.bandwidth_bytes_per_s == 3.35e12
    assert found.gpu.sources["memoryGiB"] == "GPUPool spec.gpu"


def test_the_resource_follows_the_gpu_unless_it_is_given() -> None:
    names = {"type": "MI300X"}, {"type": "H100", "resourceName": "acme.com/gpu"}
    pools = [pool_from_manifest(pool({"spec.gpu": gpu})) for gpu in names]
    assert [found.resource_name for found in pools if isinstance(found, Pool)] == ["amd.com/gpu", "acme.com/gpu"]


@pytest.mark.parametrize("profile", ["3g.40gb", "mig-3g.40gb", "nvidia.com/mig-3g.40gb"])
def test_a_pool_of_slices_is_sized_and_asked_for_as_slices(profile: str) -> None:
    found = pool_from_manifest(pool({"spec.gpu.migProfile": profile}))
    assert isinstance(found, Pool)
    assert (found.gpu.name, found.gpu.mig_profile) == ("H100-SXM/3g.40gb", "3g.40gb")
    assert found.resource_name == "nvidia.com/mig-3g.40gb"
    assert not found.gpu.splits_models


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        ({"type": "H100", "migProfile": "3g.20gb"}, "unknown MIG profile '3g.20gb' of H100-SXM; use one of: 1g.10gb"),
        ({"type": "L4", "migProfile": "1g.5gb"}, "L4 cannot be sliced; leave the profile out"),
        (
            {"type": "X", "migProfile": "1g.5gb", "memory": "5Gi", "bandwidthGBPerSecond": 200, "bf16TFLOPS": 40},
            "describe the slice by its own memory",
        ),
    ],
)
def test_a_slice_that_is_not_there_is_refused(gpu: dict[str, object], words: str) -> None:
    found = pool_from_manifest(pool({"spec.gpu": gpu}))
    assert isinstance(found, tuple)
    assert (found[0].code, found[0].field) == ("UnknownGPU", "spec.gpu.migProfile")
    assert words in found[0].sentence


@pytest.mark.parametrize("bad", BAD_POOLS, ids=str)
def test_a_bad_pool_is_refused_with_field_value_rule_and_way_out(bad: Bad) -> None:
    found = pool_from_manifest(bad.manifest)
    assert not isinstance(found, Pool)
    text = "\n".join(str(problem) for problem in found)
    for words in bad.converter_says:
        assert words in text


def test_a_pool_is_converted_once_for_each_generation() -> None:
    manifest = pool({"metadata.uid": "one", "metadata.generation": 1})
    assert pool_from_manifest(manifest) is pool_from_manifest(manifest)


@pytest.mark.parametrize("manifest", [{}, {"metadata": None}, {"metadata": {"name": 3}}, {"metadata": {"name": "x"}}])
def test_rubbish_comes_back_as_problems(manifest: dict[str, object]) -> None:
    assert isinstance(pool_from_manifest(manifest), tuple)


def test_exhaustion_survives_in_the_status() -> None:
    saved = {"since": to_timestamp(1_700_000_000), "until": to_timestamp(1_700_000_180), "strikes": 2}
    found = exhaustion_from_manifest({"status": {"exhaustion": saved}})
    assert found == Exhaustion(since_s=1_700_000_000, until_s=1_700_000_180, strikes=2)


@pytest.mark.parametrize("status", [{}, {"exhaustion": None}, {"exhaustion": {"since": "yesterday"}}])
def test_an_unreadable_exhaustion_is_none(status: dict[str, object]) -> None:
    assert exhaustion_from_manifest({"status": status}) is None
    assert exhaustion_from_manifest({}) is None


def test_interruptions_survive_in_the_status() -> None:
    saved = {
        "asOf": to_timestamp(1_700_000_500),
        "nodes": 5.0,
        "noticed": 2.0,
        "noticeSeconds": 110.0,
        "silent": 3.0,
        "quietSince": to_timestamp(1_700_000_400),
        "latest": {"since": to_timestamp(1_700_000_000), "nodes": 4, "of": 8, "restless": True},
        "calm": {"nodeHours": 70.0, "groupHours": 9.0, "lone": 1.0, "groups": [0, 0, 0, 0]},
        "restless": {"nodeHours": 7.0, "groupHours": 1.0, "lone": 0, "groups": [0, 1.0, 0, 0]},
    }
    found = interruptions_from_status({"interruptions": saved})
    assert found == InterruptionRecord(
        as_of_s=1_700_000_500,
        calm=Tally(node_hours=70, group_hours=9, lone=1),
        restless=Tally(node_hours=7, group_hours=1, groups=(0, 1, 0, 0)),
        quiet_since_s=1_700_000_400,
        nodes=5,
        noticed=2,
        notice_sum_s=220,
        silent=3,
        last=Batch(began_s=1_700_000_000, nodes=4, of=8, restless=True),
    )


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"interruptions": None},
        {"interruptions": {"asOf": "yesterday"}},
        {"interruptions": {"asOf": to_timestamp(0), "nodes": -1}},
        {"interruptions": {"asOf": to_timestamp(0), "calm": {"groups": [1, 2]}}},
    ],
)
def test_unreadable_interruptions_are_none(status: dict[str, object]) -> None:
    assert interruptions_from_status(status) == InterruptionRecord()


def test_the_declared_rate_of_interruptions_is_converted() -> None:
    spot = {"spec.capacityType": "Spot", "spec.spot": {"interruptionsPerHour": 0.5}}
    found = pool_from_manifest(pool(spot))
    assert isinstance(found, Pool)
    assert found.interruptions_per_node_hour == 0.5


def test_times_without_a_zone_are_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        from_timestamp("2026-01-31T12:00:00")
