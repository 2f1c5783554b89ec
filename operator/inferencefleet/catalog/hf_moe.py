"""Mixture-of-experts layout of a Hugging Face config."""

from __future__ import annotations

from inferencefleet.catalog.hf_fields import Fields
from inferencefleet.domain.model import MoeShape


def moe(fields: Fields, layers: int) -> MoeShape | None:
    """The experts, or None for a dense model."""
    experts = fields.count("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts")
    if experts <= 1:
        return None
    chosen_by = ("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "top_k_experts", "moe_top_k")
    chosen = fields.need(*chosen_by)
    if chosen > experts:
        name = next(name for name in chosen_by if fields.config.get(name))
        fields.refuse(name, f"a token cannot use more than the {experts} experts there are")
    expert_hidden = fields.need("moe_intermediate_size", "intermediate_size")
    shared = fields.count(
        "moe_shared_expert_intermediate_size", "shared_expert_intermediate_size", "share_expert_dim"
    ) or (fields.count("n_shared_experts", "num_shared_experts") * expert_hidden)
    if fields.config.get("model_type") == "llama4_text":
        shared = expert_hidden
    if fields.flag("enable_moe_block"):
        # Gemma 4 runs a dense MLP beside the experts in each layer: the same cost as a shared expert.
        shared = fields.need("intermediate_size")
    if latent := fields.count("routed_expert_hidden_size"):
        # Experts narrower than the model: fold their width, and the two projections every token passes.
        expert_hidden = round(expert_hidden * latent / fields.need("hidden_size"))
        shared += round(2 * latent / 3)
    return MoeShape(
        experts=experts,
        experts_per_token=chosen,
        expert_hidden=expert_hidden,
        shared_hidden=shared,
        layers=_moe_layers(fields, layers),
    )


def _moe_layers(fields: Fields, layers: int) -> int:
    if isinstance(fields.config.get("moe_layer_freq"), list):
        return sum(1 for flag in fields.each("moe_layer_freq", layers) or () if flag)
    if types := fields.each("mlp_layer_types", layers):
        return sum(1 for kind in types if kind == "sparse")
    step = fields.count("moe_layer_freq", "decoder_sparse_step", "interleave_moe_layer_step") or 1
    dense = set(range(fields.count("first_k_dense_replace"))) | set(fields.each("mlp_only_layers") or ())
    return sum(1 for layer in range(layers) if layer not in dense and (layer + 1) % step == 0)
