"""vLLM flags that `engine.extraArgs` must not name, and what to do instead.

The operator passes these itself, always: their defaults differ by vLLM version and GPU, and the planner must know them.
A flag given twice would win over ours silently, and the plan would be about a replica that does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_BY_FIELD = {
    "set spec.model.id": ("--model",),
    "set spec.model.servedName": ("--served-model-name",),
    "set spec.model.weights": ("--quantization", "-q"),
    "set spec.model.kvCache": ("--kv-cache-dtype",),
    "set spec.model.maxModelLen": ("--max-model-len",),
    "set spec.engine.tensorParallelSize": ("--tensor-parallel-size", "-tp"),
    "set spec.engine.maxNumSeqs": ("--max-num-seqs",),
    "set spec.engine.maxNumBatchedTokens": ("--max-num-batched-tokens",),
    "set spec.engine.gpuMemoryUtilization": ("--gpu-memory-utilization", "--kv-cache-memory-bytes"),
    "set spec.engine.prefixCaching": ("--enable-prefix-caching", "--no-enable-prefix-caching"),
    "set spec.engine.speculative": ("--speculative-config", "-sc", "--spec-method", "--spec-model", "--spec-tokens"),
    "set spec.scaling.drain": ("--shutdown-timeout",),
    "the operator chooses the address and the port of the server; remove it": ("--host", "--port", "--uds"),
    "a replica is one pod with tensor parallelism only; remove it": (
        "--pipeline-parallel-size",
        "-pp",
        "--data-parallel-size",
        "-dp",
    ),
    "it removes every vllm: metric, and without metrics the fleet cannot be scaled; remove it": (
        "--disable-log-stats",
    ),
}

OWNED_FLAGS: Mapping[str, str] = MappingProxyType({flag: cure for cure, flags in _BY_FIELD.items() for flag in flags})
"""Flag -> the way out."""


def flag_of(argument: str) -> str:
    """`--max_num_seqs=64` -> `--max-num-seqs`: vLLM takes underscores for dashes, and `--flag.key=value` for JSON."""
    return argument.partition("=")[0].partition(".")[0].replace("_", "-")
