"""What a pod's container would start: `vllm serve` arguments read as the real server reads them.

A flag that the real server does not know ends it with exit code 2; so it does here, or a typo would show only on real
GPUs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from inferencefleet import catalog
from inferencefleet.domain.capacity import EngineLimits, ReplicaShape
from inferencefleet.domain.hardware import NumberFormat

GPU_RESOURCE = "nvidia.com/gpu"

# Flags that decide speed or size here.
_READ = {
    "--tensor-parallel-size", "-tp", "--max-num-seqs", "--max-num-batched-tokens", "--max-model-len",
    "--gpu-memory-utilization", "--kv-cache-dtype", "--quantization", "-q", "--dtype", "--served-model-name",
    "--port", "--shutdown-timeout", "--model", "--block-size",
}  # fmt: skip
# Flags of vLLM 0.20-0.33 that take a value and change nothing here.
_IGNORED = {
    "--host", "--load-format", "--download-dir", "--tokenizer", "--tokenizer-mode", "--chat-template", "--seed",
    "--revision", "--tool-call-parser", "--reasoning-parser", "--custom-histogram-buckets",
    "--disable-access-log-for-endpoints", "--uvicorn-log-level", "--performance-mode", "--optimization-level", "-O",
    "--swap-space", "--pipeline-parallel-size", "--data-parallel-size", "--api-server-count", "--stream-interval",
    "--speculative-config", "--generation-config", "--kv-cache-memory-bytes", "--watermark", "--max-loras",
    "--max-lora-rank", "--rope-scaling", "--hf-overrides", "--limit-mm-per-prompt", "--model-loader-extra-config",
    "--kv-transfer-config", "--compilation-config", "--max-logprobs", "--distributed-executor-backend",
    "--root-path", "--api-key", "--config-format", "--model-impl", "--scheduling-policy",
    "--prefix-caching-hash-algo", "--kv-offloading-size", "--kv-offloading-backend",
}  # fmt: skip
# Flags without a value; each also has a `--no-` form.
_SWITCHES = {
    "--enable-prefix-caching", "--enable-chunked-prefill", "--enforce-eager", "--trust-remote-code",
    "--async-scheduling", "--enable-expert-parallel", "--enable-auto-tool-choice", "--enable-sleep-mode",
    "--disable-log-stats", "--enable-lora", "--enable-log-requests", "--disable-uvicorn-access-log",
    "--scheduler-reserve-full-isl", "--disable-log-requests", "--enable-server-load-tracking",
    "--enable-prompt-tokens-details",
}  # fmt: skip


# First minor version of a flag: an older image does not know it.
_SINCE = {
    "--shutdown-timeout": (0, 18),
    "--disable-access-log-for-endpoints": (0, 16),
    "--custom-histogram-buckets": (0, 33),
    "--performance-mode": (0, 18),
    "--watermark": (0, 30),
}


class ContainerCrash(Exception):
    """The container would exit; the message is its last line, `code` its exit code."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmOrder:
    """A vLLM server as its pod asks for it."""

    container: str
    shape: ReplicaShape
    served_names: tuple[str, ...]
    shutdown_timeout_s: float
    pre_stop_s: float
    prefix_caching: bool
    histogram_bounds: Mapping[str, tuple[float, ...]]
    """By family of `--custom-histogram-buckets`; families not named keep vLLM's default."""


def main_container(pod: dict[str, Any]) -> dict[str, Any]:
    containers: list[dict[str, Any]] = pod["spec"]["containers"]
    return next((each for each in containers if is_vllm(each)), containers[0])


def is_vllm(container: dict[str, Any]) -> bool:
    words = [*container.get("command", ()), *container.get("args", ())]
    return "vllm" in container.get("image", "") or "vllm" in words


def read_order(pod: dict[str, Any], gpu_name: str) -> VllmOrder:
    """Raises `ContainerCrash` with what the real server would print."""
    container = main_container(pod)
    words = [str(word) for word in (*container.get("command", ()), *container.get("args", ()))]
    model, flags, switches = _parse(words, _version(container.get("image", "")))
    tensor_parallel = _number(flags, "--tensor-parallel-size", 1)
    gpus = int(container.get("resources", {}).get("limits", {}).get(GPU_RESOURCE, 0))
    if gpus == 0:
        raise ContainerCrash("RuntimeError: Failed to infer device type: no GPU is visible in this container", 1)
    if gpus < tensor_parallel:
        raise ContainerCrash(
            f"ValueError: tensor parallel size ({tensor_parallel}) exceeds the visible GPUs ({gpus})", 1
        )
    try:
        spec = catalog.model(model)
    except Exception as error:
        raise ContainerCrash(
            f"OSError: {model} is not a local folder and is not a valid model identifier", 1
        ) from error
    if spec.heads % tensor_parallel:
        raise ContainerCrash(f"ValueError: {spec.heads} attention heads must be divisible by {tensor_parallel}", 1)
    weights = _weights(flags, spec.native_weights)
    limits = EngineLimits(
        gpu_memory_utilization=_fraction(flags, "--gpu-memory-utilization", 0.92),
        max_num_seqs=_number(flags, "--max-num-seqs", 1024),
        max_num_batched_tokens=_number(flags, "--max-num-batched-tokens", 8192),
        max_model_len_tokens=_number(flags, "--max-model-len", spec.max_context_tokens),
    )
    shape = ReplicaShape(
        model=spec,
        gpu=catalog.gpu(gpu_name),
        tensor_parallel=tensor_parallel,
        weights=weights,
        kv_cache=NumberFormat.FP8 if flags.get("--kv-cache-dtype", "auto").startswith("fp8") else NumberFormat.BF16,
        limits=limits,
    )
    return VllmOrder(
        container=container["name"],
        shape=shape,
        served_names=tuple(flags.get("--served-model-name", model).split()),
        shutdown_timeout_s=float(_number(flags, "--shutdown-timeout", 0)),
        pre_stop_s=pre_stop_seconds(container),
        prefix_caching="--no-enable-prefix-caching" not in switches,
        histogram_bounds=_bounds(flags.get("--custom-histogram-buckets", "{}")),
    )


