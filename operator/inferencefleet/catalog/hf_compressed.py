"""Architectures whose layers the plain fields cannot name at all: DeepSeek V4 and Nemotron-NAS."""

from __future__ import annotations

from collections import Counter
from typing import Any

from inferencefleet.catalog.hf_attention import FULL, SLIDING, Heads
from inferencefleet.catalog.hf_fields import Fields
from inferencefleet.domain.model import AttentionGroup

_OVERLAPPING_RATIO = 4
"""Blocks of this size overlap (compressed sparse attention), so their projections are twice as wide; only they have an
index, the heavily compressed ones are read in full."""


def compressed_attention(fields: Fields, layers: int) -> dict[str, Any]:
    """`attention` and `groups` of DeepSeek V4: every layer keeps a short window of single-head entries, most also keep
    one compressed entry for each `compress_ratios[layer]` tokens, and those of ratio 4 pick what they read by an index.

    Queries and the output pass through low-rank projections; the output's are in `o_groups` groups.
    """
    hidden, heads, dim = fields.need("hidden_size"), fields.need("num_attention_heads"), fields.need("head_dim")
    query, output = fields.need("q_lora_rank"), fields.need("o_lora_rank")
    parameters = hidden * query + query * heads * dim + hidden * dim
    parameters += heads * dim * output + fields.need("o_groups") * output * hidden
    entry = Heads(heads=heads, kv_heads=1, key_dim=dim, value_dim=dim)
    window = AttentionGroup(
        kind=SLIDING,
        layers=layers,
        parameters=parameters,
        cached_elements=float(dim),
        width=float(entry.heads * 2 * dim),
    )
    found = [window]
    for ratio, count in sorted(Counter(fields.each("compress_ratios", layers) or ()).items()):
        if not isinstance(ratio, int) or ratio < 0:
            fields.refuse("compress_ratios", f"{ratio!r} is no ratio; each must be a whole number, 0 for none")
        if ratio:
            found.append(_compressed(fields, ratio, count, entry, hidden))
    return {"groups": tuple(found), "attention": ()}


def _compressed(fields: Fields, ratio: int, layers: int, entry: Heads, hidden: int) -> AttentionGroup:
    dim, overlaps = entry.key_dim, ratio == _OVERLAPPING_RATIO
    wide = 2 if overlaps else 1
    parameters = 2 * hidden * wide * dim  # what is compressed, and the weights it is summed with
    selected = index_bytes = index_width = 0.0
    if overlaps:
        index_heads, index_dim = fields.need("index_n_heads"), fields.need("index_head_dim")
        parameters += fields.need("q_lora_rank") * index_heads * index_dim + hidden * index_heads
        parameters += 2 * hidden * wide * index_dim
        selected = float(fields.need("index_topk") * ratio)
        index_bytes, index_width = index_dim / ratio, index_heads * index_dim / ratio
    return AttentionGroup(
        kind=FULL,
        layers=layers,
        parameters=parameters,
        cached_elements=dim / ratio,
        width=entry.heads * 2 * dim / ratio,
        selected_tokens=int(selected) or None,
        index_bytes=index_bytes,
        index_width=index_width,
    )


def searched_blocks(fields: Fields, layers: int) -> dict[str, Any]:
    """Layer fields of a Nemotron-NAS config, in which a search left out attention in some layers and gave each MLP a
    width of its own. MLP widths are averaged over the layers, so totals stay right."""
    hidden, heads = fields.need("hidden_size"), fields.need("num_attention_heads")
    dim = fields.count("head_dim") or hidden // heads
    blocks = fields.each("block_configs", layers) or ()
    kv_heads: Counter[int] = Counter()
    widths = []
    for block in blocks:
        part = Fields(fields.id, block)
        attention, mlp = part.inner("attention"), part.inner("ffn")
        if attention and not attention.flag("no_op"):
            kv_heads[heads // attention.need("n_heads_in_group")] += 1
        widths.append(0 if mlp is None or mlp.flag("no_op") else _width(mlp, hidden))
    groups = tuple(
        Heads(heads=heads, kv_heads=count, key_dim=dim, value_dim=dim).group(hidden, number, FULL)
        for count, number in sorted(kv_heads.items())
    )
    return {
        "groups": groups,
        "attention": (),
        "ffn_hidden": round(sum(widths) / layers),
        "kv_heads": max(kv_heads) if kv_heads else heads,
    }


def _width(mlp: Fields, hidden: int) -> int:
    """Two thirds of four times the model's width, times the multiplier, rounded up to a multiple of 256 (DeciLM)."""
    multiplier = mlp.config.get("ffn_mult")
    if not isinstance(multiplier, int | float) or isinstance(multiplier, bool) or not 0 < multiplier < 100:
        mlp.refuse("ffn_mult", "it must be a number above 0")
    width = int(2 * multiplier * hidden / 3)
    return -(-width // 256) * 256
