"""Linear-attention and state-space layers of hybrid models: parameters and constant state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inferencefleet.domain.model import AttentionKind, MoeShape

Config = Mapping[str, Any]
STATE_ELEMENT_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def linear_layer(text: Config) -> dict[str, int]:
    """`linear_parameters` and `linear_state_bytes` of one gated-delta-net layer (Qwen 3.5, Kimi); zeros without any."""
    hidden = int(text["hidden_size"])
    element = STATE_ELEMENT_BYTES.get(str(text.get("mamba_ssm_dtype")), 4)
    if nested := text.get("linear_attn_config"):
        heads, dim = int(nested["num_heads"]), int(nested["head_dim"])
        # Query, key, value, gate and output projections.
        return {
            "linear_parameters": 5 * hidden * heads * dim,
            "linear_state_bytes": heads * dim * dim * element,
        }
    if not text.get("linear_num_value_heads"):
        return {"linear_parameters": 0, "linear_state_bytes": 0}
    key = int(text["linear_num_key_heads"]) * int(text["linear_key_head_dim"])
    value_heads = int(text["linear_num_value_heads"])
    value = value_heads * int(text["linear_value_head_dim"])
    return {
        # In: query, key, value, gate and two scalars for each head. Out: one projection.
        "linear_parameters": hidden * (2 * key + 2 * value + 2 * value_heads) + value * hidden,
        "linear_state_bytes": value * int(text["linear_key_head_dim"]) * element,
    }


def fold_nemotron_h(text: Config) -> dict[str, Any]:
    """Layer fields of a Nemotron-H config, whose blocks are Mamba *or* attention *or* MLP *or* MoE.

    `ModelSpec` layers have attention and an MLP each, so blocks without attention become linear layers, and Mamba
    parameters, state and MLP widths are averaged over them: totals stay right. Its MLPs have two matrices (relu2, no
    gate) where `ModelSpec` counts three, hence the factor 2/3.
    """
    names = {"attention": "*", "mamba": "M", "moe": "E", "mlp": "-"}
    blocks = [names.get(kind, kind) for kind in text.get("layers_block_type") or text["hybrid_override_pattern"]]
    count, mamba, experts, mlps = len(blocks), blocks.count("M"), blocks.count("E"), blocks.count("-")
    others = count - blocks.count("*")
    hidden = int(text["hidden_size"])
    heads, dim, state = int(text["mamba_num_heads"]), int(text["mamba_head_dim"]), int(text["ssm_state_size"])
    inner = heads * dim
    mamba_parameters = hidden * (3 * inner + 2 * int(text["n_groups"]) * state + heads)
    element = STATE_ELEMENT_BYTES.get(str(text.get("mamba_ssm_cache_dtype")), 2)
    moe = None
    if experts:
        latent = int(text.get("moe_latent_size") or hidden)
        shared = int(text.get("n_shared_experts") or 0) * int(text.get("moe_shared_expert_intermediate_size") or 0)
        # Experts work in the latent space; the projections into and out of it are read by every token.
        project = latent if latent != hidden else 0
        moe = MoeShape(
            experts=int(text["n_routed_experts"]),
            experts_per_token=int(text["num_experts_per_tok"]),
            expert_hidden=round(2 * latent * int(text["moe_intermediate_size"]) / (3 * hidden)),
            shared_hidden=round(2 * (shared + project) / 3),
            layers=experts,
        )
    ffn = int(text.get("intermediate_size") or 0)
    return {
        "layers": count,
        "attention": tuple(AttentionKind.FULL if kind == "*" else AttentionKind.LINEAR for kind in blocks),
        "moe": moe,
        "ffn_hidden": round(2 * ffn * mlps / (3 * (count - experts))) if mlps else 0,
        "linear_parameters": round(mamba * mamba_parameters / others),
        "linear_state_bytes": round(mamba * inner * state * element / others),
    }
