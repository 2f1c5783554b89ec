from __future__ import annotations

import pytest

from inferencefleet.catalog import UnknownGpu, gpu, gpus, mig_profiles
from inferencefleet.domain.hardware import NumberFormat

SLICES = [(name, profile) for name in gpus() for profile in mig_profiles(name)]


def test_a_slice_is_a_share_of_its_gpu() -> None:
    whole, part = gpu("H100-SXM"), gpu("H100-SXM/3g.40gb")
    assert part.name == "H100-SXM/3g.40gb"
    assert part.memory_bytes == 39.25 * 2**30
    assert part.bandwidth_bytes_per_s == whole.bandwidth_bytes_per_s / 2
    assert part.peak_flops[NumberFormat.BF16] / whole.peak_flops[NumberFormat.BF16] == pytest.approx(60 / 132, rel=1e-3)
    assert part.efficiency == whole.efficiency


def test_a_model_cannot_be_split_over_slices() -> None:
    part = gpu("A100/1g.10gb")
    assert not part.splits_models
    assert not part.links
    assert gpu("A100").splits_models


@pytest.mark.parametrize(
    "name",
    [
        "H100/3g.40gb",
        "h100-sxm/mig-3g.40gb",
        "H100/nvidia.com/mig-3g.40gb",
        "NVIDIA-H100-80GB-HBM3-MIG-3g.40gb",
    ],
)
def test_a_slice_goes_by_profile_resource_or_product_label(name: str) -> None:
    assert gpu(name) == gpu("H100-SXM/3g.40gb")


def test_the_resource_of_a_slice_is_the_one_of_the_device_plugin() -> None:
    assert gpu("H100/3g.40gb").resource_name == "nvidia.com/mig-3g.40gb"
    assert gpu("H100/1g.10gb+me").resource_name == "nvidia.com/mig-1g.10gb.me"


def test_the_gpus_that_can_be_sliced_are_known() -> None:
    assert {name for name in gpus() if mig_profiles(name)} == {
        "A100-SXM", "A100-SXM-40GB", "A100-PCIE-40GB", "A100-PCIE-80GB",
        "H100-SXM", "H100-PCIE", "H100-NVL", "GH200", "H200-SXM", "B200",
    }  # fmt: skip


@pytest.mark.parametrize(("name", "profile"), SLICES)
def test_slices_add_up_to_no_more_than_the_gpu_and_name_their_sources(name: str, profile: str) -> None:
    whole, part = gpu(name), gpu(f"{name}/{profile}")
    sevenths = int(profile[0])
    instances = {1: 7, 2: 3, 3: 2, 4: 1, 7: 1}[sevenths]
    if profile in {"1g.20gb", "1g.24gb", "1g.35gb", "1g.45gb"} or (profile, "40GB" in name) == ("1g.10gb", True):
        instances = 4
    assert instances * part.memory_bytes <= whole.memory_bytes
    assert instances * part.bandwidth_bytes_per_s <= whole.bandwidth_bytes_per_s
    assert instances * part.peak_flops[NumberFormat.BF16] <= 1.001 * whole.peak_flops[NumberFormat.BF16]
    # Marketing gigabytes in the profile's name are a little more than what the driver gives.
    assert 0.85 <= part.memory_bytes / 2**30 / int(profile.partition(".")[2].removesuffix("gb")) <= 1.0
    assert "MIG" in part.sources["bandwidthGBps"]
    assert "2026" in part.sources["memoryGiB"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("H100/3g.20gb", r"unknown MIG profile '3g.20gb' of H100-SXM; use one of: 1g.10gb, .*7g.80gb"),
        ("L4/1g.5gb", "'1g.5gb': L4 cannot be sliced"),
        ("X9/1g.5gb", "unknown GPU type 'X9/1g.5gb'"),
    ],
)
def test_an_unknown_slice_is_refused_by_name(name: str, reason: str) -> None:
    with pytest.raises(UnknownGpu, match=reason):
        gpu(name)
