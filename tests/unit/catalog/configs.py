"""Architectures as a config.json holds them, small enough to count by hand."""

from __future__ import annotations

from typing import Any

DENSE: dict[str, Any] = {
    "hidden_size": 4096,
    "num_hidden_layers": 4,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}
