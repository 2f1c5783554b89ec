"""The command line of `vllm serve`: what changes capacity is always said, and nothing the image does not know.

vLLM exits on a flag that it does not know, which is a crash loop; so flags are gated by the version in the image tag.
"""

from __future__ import annotations

import json
import re
from typing import Any

from inferencefleet.domain.capacity import ReplicaShape
from inferencefleet.domain.fleet import Fleet, SpeculativeMethod, SpeculativeTerms
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.slo import SloMetric

PORT = 8000

Version = tuple[int, int]

SHUTDOWN_TIMEOUT_SINCE: Version = (0, 18)
QUIET_ENDPOINTS_SINCE: Version = (0, 16)
HISTOGRAM_BUCKETS_SINCE: Version = (0, 33)
SPECULATIVE_CONFIG_SINCE: Version = (0, 9)
MTP_SINCE: Version = (0, 12)
"""Before, each model family had a method name of its own."""
WITHOUT_DRAFT_MODELS: tuple[Version, Version] = ((0, 10), (0, 13))
"""First and last version whose engine raises NotImplementedError (vLLM issues 21797 and 31883)."""

_QUANTIZED_ON_LOAD = {NumberFormat.FP8: "fp8"}
"""Formats into which vLLM turns a checkpoint of another format while it loads."""

_FAMILY = {
    SloMetric.TTFT: "time_to_first_token",
    SloMetric.ITL: "inter_token_latency",
    SloMetric.E2E: "request_latency",
}
_DEFAULT_BOUNDS: dict[SloMetric, tuple[float, ...]] = {
    SloMetric.TTFT: (
        *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
        *(20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
    ),
    SloMetric.ITL: (
        *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
        *(20.0, 40.0, 80.0),
    ),
    SloMetric.E2E: (
        *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
        *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
    ),
}


class CannotBuild(ValueError):
    """The fleet asks for something that no vLLM command line can say; the message names the way out."""


def image_version(image: str) -> Version | None:
    """`vllm/vllm-openai:v0.11.2-cu129` -> (0, 11). None for `latest`, a digest alone, or somebody's own tag."""
    name = image.partition("@")[0].rpartition("/")[2]
    found = re.match(r"v?([0-9]+)\.([0-9]+)(?:[.\-+_].*)?$", name.partition(":")[2])
    return (int(found[1]), int(found[2])) if found else None


def knows(image: str, since: Version) -> bool:
    """Whether the image surely has what came with `since`; an unknown version gets no gated flag."""
    version = image_version(image)
    return version is not None and version >= since


def serve_args(fleet: Fleet, shape: ReplicaShape, shutdown_timeout_s: int) -> list[str]:
    """Everything after `vllm serve`. The user's own arguments come last, so that they win where vLLM allows it."""
    limits, image = shape.limits, fleet.engine.image
    args = [shape.model.id]
    args += ["--served-model-name", fleet.served_name]
    args += ["--port", str(PORT)]
    args += ["--tensor-parallel-size", str(shape.tensor_parallel)]
    args += ["--max-model-len", str(limits.max_model_len_tokens)]
    args += ["--max-num-seqs", str(limits.max_num_seqs)]
    args += ["--max-num-batched-tokens", str(limits.max_num_batched_tokens)]
    args += ["--gpu-memory-utilization", f"{limits.gpu_memory_utilization:g}"]
    args += ["--kv-cache-dtype", _kv_cache_dtype(shape)]
    args += _quantization(shape)
    args += ["--enable-prefix-caching" if fleet.engine.prefix_caching else "--no-enable-prefix-caching"]
    if fleet.engine.speculative:
        args += _speculative_config(fleet.engine.speculative, image)
    if knows(image, SHUTDOWN_TIMEOUT_SINCE):
        args += ["--shutdown-timeout", str(shutdown_timeout_s)]
    if knows(image, QUIET_ENDPOINTS_SINCE):
        args += ["--disable-access-log-for-endpoints", "/health,/metrics"]
    if knows(image, HISTOGRAM_BUCKETS_SINCE):
        args += _histogram_buckets(fleet)
    return args + list(fleet.engine.extra_args)


def _kv_cache_dtype(shape: ReplicaShape) -> str:
    """`auto` is the model's own format; `bf16` is not a value that every version knows."""
    return "auto" if shape.kv_cache is NumberFormat.BF16 else shape.kv_cache.value


def _quantization(shape: ReplicaShape) -> list[str]:
    """A checkpoint names its own format; a flag is due only where vLLM must convert while it loads."""
    native = shape.model.native_weights
    if shape.weights is native:
        return []
    if native is NumberFormat.BF16 and shape.weights in _QUANTIZED_ON_LOAD:
        return ["--quantization", _QUANTIZED_ON_LOAD[shape.weights]]
    raise CannotBuild(
        f"vLLM cannot load the {native} checkpoint {shape.model.id} as {shape.weights}: only bf16 to fp8 is converted "
        f"on load; name a checkpoint that is published in {shape.weights} in spec.model.id, or set spec.model.weights "
        f"to {native}"
    )


def _speculative_config(terms: SpeculativeTerms, image: str) -> list[str]:
    """Asked for by name, so also said to an image of unknown version; one that surely cannot is refused."""
    version = image_version(image)
    if version is not None:
        since = MTP_SINCE if terms.method is SpeculativeMethod.MTP else SPECULATIVE_CONFIG_SINCE
        first, last = WITHOUT_DRAFT_MODELS
        if version < since or (terms.method is SpeculativeMethod.DRAFT_MODEL and first <= version <= last):
            raise CannotBuild(
                f"vLLM {version[0]}.{version[1]} ({image}) does not know speculative decoding by {terms.method}; use a "
                f"newer image in spec.engine.image, or another method in spec.engine.speculative"
            )
    config: dict[str, Any] = {"method": terms.method.value, "num_speculative_tokens": terms.assumed.draft_tokens}
    if terms.draft_model is not None:
        config["model"] = terms.draft_model
    return ["--speculative-config", json.dumps(config, separators=(",", ":"))]


def _histogram_buckets(fleet: Fleet) -> list[str]:
    """A bound exactly on each SLO: between the coarse default bounds attainment can only be guessed."""
    families: dict[str, Any] = {}
    for metric in sorted({slo.metric for slo in fleet.slos}):
        targets = {slo.target_s for slo in fleet.slos if slo.metric is metric}
        families[_FAMILY[metric]] = sorted({*_DEFAULT_BOUNDS[metric], *targets})
    return ["--custom-histogram-buckets", json.dumps(families, separators=(",", ":"))] if families else []
