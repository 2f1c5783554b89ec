"""How the servers of measured runs were started: flags that change the answer and are not columns of the table.

Published with the runs, so no measured latency is looked at. What is not published gets vLLM's defaults.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.accuracy_parts.rows import Row
from inferencefleet.domain.capacity import EngineLimits
from inferencefleet.domain.hardware import GpuSpec, NumberFormat
from inferencefleet.domain.model import ModelSpec

MAX_MODEL_LEN_TOKENS = 131_072
LARGE_GPU_BYTES = 70 * 2**30
BLACKWELL = ("B200", "B300", "GB200", "GB300")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What one run's server was told."""

    limits: EngineLimits
    kv_cache: NumberFormat


def is_inferencemax(row: Row) -> bool:
    """InferenceMAX/InferenceX runs, also those that aiconfigurator curates: nominal lengths of a power of two."""
    named = any(word in row.source.lower() for word in ("inferencemax", "inferencex", "aic_silicon"))
    nominal = all(value and value.is_integer() and int(value) & (int(value) - 1) == 0 for value in (row.isl, row.osl))
    return named and nominal


def server_settings(row: Row, model: ModelSpec, gpu: GpuSpec) -> ServerSettings:
    """Flags of the run's server.

    A vLLM server takes 1024 sequences and 8192 batched tokens on GPUs of 70 GiB or more except A100, else 256 and 2048
    (`EngineArgs`, vLLM 0.10-0.13). The variants of the KubeCon demo state theirs in its manifests. InferenceX keeps its
    launch scripts beside the results (SemiAnalysisAI/InferenceX, benchmarks/70b_fp8_*.sh, gptoss_fp4_*.sh, Oct 2025 to
    Jan 2026): Llama 70B runs with an fp8 KV cache everywhere and gpt-oss on Blackwell, and gpt-oss captures CUDA graphs
    up to 2048 tokens.
    """
    if "kubecon" in row.source:
        seqs = 192 if "batch_size" in row.engine_version else 128
        return ServerSettings(
            limits=EngineLimits(max_num_seqs=seqs, max_model_len_tokens=512), kv_cache=NumberFormat.BF16
        )
    large = gpu.memory_bytes >= LARGE_GPU_BYTES and not gpu.name.upper().startswith("A100")
    gpt_oss = is_inferencemax(row) and "gpt-oss" in model.id
    llama = is_inferencemax(row) and "70b" in model.id.lower() and model.moe is None
    return ServerSettings(
        limits=EngineLimits(
            max_num_seqs=1024 if large else 256,
            max_num_batched_tokens=8192 if large else 2048,
            max_model_len_tokens=max(MAX_MODEL_LEN_TOKENS, math.ceil((row.isl or 0) + (row.osl or 0))),
            cuda_graph_tokens=2048 if gpt_oss else EngineLimits().cuda_graph_tokens,
        ),
        kv_cache=NumberFormat.FP8 if llama or (gpt_oss and gpu.name in BLACKWELL) else NumberFormat.BF16,
    )
