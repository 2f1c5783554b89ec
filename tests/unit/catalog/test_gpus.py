from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from inferencefleet.catalog import UnknownGpu, gpu, gpu_from_values, gpus, with_values
from inferencefleet.domain.hardware import DataConfidence, NumberFormat

DATA = Path(__file__).parents[3] / "operator" / "inferencefleet" / "catalog" / "data" / "gpus.yaml"
MEASURED = {"A100-SXM", "H100-SXM", "H200-SXM", "L40S", "B200", "B300", "RTX-PRO-6000"}
BORROWED = {
    "A100-SXM-40GB", "A100-PCIE-40GB", "A100-PCIE-80GB", "H100-PCIE", "H100-NVL", "GH200", "L4", "A10", "A10G", "A40",
    "RTX-4090", "RTX-5090", "RTX-PRO-6000-WORKSTATION", "GB200", "GB300",
}  # fmt: skip
DATASHEET = {"MI300X", "MI325X", "MI355X"}
DATED = re.compile(r"20\d\d-\d\d-\d\d")


def test_the_catalogue_says_of_each_gpu_whether_it_was_measured() -> None:
    by_confidence = {
        kind: {name for name, spec in gpus().items() if spec.confidence is kind} for kind in DataConfidence
    }
    assert by_confidence == {
        DataConfidence.MEASURED: MEASURED,
        DataConfidence.BORROWED: BORROWED,
        DataConfidence.DATASHEET: DATASHEET,
    }


@pytest.mark.parametrize("name", sorted(gpus()))
def test_every_entry_is_complete_and_plausible(name: str) -> None:
    spec = gpu(name)
    assert set(spec.efficiency) == set(NumberFormat)
    for efficiency in spec.efficiency.values():
        assert 0 < efficiency.moe_compute < efficiency.compute <= 1
        assert 0 < efficiency.bandwidth <= 1
    assert set(spec.links) == {2, 4, 8}
    assert 20 * 2**30 < spec.memory_bytes < 300 * 2**30
    assert 3e11 <= spec.bandwidth_bytes_per_s <= 8e12
    assert spec.peak_flops[NumberFormat.BF16] >= 7e13
    # Peak and bandwidth belong together: between 60 and 420 FLOP for each byte.
    assert 60 < spec.peak_flops[NumberFormat.BF16] / spec.bandwidth_bytes_per_s < 420


@pytest.mark.parametrize("name", sorted(gpus()))
def test_every_value_of_every_gpu_has_a_source_with_a_date(name: str) -> None:
    spec = gpu(name)
    expected = {"memoryGiB", "bandwidthGBps", "kvBandwidthEfficiency", "attentionComputeEfficiency"}
    expected |= {"layerOverheadUs", "moeLayerOverheadUs", "eagerLayerOverheadUs"}
    expected |= {f"peakTflops.{key}" for key in spec.peak_flops}
    expected |= {f"links.{size}.{field}" for size in spec.links for field in ("latencyUs", "bandwidthGBps")}
    expected |= {
        f"efficiency.{key}.{field}"
        for key in spec.efficiency
        for field in ("bandwidth", "compute", "moeBandwidth", "moeCompute")
    }
    assert set(spec.sources) - {"nvlink"} == expected
    for path, source in spec.sources.items():
        assert DATED.search(source), f"{path}: {source}"


@pytest.mark.parametrize("name", sorted(BORROWED | DATASHEET))
def test_what_was_not_measured_names_the_gpu_that_lends_it(name: str) -> None:
    source = gpu(name).sources["efficiency.fp8.compute"]
    lender = source.removeprefix("borrowed from ").partition(":")[0]
    assert source.startswith("borrowed from ")
    assert gpu(lender).confidence is DataConfidence.MEASURED
    assert gpu(name).efficiency[NumberFormat.FP8].compute == gpu(lender).efficiency[NumberFormat.FP8].compute


def test_borrowed_values_follow_the_lender_and_own_values_win() -> None:
    assert gpu("H100-PCIE").efficiency == gpu("H100-SXM").efficiency
    a40 = gpu("A40")
    assert a40.efficiency[NumberFormat.BF16] == gpu("A10G").efficiency[NumberFormat.BF16]
    assert "vidur" in a40.sources["efficiency.bf16.compute"]
    b300, b200 = gpu("B300").efficiency, gpu("B200").efficiency
    assert b300[NumberFormat.BF16].compute != b200[NumberFormat.BF16].compute
    assert b300[NumberFormat.BF16].moe_compute == b200[NumberFormat.BF16].moe_compute


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("H100", "H100-SXM"),
        ("h100-sxm", "H100-SXM"),
        ("NVIDIA-H100-80GB-HBM3", "H100-SXM"),
        ("NVIDIA-H100-PCIe", "H100-PCIE"),
        ("NVIDIA-H100-NVL", "H100-NVL"),
        ("NVIDIA H200", "H200-SXM"),
        ("NVIDIA-A100-SXM4-80GB", "A100-SXM"),
        ("NVIDIA-A100-SXM4-40GB", "A100-SXM-40GB"),
        ("A100-40", "A100-SXM-40GB"),
        ("NVIDIA-A100-80GB-PCIe", "A100-PCIE-80GB"),
        ("NVIDIA-A100-PCIE-40GB", "A100-PCIE-40GB"),
        ("nvidia-tesla-a100", "A100-SXM-40GB"),  # what Google Cloud calls it
        ("nvidia-h100-mega-80gb", "H100-SXM"),
        ("NVIDIA-L40S", "L40S"),
        ("NVIDIA-L4", "L4"),
        ("a10g", "A10G"),
        ("NVIDIA-GH200-480GB", "GH200"),
        ("NVIDIA-GeForce-RTX-4090", "RTX-4090"),
        ("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", "RTX-PRO-6000"),
        ("AMD-Instinct-MI300X-OAM", "MI300X"),
        # As the measured runs call them.
        ("h100_sxm", "H100-SXM"),
        ("Nvidia A100 GPU", "A100-SXM-40GB"),
        ("Nvidia GH200 GPU", "GH200"),
        ("h100-80gb-pcap", "H100-SXM"),
        ("b300_sxm", "B300"),
        ("b200-trt", "B200"),
        ("gb200", "GB200"),
    ],
)
def test_aliases_and_product_labels_resolve(label: str, name: str) -> None:
    assert gpu(label).name == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("H100-XYZ", r"'H100-XYZ'; closest: H100-.*explicitly"),
        ("T4", "'T4' is not supported: it has no bf16 tensor cores"),
        ("NVIDIA-L4-SHARED", "'NVIDIA-L4-SHARED' is time-sliced.*whole GPUs, or MIG"),
    ],
)
def test_an_unknown_gpu_names_the_value_the_reason_and_the_way_out(name: str, reason: str) -> None:
    with pytest.raises(UnknownGpu, match=reason):
        gpu(name)


