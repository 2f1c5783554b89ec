"""Number format of a published checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inferencefleet.domain.hardware import NumberFormat

_NAMES = ("quant_method", "quant_algo", "format", "config_groups")
"""What tells the format; the rest of a quantisation config lists layers that are *not* quantised, by names that may
mislead."""


def native_weights(id: str, config: Mapping[str, Any], text: Mapping[str, Any]) -> NumberFormat:
    """By our own `nativeWeights`, the quantisation config, or else what the id says (some configs leave it out)."""
    if text.get("nativeWeights"):
        return NumberFormat(text["nativeWeights"])
    quantization = config.get("quantization_config") or text.get("quantization_config") or {}
    if isinstance(quantization, Mapping):
        quantization = [quantization.get(name) for name in _NAMES]
    told = f"{quantization} {text.get('expert_dtype')}".lower()
    told += " " + id.lower()
    bits4 = "'num_bits': 4" in told
    if "mxfp4" in told:
        return NumberFormat.MXFP4
    if "nvfp4" in told or (bits4 and "'type': 'float'" in told):
        return NumberFormat.NVFP4
    if bits4 or any(mark in told for mark in ("awq", "gptq", "w4a16", "int4")):
        return NumberFormat.INT4
    if "int8" in told or "w8a8" in told or ("'num_bits': 8" in told and "'type': 'int'" in told):
        return NumberFormat.INT8
    return NumberFormat.FP8 if "fp8" in told else NumberFormat.BF16
