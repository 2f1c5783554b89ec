"""The command line of vLLM: always explicit about capacity, never ahead of the image."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from inferencefleet.adapters.kubernetes.workloads.vllm_args import CannotBuild, image_version, serve_args
from inferencefleet.domain.capacity import EngineLimits, Speculation
from inferencefleet.domain.fleet import SpeculativeMethod, SpeculativeTerms
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.slo import Slo, SloMetric
from tests.fakes.worlds import MODEL, a_fleet, a_shape


def args_for(image: str = "vllm/vllm-openai:v0.20.2", *, shape: Any = None, **fleet: Any) -> list[str]:
    return serve_args(a_fleet(image=image, **fleet), shape or a_shape(), 60)


def value_of(args: list[str], flag: str) -> str | None:
    return args[args.index(flag) + 1] if flag in args else None


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("vllm/vllm-openai:v0.11.2", (0, 11)),
        ("vllm/vllm-openai:v0.30.0-cu129", (0, 30)),
        ("registry.example:5000/team/vllm:0.9.2", (0, 9)),
        ("vllm/vllm-openai:v1.2.0@sha256:abc", (1, 2)),
        ("vllm/vllm-openai:v0.33", (0, 33)),
        ("vllm/vllm-openai:latest", None),
        ("vllm/vllm-openai", None),
        ("registry.example:5000/vllm", None),
        ("vllm/vllm-openai@sha256:abc", None),
        ("vllm/vllm-openai:nightly-0a1b2c", None),
    ],
)
def test_the_version_is_read_from_the_tag_or_unknown(image: str, version: tuple[int, int] | None) -> None:
    assert image_version(image) == version


def test_everything_that_changes_capacity_is_said_explicitly() -> None:
    limits = EngineLimits(
        gpu_memory_utilization=0.9, max_num_seqs=128, max_num_batched_tokens=4096, max_model_len_tokens=16384
    )
    args = args_for(shape=a_shape(2, limits=limits))
    assert args[0] == "Qwen/Qwen3-32B"
    assert value_of(args, "--served-model-name") == "qwen3-32b"
    assert value_of(args, "--tensor-parallel-size") == "2"
    assert value_of(args, "--max-model-len") == "16384"
    assert value_of(args, "--max-num-seqs") == "128"
    assert value_of(args, "--max-num-batched-tokens") == "4096"
    assert value_of(args, "--gpu-memory-utilization") == "0.9"
    assert value_of(args, "--kv-cache-dtype") == "auto"
    assert value_of(args, "--port") == "8000"
    assert "--enable-prefix-caching" in args


@pytest.mark.parametrize(
    ("image", "flag", "known"),
    [
        ("vllm/vllm-openai:v0.18.0", "--shutdown-timeout", True),
        ("vllm/vllm-openai:v0.17.9", "--shutdown-timeout", False),
        ("vllm/vllm-openai:latest", "--shutdown-timeout", False),
        ("vllm/vllm-openai:v0.16.0", "--disable-access-log-for-endpoints", True),
        ("vllm/vllm-openai:v0.15.1", "--disable-access-log-for-endpoints", False),
        ("vllm/vllm-openai:v0.33.0", "--custom-histogram-buckets", True),
        ("vllm/vllm-openai:v0.32.0", "--custom-histogram-buckets", False),
    ],
)
def test_a_flag_is_passed_only_to_images_that_surely_know_it(image: str, flag: str, known: bool) -> None:
    assert (flag in args_for(image)) is known


def test_prefix_caching_is_turned_off_by_name() -> None:
    assert "--no-enable-prefix-caching" in args_for(prefix_caching=False)
    assert "--enable-prefix-caching" not in args_for(prefix_caching=False)


def test_a_published_format_needs_no_flag_and_bf16_is_converted_to_fp8_on_load() -> None:
    assert "--quantization" not in args_for()
    assert value_of(args_for(shape=a_shape(weights=NumberFormat.FP8)), "--quantization") == "fp8"
    published = replace(MODEL, native_weights=NumberFormat.FP8)
    assert "--quantization" not in args_for(shape=a_shape(model=published, weights=NumberFormat.FP8))


def test_a_format_that_vllm_cannot_convert_to_is_refused_with_a_way_out() -> None:
    with pytest.raises(CannotBuild, match=r"cannot load the bf16 checkpoint .* as int4: .* name a checkpoint"):
        args_for(shape=a_shape(weights=NumberFormat.INT4))


def test_an_fp8_cache_is_asked_for_by_name() -> None:
    assert value_of(args_for(shape=a_shape(kv_cache=NumberFormat.FP8)), "--kv-cache-dtype") == "fp8"


def speculative(method: str, model: str | None = None) -> SpeculativeTerms:
    return SpeculativeTerms(
        method=SpeculativeMethod(method),
        draft_model=model,
        assumed=Speculation(draft_tokens=4, acceptance=0.6, draft_cost_ratio=0.1),
    )


@pytest.mark.parametrize(
    ("terms", "config"),
    [
        (speculative("ngram"), {"method": "ngram", "num_speculative_tokens": 4}),
        (speculative("mtp"), {"method": "mtp", "num_speculative_tokens": 4}),
        (
            speculative("eagle3", "acme/eagle3"),
            {"method": "eagle3", "num_speculative_tokens": 4, "model": "acme/eagle3"},
        ),
    ],
)
def test_speculation_is_one_json_argument(terms: SpeculativeTerms, config: dict[str, Any]) -> None:
    assert json.loads(value_of(args_for(speculative=terms), "--speculative-config") or "") == config


def test_without_speculation_nothing_is_said_about_it() -> None:
    assert "--speculative-config" not in args_for()


@pytest.mark.parametrize(
    ("image", "method", "known"),
    [
        ("vllm/vllm-openai:v0.8.5", "ngram", False),
        ("vllm/vllm-openai:v0.9.1", "ngram", True),
        ("vllm/vllm-openai:v0.11.0", "mtp", False),
        ("vllm/vllm-openai:v0.12.0", "mtp", True),
        ("vllm/vllm-openai:v0.9.2", "draft_model", True),
        ("vllm/vllm-openai:v0.10.0", "draft_model", False),
        ("vllm/vllm-openai:v0.13.0", "draft_model", False),
        ("vllm/vllm-openai:v0.33.0", "draft_model", True),
        ("vllm/vllm-openai:nightly", "draft_model", True),
    ],
)
def test_an_image_that_cannot_speculate_so_is_refused_with_a_way_out(image: str, method: str, known: bool) -> None:
    terms = speculative(method, "Qwen/Qwen3-0.6B" if method == "draft_model" else None)
    if known:
        assert "--speculative-config" in args_for(image, speculative=terms)
    else:
        with pytest.raises(CannotBuild, match=rf"does not know speculative decoding by {method}; use a newer image"):
            args_for(image, speculative=terms)


def test_the_arguments_of_the_user_come_last() -> None:
    assert args_for(extra_args=("--enable-lora", "--max-loras=4"))[-2:] == ["--enable-lora", "--max-loras=4"]


def test_a_histogram_bound_lies_exactly_on_each_slo() -> None:
    slos = (
        Slo(metric=SloMetric.TTFT, percentile=95, target_s=1.8),
        Slo(metric=SloMetric.ITL, percentile=99, target_s=0.06),
        Slo(metric=SloMetric.ITL, percentile=50, target_s=0.05),
    )
    text = value_of(args_for("vllm/vllm-openai:v0.33.0", slos=slos), "--custom-histogram-buckets")
    families = json.loads(text or "")
    assert set(families) == {"time_to_first_token", "inter_token_latency"}
    assert 1.8 in families["time_to_first_token"]
    assert {0.05, 0.06} <= set(families["inter_token_latency"])
    assert all(bounds == sorted(set(bounds)) for bounds in families.values())
