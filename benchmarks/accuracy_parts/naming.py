"""From the names that files of measurements use to catalogue entries.

Only the spelling is forgiven (case, separators, vendor words, suffixes that say how a checkpoint was quantised or
tuned). A name that then still is none of the catalogue's is unknown: a near miss would be another model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

from inferencefleet.catalog import (
    UnknownGpu,
    UnknownModel,
    gpu,
    model,
    models,
)
from inferencefleet.domain.hardware import GpuSpec, NumberFormat
from inferencefleet.domain.model import ModelSpec

DATA = Path(__file__).resolve().parent.parent / "data"

_GPU_WORDS = frozenset(
    {
        "nvidia", "amd", "gpu", "instinct", "tensor", "core", "hgx", "dgx", "sxm", "sxm4", "sxm5", "oam", "hbm3",
        "hbm3e", "trt", "pcap", "disagg", "1x", "2x", "4x", "8x", "80gb", "141gb", "180gb", "192gb",
    }
)  # fmt: skip
"""Words of a GPU name that do not change which GPU it is (memory sizes are those of the default variants)."""

_TUNED = frozenset(
    {
        "instruct", "chat", "it", "hf", "base", "kv", "preview", "thinking", "turbo", "reference", "meta", "dynamic",
        "static", "quantized", "pertensor", "block", "0528", "2507", "0324", "2501",
    }
)  # fmt: skip
_FORMAT_WORDS = {
    "fp8": NumberFormat.FP8, "w8a8fp8": NumberFormat.FP8, "float8": NumberFormat.FP8,
    "int8": NumberFormat.INT8, "w8a8": NumberFormat.INT8, "w8a16": NumberFormat.INT8, "8bit": NumberFormat.INT8,
    "int4": NumberFormat.INT4, "w4a16": NumberFormat.INT4, "awq": NumberFormat.INT4, "gptq": NumberFormat.INT4,
    "4bit": NumberFormat.INT4, "marlin": NumberFormat.INT4,
    "nvfp4": NumberFormat.NVFP4, "mxfp4": NumberFormat.MXFP4,
}  # fmt: skip
_PLAIN = frozenset({"", "auto", "native", "bf16", "bfloat16", "fp16", "float16", "half", "16bit"})
_SAME = {
    # Published fine-tunes that keep the architecture of the model they started from.
    "deepseek-ai/DeepSeek-R1-Distill-Llama-70B": "meta-llama/Meta-Llama-3.1-70B",
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": "meta-llama/Meta-Llama-3.1-8B",
    "meta-llama/Meta-Llama-3-8B": "meta-llama/Meta-Llama-3.1-8B",
    "meta-llama/Meta-Llama-3-70B": "meta-llama/Meta-Llama-3.1-70B",
    "meta-llama/Llama-3-8B": "meta-llama/Meta-Llama-3.1-8B",
    "meta-llama/Llama-3-70B": "meta-llama/Meta-Llama-3.1-70B",
    "meta-llama/Llama-3.3-70B": "meta-llama/Meta-Llama-3.1-70B",
    "deepseek-ai/DeepSeek-V3.1-Terminus": "deepseek-ai/DeepSeek-V3",
    "deepseek-ai/dsr1": "deepseek-ai/DeepSeek-R1",
    "bloom-176b": "bigscience/bloom",
}

_ONE_ARCHITECTURE = {
    "deepseekr1": "deepseekv3", "dsr1": "deepseekv3", "deepseekv3.1": "deepseekv3",
    "llama3.170b": "llama70b", "llama3.370b": "llama70b", "llama370b": "llama70b",
    "llama3.18b": "llama8b", "llama38b": "llama8b",
}  # fmt: skip


@lru_cache(maxsize=1024)
def find_gpu(name: str) -> GpuSpec | None:
    """The catalogue's GPU of this name; None when it is none."""
    core = gpu_key(name)
    for candidate in (name, core, core.replace("-", ""), f"{core}-sxm"):
        try:
            return gpu(candidate)
        except UnknownGpu:
            continue
    return None


@lru_cache(maxsize=4096)
def find_model(name: str) -> ModelSpec | None:
    """The catalogue's model of this name; None when it is none."""
    try:
        return model(name)
    except UnknownModel:
        pass
    found = _by_key().get(_key(name))
    return None if found is None else replace(found, id=name)


def weight_format(precision: str, model_name: str, spec: ModelSpec) -> NumberFormat | None:
    """What the weights are stored in, from the label of the run and the name of the checkpoint.

    A model that is published in MXFP4 is served so whatever the label says (labels name the activations there).
    `fp4` is MXFP4 for checkpoints that say so and NVFP4 else. A checkpoint that names its format keeps it under a
    16-bit label. None when the label names no format.
    """
    words = [word for word in re.split(r"[^a-z0-9.]+", precision.strip().lower()) if word]
    label = "".join(words)
    if spec.native_weights is NumberFormat.MXFP4:
        return NumberFormat.MXFP4
    if label == "fp4":
        return NumberFormat.MXFP4 if "mxfp4" in model_name.lower() else NumberFormat.NVFP4
    if label in _PLAIN:
        default = spec.native_weights if label in {"", "auto", "native"} else NumberFormat.BF16
        return _format_in(_words(model_name)) or default
    return _format_in((label, *words))


def _format_in(words: Iterable[str]) -> NumberFormat | None:
    return next((_FORMAT_WORDS[word] for word in words if word in _FORMAT_WORDS), None)


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[\s_\-/:]+", name.strip().lower()) if word]


def _key(name: str) -> str:
    """What two spellings of one model share: the name without organisation, tuning and format words."""
    # Second editions of a quantised checkpoint, as in `DeepSeek-R1-0528-FP4-V2`.
    words = _words(re.sub(r"(fp[48])-v\d$", r"\1", name.strip().lower().rsplit("/", 1)[-1]))
    kept = [word for word in words if word not in _TUNED and word not in _FORMAT_WORDS and word != "fp4"]
    key = re.sub(r"[^a-z0-9.]", "", "".join(kept))
    return re.sub(r"v0\.\d$", "", key)


@cache
def _by_key() -> Mapping[str, ModelSpec]:
    known: dict[str, ModelSpec] = {}
    for id, spec in models().items():
        known.setdefault(_key(id), spec)
    for alias, id in _SAME.items():
        if id in models():
            known.setdefault(_key(alias), models()[id])
    return known


def model_key(name: str) -> str:
    """A name for the shapes of a model that does not depend on the catalogue; unknown models have one as well."""
    key = _key(name) or name.strip().lower()
    return _ONE_ARCHITECTURE.get(key, key)


def gpu_key(name: str) -> str:
    """A name for a GPU type that does not depend on the catalogue."""
    words = re.split(r"[\s_\-/]+", name.strip().lower())
    return "-".join(word for word in words if word not in _GPU_WORDS) or name.strip().lower()


def engine_family(engine: str) -> str:
    """vllm, trtllm (also `trt`), sglang, atom, hf; another engine under its own name."""
    text = engine.strip().lower()
    if text.startswith("hf"):
        return "hf"
    for family, words in (("vllm", ("vllm",)), ("trtllm", ("trt", "tensorrt")), ("sglang", ("sglang",))):
        if any(word in text for word in words):
            return family
    return text or "unnamed"
