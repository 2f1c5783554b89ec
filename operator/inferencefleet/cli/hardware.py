"""Models and GPUs as people name them: catalogue ids, a `config.json`, MIG profiles, or numbers of their own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from inferencefleet import catalog
from inferencefleet.api.quantity import BadQuantity, parse_memory
from inferencefleet.catalog.errors import closest
from inferencefleet.cli.refusal import Refusal, refuse
from inferencefleet.domain.hardware import GpuSpec
from inferencefleet.domain.model import ModelSpec
from inferencefleet.physics.memory import GIB

_NUMBERS = {"bandwidth": "bandwidth_gb_per_s", "bf16": "bf16_tflops", "fp8": "fp8_tflops", "fp4": "fp4_tflops"}
_EXAMPLE = "name=MyGPU,memory=80Gi,bandwidth=3350,bf16=989,fp8=1979,nvlink=true (GB/s and dense TFLOPS)"


class Gpu(click.ParamType[GpuSpec]):
    """`H100`, `H100-SXM/3g.40gb`, or `name=MyGPU,memory=80Gi,bandwidth=3350,bf16=989`."""

    name = "gpu"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> GpuSpec:
        if isinstance(value, GpuSpec):
            return value
        try:
            return _explicit(str(value)) if "=" in str(value) else catalog.gpu(str(value))
        except ValueError as error:
            self.fail(f"{error} (--gpu {_EXAMPLE})" if "=" not in str(value) else str(error), param, ctx)


class Gpus(click.ParamType[tuple[GpuSpec, ...]]):
    """Several GPU names with commas between. A GPU in numbers has commas itself: repeat the flag then."""

    name = "gpu,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[GpuSpec, ...]:
        if isinstance(value, tuple):
            return value
        words = [str(value)] if "=" in str(value) else [word for word in str(value).split(",") if word.strip()]
        if not words:
            self.fail("is empty: give at least one GPU, or leave the flag out", param, ctx)
        return tuple(Gpu().convert(word, param, ctx) for word in words)


def _explicit(text: str) -> GpuSpec:
    given: dict[str, str] = {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        key = key.strip().lower()
        if key not in {"name", "memory", "nvlink", *_NUMBERS}:
            near = closest(key, ["name", "memory", "nvlink", *_NUMBERS], count=1)[0]
            raise ValueError(f"{part!r}: {key!r} is not known, closest: {near}; write {_EXAMPLE}")
        given[key] = value.strip()
    if missing := [key for key in ("memory", "bandwidth", "bf16") if key not in given]:
        raise ValueError(f"{text!r}: {missing[0]} is missing; write {_EXAMPLE}")
    try:
        memory_gib = parse_memory(given["memory"]) / GIB
    except BadQuantity as error:
        raise ValueError(f"memory={given['memory']}: {error}") from None
    numbers: dict[str, float] = {}
    for key, name in _NUMBERS.items():
        if key in given:
            try:
                numbers[name] = float(given[key])
            except ValueError:
                raise ValueError(f"{key}={given[key]}: is not a number; write {_EXAMPLE}") from None
    nvlink = given.get("nvlink", "true").lower()
    if nvlink not in ("true", "false"):
        raise ValueError(f"nvlink={nvlink}: write true or false")
    return catalog.gpu_from_values(
        given.get("name", "explicit"), memory_gib=memory_gib, nvlink=nvlink == "true", **numbers
    )


def find_model(id: str | None, config: Path | None) -> ModelSpec:
    """The model with this id, or the one that a Hugging Face `config.json` describes (which wins)."""
    if config is not None:
        return _from_config(id, config)
    if id is None:
        raise Refusal("MODEL: is missing; give a Hugging Face id, --config config.json, or -f fleet.yaml")
    try:
        # An alias shares the shapes of its entry, but the answer names what was asked for.
        return replace(catalog.model(id), id=id)
    except ValueError as error:
        raise refuse("MODEL", id, f"{error} Here that is --config config.json, from the model's page.") from None


def _from_config(id: str | None, path: Path) -> ModelSpec:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise refuse("--config", path, f"cannot be read as JSON ({error}); give a Hugging Face config.json") from None
    if not isinstance(config, dict):
        raise refuse("--config", path, "holds no JSON object; give a Hugging Face config.json")
    try:
        return catalog.model_from_hf_config(id or str(config.get("_name_or_path") or path.stem), config)
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
        says = str(error) if isinstance(error, ValueError) else f"cannot be read ({type(error).__name__}: {error})"
        raise refuse("--config", path, says) from None
