"""Linear-attention and state-space layers of hybrid models: parameters and constant state."""

from __future__ import annotations

from typing import Any

from inferencefleet.catalog.hf_fields import Fields
from inferencefleet.domain.model import AttentionKind, MoeShape

STATE_ELEMENT_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def linear_layer(fields: Fields) -> dict[str, int]:
    """`linear_parameters` and `linear_state_bytes` of one delta-net layer (Qwen 3.5, Kimi); zeros without any."""
    hidden = fields.need("hidden_size", "n_embd", "d_model")
    element = STATE_ELEMENT_BYTES.get(str(fields.config.get("mamba_ssm_dtype")), 4)
    if nested := fields.inner("linear_attn_config"):
        heads, dim = nested.need("num_heads"), nested.need("head_dim")
        # Query, key, value, gate and output projections; a decay through a narrow layer, and one scalar a head.
        return {
            "linear_parameters": 5 * hidden * heads * dim + hidden * dim + dim * heads * dim + hidden * heads,
            "linear_state_bytes": heads * dim * dim * element,
        }
    if not fields.count("linear_num_value_heads"):
        return {"linear_parameters": 0, "linear_state_bytes": 0}
    key_dim, value_heads = fields.need("linear_key_head_dim"), fields.need("linear_num_value_heads")
    key = fields.need("linear_num_key_heads") * key_dim
    value = value_heads * fields.need("linear_value_head_dim")
    return {
        # In: query, key, value, gate and two scalars for each head. Out: one projection.
        "linear_parameters": hidden * (2 * key + 2 * value + 2 * value_heads) + value * hidden,
        "linear_state_bytes": value * key_dim * element,
    }


def fold_nemotron_h(fields: Fields) -> dict[str, Any]:
    """Layer fields of a Nemotron-H config, whose blocks are Mamba *or* attention *or* MLP *or* MoE.

    `ModelSpec` layers have attention and an MLP each, so blocks without attention become linear layers, and Mamba
    parameters, state and MLP widths are averaged over them: totals stay right. Its MLPs have two matrices (relu2, no
    gate) where three are counted for this model, hence the factor 2/3.
    """
    names = {"attention": "*", "mamba": "M", "moe": "E", "mlp": "-"}
    pattern = fields.config.get("hybrid_override_pattern")
    told = fields.each("layers_block_type") or (list(pattern) if isinstance(pattern, str) else None)
    blocks = [names.get(kind, kind) for kind in told or ()]
    if unknown := [kind for kind in blocks if kind not in names.values()] or (not blocks and ["nothing"]):
        name = "layers_block_type" if fields.config.get("layers_block_type") else "hybrid_override_pattern"
        fields.refuse(name, f"it holds {unknown[0]!r}; known blocks: M or mamba, * or attention, E or moe, - or mlp")
    count, mamba, experts, mlps = len(blocks), blocks.count("M"), blocks.count("E"), blocks.count("-")
    others = count - blocks.count("*")
    hidden = fields.need("hidden_size")
    heads, dim, state = fields.need("mamba_num_heads"), fields.need("mamba_head_dim"), fields.need("ssm_state_size")
    inner = heads * dim
    mamba_parameters = hidden * (3 * inner + 2 * fields.need("n_groups") * state + heads)
    element = STATE_ELEMENT_BYTES.get(str(fields.config.get("mamba_ssm_cache_dtype")), 2)
    ffn = fields.count("intermediate_size")
    return {
        "layers": count,
        "attention": tuple(AttentionKind.FULL if kind == "*" else AttentionKind.LINEAR for kind in blocks),
        "moe": _latent_experts(fields, hidden, experts) if experts else None,
        "ffn_hidden": round(2 * ffn * mlps / (3 * (count - experts))) if mlps else 0,
        "linear_parameters": round(mamba * mamba_parameters / others),
        "linear_state_bytes": round(mamba * inner * state * element / others),
    }


def _latent_experts(fields: Fields, hidden: int, layers: int) -> MoeShape:
    latent = fields.count("moe_latent_size") or hidden
    shared = fields.count("n_shared_experts") * fields.count("moe_shared_expert_intermediate_size")
    # Experts work in the latent space; the projections into and out of it are read by every token.
    project = latent if latent != hidden else 0
    experts, chosen = fields.need("n_routed_experts"), fields.need("num_experts_per_tok")
    if chosen > experts:
        fields.refuse("num_experts_per_tok", f"a token cannot use more than the {experts} experts there are")
    return MoeShape(
        experts=experts,
        experts_per_token=chosen,
        expert_hidden=round(2 * latent * fields.need("moe_intermediate_size") / (3 * hidden)),
        shared_hidden=round(2 * (shared + project) / 3),
        layers=layers,
    )
