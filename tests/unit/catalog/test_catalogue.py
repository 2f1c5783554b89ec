"""A user's own file on top of the built-in catalogue, and list prices."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from inferencefleet.catalog import InvalidCatalogue, UnknownPrice, built_in, gpu, gpus, model, price, prices
from inferencefleet.catalog.build_prices import cheapest, gpu_of
from inferencefleet.domain.hardware import DataConfidence, NumberFormat

MINE = """
sources:
  lab: {title: our own measurement, date: 2026-10-01}
gpus:
  H100: {bandwidthGBps: 3200, sources: {bandwidthGBps: lab}}
  L40S: {efficiency: {bf16: {compute: 0.5}}}
  MyGPU:
    aliases: [NVIDIA-MyGPU]
    memoryGiB: 64
    bandwidthGBps: 2000
    peakTflops: {bf16: 500}
    borrow: {kernels: H100-SXM, overheads: H100-SXM}
models:
  acme/chat: {like: meta-llama/Llama-3.3-70B-Instruct, nativeWeights: fp8}
  acme/own: {layers: 32, hidden: 4096, heads: 32, ffnHidden: 14336, vocab: 32000, maxContextTokens: 8192}
prices:
  H100: [{usdPerGpuHour: 2.1, capacityType: Reserved, cloud: own, date: 2026-11-01}]
