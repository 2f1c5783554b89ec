from __future__ import annotations

import pytest

from inferencefleet.catalog import UnknownGpu, gpu, gpu_from_values, gpus
from inferencefleet.domain.hardware import NumberFormat


def test_the_catalogue_holds_the_five_gpu_types() -> None:
    assert set(gpus()) == {"A100-SXM", "H100-SXM", "H200-SXM", "L40S", "B200"}


@pytest.mark.parametrize("name", ["A100-SXM", "H100-SXM", "H200-SXM", "L40S", "B200"])
def test_every_entry_is_complete_and_plausible(name: str) -> None:
    spec = gpu(name)
    assert set(spec.efficiency) == set(NumberFormat)
    for efficiency in spec.efficiency.values():
        assert 0 < efficiency.moe_compute < efficiency.compute <= 1
        assert 0 < efficiency.bandwidth <= 1
    assert set(spec.links) == {2, 4, 8}
    assert spec.peak_flops[NumberFormat.BF16] > 1e14
    assert "2026" in spec.source


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("H100", "H100-SXM"),
        ("h100-sxm", "H100-SXM"),
        ("NVIDIA-H100-80GB-HBM3", "H100-SXM"),
        ("NVIDIA H200", "H200-SXM"),
        ("NVIDIA-A100-SXM4-80GB", "A100-SXM"),
        ("NVIDIA-L40S", "L40S"),
    ],
)
def test_aliases_and_product_labels_resolve(label: str, name: str) -> None:
    assert gpu(label).name == name


def test_an_unknown_gpu_names_the_value_the_closest_and_the_way_out() -> None:
    with pytest.raises(UnknownGpu, match=r"'H100-PCIE'; closest: H100-SXM.*explicitly"):
        gpu("H100-PCIE")


def test_only_the_l40s_lacks_nvlink() -> None:
    assert [name for name, spec in gpus().items() if not spec.nvlink] == ["L40S"]


def test_an_explicit_gpu_has_the_given_numbers_and_borrowed_efficiencies() -> None:
    spec = gpu_from_values("mine", 48, 1000, 200, fp8_tflops=400, nvlink=False)
    assert spec.memory_bytes == 48 * 2**30
    assert spec.peak_flops[NumberFormat.FP8] == 400e12
    assert NumberFormat.NVFP4 not in spec.peak_flops
    assert spec.efficiency == gpu("H100").efficiency
    assert not spec.nvlink


def test_an_explicit_gpu_without_bandwidth_is_refused() -> None:
    with pytest.raises(ValueError, match="bandwidth must be above 0"):
        gpu_from_values("mine", 48, 0, 200)
