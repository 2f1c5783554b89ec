"""Training and test rows, split by deployment and never by row.

A deployment is an engine family with one architecture in one number format on one GPU type, at all tensor-parallel
sizes. The source is left out on purpose: aiconfigurator's file curates InferenceMAX runs, so the same deployment comes
from both; and models of the same shapes (DeepSeek R1 and V3, Llama 3.1 and 3.3) are one. Names come from the rows
alone, so the split does not move when the catalogue grows.
"""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum
from functools import lru_cache

from benchmarks.accuracy_parts.naming import engine_family, gpu_key, model_key
from benchmarks.accuracy_parts.rows import Row

SEED = 13
"""The first that puts each kind of run (engine, dense or MoE, load) on both sides; no error was looked at."""
TRAIN_SHARE = 0.5


class Side(StrEnum):
    TRAIN = "train"
    TEST = "test"


def deployment(row: Row) -> str:
    """A readable name that two rows share exactly when they may not be on different sides."""
    return _deployment(row.engine, row.model, row.gpu, row.precision)


def side(row: Row, seed: int = SEED) -> Side:
    """The side of a row; the same on every machine."""
    digest = hashlib.blake2b(f"{seed} {deployment(row)}".encode(), digest_size=8).digest()
    return Side.TRAIN if int.from_bytes(digest, "big") / 2**64 < TRAIN_SHARE else Side.TEST


@lru_cache(maxsize=4096)
def _deployment(engine: str, model: str, gpu: str, precision: str) -> str:
    label = re.sub(r"[^a-z0-9.]+", "", precision.lower())
    label = "16bit" if label in {"", "auto", "bf16", "bfloat16", "fp16", "float16", "half"} else label
    return " ".join((engine_family(engine), model_key(model), gpu_key(gpu), label))