def test_cards_lack_nvlink() -> None:
    assert {name for name, spec in gpus().items() if not spec.nvlink} == {
        "L40S", "L4", "A10", "A10G", "A40", "RTX-4090", "RTX-5090", "RTX-PRO-6000",
        "RTX-PRO-6000-WORKSTATION", "A100-PCIE-40GB", "A100-PCIE-80GB", "H100-PCIE",
    }  # fmt: skip


def test_figures_that_are_often_quoted_wrong_carry_a_note() -> None:
    assert gpu("A10G").peak_flops[NumberFormat.BF16] == 70e12
    assert "125" in gpu("A10G").note
    assert gpu("MI355X").bandwidth_bytes_per_s == 8e12
    assert "MI325X" in gpu("MI355X").note
    assert gpu("RTX-PRO-6000").bandwidth_bytes_per_s == 1.597e12
    assert "the workstation card has 1,792" in gpu("RTX-PRO-6000").note
    assert gpu("NVIDIA-RTX-PRO-6000-Blackwell-Workstation-Edition").bandwidth_bytes_per_s == 1.792e12


@pytest.mark.parametrize(
    ("name", "computes_in"),
    [
        ("A100", {"bf16", "int8"}),
        ("L40S", {"bf16", "fp8", "int8"}),
        ("H100", {"bf16", "fp8", "int8"}),
        ("B200", {"bf16", "fp8", "int8", "nvfp4", "mxfp4"}),
        ("RTX-PRO-6000", {"bf16", "fp8", "int8", "nvfp4"}),
        ("MI300X", {"bf16", "fp8", "int8"}),
        ("MI355X", {"bf16", "fp8", "int8", "mxfp4"}),
    ],
)
def test_each_gpu_knows_the_formats_of_its_tensor_cores(name: str, computes_in: set[str]) -> None:
    assert {key.value for key in NumberFormat if gpu(name).computes_in(key)} == computes_in


def test_amd_gpus_are_offered_under_another_resource() -> None:
    assert (gpu("MI300X").resource_name, gpu("H100").resource_name) == ("amd.com/gpu", "nvidia.com/gpu")


def test_the_data_file_says_which_values_are_tuned_end_to_end() -> None:
    text = DATA.read_text(encoding="utf-8")
    assert "tuned on end-to-end runs" in text
    assert "end-to-end" in yaml.safe_load(text)["sources"]
    tuned = {path for path, source in gpu("H100").sources.items() if "end-to-end" in source}
    assert {"layerOverheadUs", "moeLayerOverheadUs", "eagerLayerOverheadUs"} <= tuned


def test_an_explicit_gpu_has_the_given_numbers_and_borrowed_efficiencies() -> None:
    spec = gpu_from_values("mine", 48, 1000, 200, fp8_tflops=400, nvlink=False)
    assert spec.memory_bytes == 48 * 2**30
    assert spec.peak_flops[NumberFormat.FP8] == 400e12
    assert NumberFormat.NVFP4 not in spec.peak_flops
    assert spec.efficiency == gpu("H100").efficiency
    assert not spec.nvlink
    assert spec.confidence is DataConfidence.DATASHEET
    assert spec.sources["memoryGiB"] == "explicit value"
    assert spec.sources["efficiency.bf16.compute"].startswith("borrowed from H100-SXM")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ((48, 0, 200), "bandwidth must be above 0, got 0"),
        ((-1, 1000, 200), "memory must be above 0, got -1"),
        ((48, 1000, float("nan")), "bf16 TFLOPS must be above 0, got nan"),
        ((48, float("inf"), 200), "bandwidth must be above 0, got inf"),
    ],
)
def test_an_explicit_gpu_with_an_impossible_value_is_refused_by_name(
    values: tuple[float, float, float], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        gpu_from_values("mine", *values)


def test_a_user_may_replace_one_value_of_a_known_gpu() -> None:
    mine = with_values(gpu("H100"), bandwidth_gb_per_s=3000)
    assert mine.bandwidth_bytes_per_s == 3e12
    assert mine.memory_bytes == gpu("H100").memory_bytes
    assert mine.sources["bandwidthGBps"] == "explicit value"
    assert mine.sources["memoryGiB"] == gpu("H100").sources["memoryGiB"]
    assert mine != gpu("H100")


def test_a_user_who_denies_nvlink_gets_the_links_of_pcie() -> None:
    mine = with_values(gpu("H100"), nvlink=False)
    assert (mine.nvlink, mine.links) == (False, gpu("L40S").links)
    assert with_values(gpu("H100"), nvlink=True) == gpu("H100")