"""


def test_values_of_a_user_win_one_by_one_and_carry_their_source() -> None:
    mine = built_in().extended(MINE, "mine.yaml")
    h100 = mine.gpu("NVIDIA-H100-80GB-HBM3")
    assert h100.bandwidth_bytes_per_s == 3.2e12
    assert h100.sources["bandwidthGBps"] == "our own measurement, 2026-10-01"
    assert h100.memory_bytes == gpu("H100").memory_bytes
    assert mine.gpu("L40S").efficiency[NumberFormat.BF16].compute == 0.5
    assert (
        mine.gpu("L40S").efficiency[NumberFormat.BF16].bandwidth == gpu("L40S").efficiency[NumberFormat.BF16].bandwidth
    )
    assert mine.gpu("L40S").sources["efficiency.bf16.compute"].startswith("mine.yaml")


def test_gpus_that_borrow_follow_a_lender_that_the_user_changed() -> None:
    mine = built_in().extended(MINE, "mine.yaml")
    assert mine.gpu("L4").efficiency[NumberFormat.BF16].compute == 0.5


def test_a_new_gpu_borrows_what_it_does_not_say() -> None:
    found = built_in().extended(MINE, "mine.yaml").gpu("nvidia-mygpu")
    assert (found.name, found.memory_bytes, found.confidence) == ("MyGPU", 64 * 2**30, DataConfidence.DATASHEET)
    assert found.efficiency == gpu("H100").efficiency
    assert found.sources["kvBandwidthEfficiency"].startswith("borrowed from H100-SXM")


def test_models_and_prices_of_a_user_are_found() -> None:
    mine = built_in().extended(MINE, "mine.yaml")
    assert mine.model("ACME/chat").native_weights is NumberFormat.FP8
    assert mine.model("acme/own").layers == 32
    assert mine.price("H100", "Reserved").usd_per_gpu_hour == 2.1
    assert mine.price("H100", "Reserved").source == "mine.yaml"


def test_the_built_in_catalogue_stays_as_it_was() -> None:
    before = gpu("H100")
    built_in().extended(MINE, "mine.yaml")
    assert gpu("H100") == before
    with pytest.raises(ValueError, match="unknown model 'acme/own'"):
        model("acme/own")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "is no YAML"),
        ("3", "must be a block with any of: sources, gpus, models, prices"),
        ("gpu: {}", "unknown table 'gpu'; known tables: sources, gpus"),
        ("gpus: 3", "gpus is 3; it must be a block"),
        ("gpus: {H100: 3}", "GPU 'H100' is 3; it must be a block"),
        ("gpus: {H100: {bandwidthGBps: -3}}", "GPU 'H100-SXM': bandwidthGBps is -3; give a number above 0"),
        ("gpus: {H100: {bandwidthGBps: .nan}}", "bandwidthGBps is nan; give a number above 0"),
        ("gpus: {H100: {bandwidth: 3}}", "unknown field 'bandwidth'; known fields: .*bandwidthGBps"),
        ("gpus: {H100: {kvBandwidthEfficiency: 65}}", "it is a fraction of the peak: give at most 1"),
        ("gpus: {H100: {peakTflops: {fp6: 100}}}", "unknown weight format 'fp6'; formats: bf16"),
        ("gpus: {H100: {links: {3: {latencyUs: 1, bandwidthGBps: 1}}}}", "links.3 is no group size"),
        ("gpus: {H100: {nvlink: 1}}", "nvlink is 1; write true or false"),
        ("gpus: {H100: {memoryGiB: {a: 1}}}", "memoryGiB.a is 1; .* shows the form of memoryGiB"),
        ("gpus: {H100: {sources: {memoryGiB: nowhere}}}", "source 'nowhere' of memoryGiB is not in the table"),
        ("gpus: {H100: {confidence: Sure}}", "confidence is 'Sure'; use one of: Measured, Borrowed, Datasheet"),
        ("gpus: {X: {memoryGiB: 3}}", "GPU 'X': bandwidthGBps is missing; give it, or borrow the group 'datasheet'"),
        ("gpus: {X: {borrow: {kernels: Y}}}", "borrow.kernels names 'Y', which is not in the catalogue"),
        ("gpus: {X: {borrow: {kernels: A10}}}", "'A10' has no 'kernels' of its own to lend"),
        ("gpus: {X: {aliases: [H100], borrow: {datasheet: H100-SXM, kernels: H100-SXM, overheads: H100-SXM}}}",
         "alias 'H100' is taken by 'H100-SXM'"),
        ("sources: {lab: {title: x}}", "source 'lab' needs a title and a date"),
        ("models: {a/b: {hidden_size: 3}}", "model 'a/b': the config has no `num_hidden_layers`"),
        ("models: {a/b: {like: foo/bar}}", "unknown model 'foo/bar'"),
        ("prices: {H100: [{usdPerGpuHour: 0}]}", "price of 'H100': usdPerGpuHour is 0; give dollars above 0"),
        ("prices: {H100: [{usdPerGpuHour: 2, capacityType: Cheap}]}", "capacityType is 'Cheap'; use one of: OnDemand"),
        ("prices: {H100: 2}", "prices of 'H100' must be a list of blocks"),
        ("prices: {H1000: []}", "unknown GPU type 'H1000'"),
    ],
)  # fmt: skip
def test_a_file_with_a_mistake_is_refused_by_file_entry_value_and_rule(text: str, says: str) -> None:
    with pytest.raises(InvalidCatalogue, match=says) as refusal:
        built_in().extended(text, "mine.yaml")
    assert str(refusal.value).startswith("mine.yaml")


def test_every_price_has_a_cloud_an_instance_a_source_and_a_date() -> None:
    assert {"H100-SXM", "A100-SXM", "L40S", "L4", "A10G", "B200", "H200-SXM", "MI300X"} <= set(prices())
    for name, listed in prices().items():
        assert gpu(name).name == name
        assert list(listed) == sorted(listed, key=lambda each: (each.usd_per_gpu_hour, each.cloud))
        for each in listed:
            assert each.cloud in {"aws", "azure", "gcp"}
            assert each.instance
            assert "Apache-2.0" in each.source
            assert re.fullmatch(r"2026-\d\d-\d\d", each.date)
            assert 0.1 < each.usd_per_gpu_hour < 30


def test_the_price_is_the_cheapest_of_its_kind() -> None:
    found = price("H100")
    assert (found.cloud, found.instance, found.usd_per_gpu_hour) == ("aws", "p5.48xlarge", 6.88)
    assert price("L4", "Spot").usd_per_gpu_hour < price("L4").usd_per_gpu_hour


def test_a_slice_costs_its_sevenths() -> None:
    assert price("H100/3g.40gb").usd_per_gpu_hour == pytest.approx(6.88 * 3 / 7)
    assert "3/7 of H100-SXM" in price("H100/3g.40gb").source


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("H100", "Reserved", "no Reserved price of GPU 'H100-SXM': only OnDemand prices .* give your own"),
        ("RTX-4090", "OnDemand", "no OnDemand price of GPU 'RTX-4090': no price of it .*perGPUHour"),
    ],
)
def test_a_missing_price_names_the_way_out(name: str, kind: str, says: str) -> None:
    with pytest.raises(UnknownPrice, match=says):
        price(name, kind)


def test_an_unknown_capacity_type_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown capacity type 'Preemptible'; use one of: OnDemand, Spot, Reserved"):
        price("H100", "Preemptible")


def test_only_rows_with_a_licence_become_prices() -> None:
    def row(**changes: str) -> dict[str, str]:
        base = {"cloud": "aws", "region": "us-east-1", "instance_type": "p5.48xlarge", "term": "on-demand"}
        return base | {"usd_per_h": "80", "as_of": "2026-07-20", "source": "karpenter-provider-aws"} | changes

    rows = [
        row(),
        row(usd_per_h="8", source="skypilot-catalog"),
        row(usd_per_h="7", region="eu-west-1"),
        row(usd_per_h="0"),
        row(instance_type="g6f.large", usd_per_h="0.2"),
    ]
    (found,) = cheapest(rows)["H100-SXM"]
    assert (found["usdPerGpuHour"], found["region"]) == (10.0, "us-east-1")
    assert set(cheapest(rows)) == {"H100-SXM"}


def test_instances_are_counted_in_whole_gpus_of_the_catalogue() -> None:
    assert gpu_of("g5.48xlarge") == ("A10G", 8)
    assert gpu_of("Standard_NV6ads_A10_v5") is None  # a sixth of a GPU
    assert set(prices()) <= set(gpus())


def test_the_example_in_the_documentation_loads() -> None:
    text = (Path(__file__).parents[3] / "docs" / "catalogue.md").read_text(encoding="utf-8")
    example = text.split("## Your own catalogue file")[1].split("```yaml\n")[1].split("```")[0]
    mine = built_in().extended(example, "docs")
    assert mine.gpu("NVIDIA-MyGPU").links == gpu("A100-SXM").links
    assert mine.model("acme/chat-70b-fp8").native_weights is NumberFormat.FP8


def test_the_documentation_names_every_gpu_with_its_confidence() -> None:
    text = (Path(__file__).parents[3] / "docs" / "catalogue.md").read_text(encoding="utf-8")
    for kind in DataConfidence:
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {kind} |")]
        listed = {word.strip() for word in row.rstrip("| ").rsplit("|", 1)[1].split(",")}
        assert listed == {name for name, spec in gpus().items() if spec.confidence is kind}