def seen_ready_after(container: dict[str, Any], load_s: float) -> float:
    """When the kubelet notices that the server answers: at the next tick of the startup (or readiness) probe.

    Raises `ContainerCrash` where the startup probe would have given up before.
    """
    probe = container.get("startupProbe") or container.get("readinessProbe")
    if not probe:
        return load_s
    delay_s, period_s = float(probe.get("initialDelaySeconds", 0)), float(probe.get("periodSeconds", 10))
    ticks = max(0, ceil((load_s - delay_s) / period_s))
    if container.get("startupProbe") and ticks > int(probe.get("failureThreshold", 3)):
        raise ContainerCrash(f"Container {container['name']} failed startup probe, will be restarted", 137)
    return max(load_s, delay_s + ticks * period_s)


def pre_stop_seconds(container: dict[str, Any]) -> float:
    """`sleep: {seconds: N}` or an exec of `sleep N`."""
    hook = container.get("lifecycle", {}).get("preStop", {})
    if "sleep" in hook:
        return float(hook["sleep"].get("seconds", 0))
    text = " ".join(hook.get("exec", {}).get("command", ()))
    found = re.search(r"\bsleep (\d+(?:\.\d+)?)", text)
    return float(found.group(1)) if found else 0.0


def _version(image: str) -> tuple[int, int]:
    """Of the tag; a tag that tells none is taken for the newest."""
    found = re.search(r":v?(\d+)\.(\d+)", image)
    return (int(found.group(1)), int(found.group(2))) if found else (999, 0)


def _parse(words: list[str], version: tuple[int, int]) -> tuple[str, dict[str, str], set[str]]:
    """Model, flags with values, switches. The words come as argv, not through a shell."""
    if "serve" in words:
        words = words[words.index("serve") + 1 :]
    model: str | None = None
    flags: dict[str, str] = {}
    switches: set[str] = set()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            if model is not None:
                raise ContainerCrash(f"vllm serve: error: unrecognized arguments: {word}")
            model = word
            continue
        name, equals, value = word.partition("=")
        name = name.replace("_", "-")
        if _SINCE.get(name, version) > version:
            raise ContainerCrash(f"vllm serve: error: unrecognized arguments: {word}")
        if name in _SWITCHES or name.replace("--no-", "--", 1) in _SWITCHES:
            switches.add(name)
        elif name in _READ or name in _IGNORED:
            values = [value] if equals else _take(rest, many=name == "--served-model-name")
            if not values:
                raise ContainerCrash(f"vllm serve: error: argument {name}: expected one argument")
            flags[{"-tp": "--tensor-parallel-size", "-q": "--quantization"}.get(name, name)] = " ".join(values)
        else:
            raise ContainerCrash(f"vllm serve: error: unrecognized arguments: {word}")
    model = model or flags.get("--model")
    if model is None:
        raise ContainerCrash("vllm serve: error: the following arguments are required: model_tag")
    return model, flags, switches


def _take(rest: list[str], *, many: bool) -> list[str]:
    taken: list[str] = []
    while rest and not rest[0].startswith("--") and (many or not taken):
        taken.append(rest.pop(0))
    return taken


def _bounds(text: str) -> dict[str, tuple[float, ...]]:
    try:
        return {str(family): tuple(float(bound) for bound in bounds) for family, bounds in json.loads(text).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ContainerCrash(
            f"vllm serve: error: argument --custom-histogram-buckets: invalid value: {text!r}"
        ) from error


def _number(flags: dict[str, str], name: str, default: int) -> int:
    text = flags.get(name)
    if text is None or text in {"auto", "-1"}:
        return default
    if not text.isdecimal():
        raise ContainerCrash(f"vllm serve: error: argument {name}: invalid int value: {text!r}")
    return int(text)


def _fraction(flags: dict[str, str], name: str, default: float) -> float:
    try:
        value = float(flags.get(name, default))
    except ValueError as error:
        raise ContainerCrash(f"vllm serve: error: argument {name}: invalid float value: {flags[name]!r}") from error
    if not 0 < value <= 1:
        raise ContainerCrash(f"ValueError: GPU memory utilization must be in (0, 1]: {value}", 1)
    return value


def _weights(flags: dict[str, str], native: NumberFormat) -> NumberFormat:
    quantization = flags.get("--quantization", "")
    if not quantization:
        return native
    for prefix, weights in (
        ("fp8", NumberFormat.FP8),
        ("mxfp4", NumberFormat.MXFP4),
        ("nvfp4", NumberFormat.NVFP4),
        ("modelopt", NumberFormat.NVFP4),
        ("awq", NumberFormat.INT4),
        ("gptq", NumberFormat.INT4),
        ("bitsandbytes", NumberFormat.INT4),
        ("int8", NumberFormat.INT8),
        ("experts_int8", NumberFormat.INT8),
        ("compressed-tensors", native),
    ):
        if quantization.startswith(prefix):
            return weights
    raise ContainerCrash(f"vllm serve: error: argument --quantization/-q: invalid choice: {quantization!r}")
