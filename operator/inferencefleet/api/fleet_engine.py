"""The blocks `model` and `engine` of an InferenceFleet: what is served, and how vLLM is started."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from inferencefleet.api.base import ApiModel, Extra, Image, ModelId, VariableName, marks, rule, rules, unless_set
from inferencefleet.api.flags import OWNED_FLAGS
from inferencefleet.domain.fleet import SpeculativeMethod

_OWNED = "[" + ", ".join(f"'{flag}'" for flag in OWNED_FLAGS) + "]"
_IS_OWNED = f"arg.split('=')[0].split('.')[0].replace('_', '-') in {_OWNED}"
NEEDS_NO_DRAFTER = frozenset({SpeculativeMethod.NGRAM, SpeculativeMethod.MTP})
_NO_DRAFTER = "self.method in ['ngram', 'mtp']"

TensorParallelSize = Annotated[
    Literal["auto", 1, 2, 4, 8], Extra({"enum": ["auto", 1, 2, 4, 8]} | marks(int_or_string=True))
]


class KvCacheFormat(StrEnum):
    """`auto` is what vLLM does by default: the format of the model's activations, bf16."""

    AUTO = "auto"
    BF16 = "bf16"
    FP8 = "fp8"


class WeightFormat(StrEnum):
    """`NumberFormat`, and fp16 for bf16: both take two bytes and the same tensor cores."""

    BF16 = "bf16"
    FP16 = "fp16"
    FP8 = "fp8"
    INT8 = "int8"
    INT4 = "int4"
    NVFP4 = "nvfp4"
    MXFP4 = "mxfp4"


class ModelBlock(ApiModel):
    id: ModelId = Field(
        description="Hugging Face id of the model, for example Qwen/Qwen3-32B. It is looked up in the catalogue that "
        "is "
        "built into the operator; for a model that is not there, give spec.model.architecture as well.",
    )
    architecture: Annotated[dict[str, Any], Extra(marks(preserve_unknown_fields=True))] | None = Field(
        None,
        description="Only for models that are not in the built-in catalogue (it wins when both exist): the model's "
        "Hugging Face config.json pasted as YAML, at most 64 KiB; or {like: ID} of a catalogue model with the same "
        "shapes, with nativeWeights and maxContextTokens where they differ; or shapes by hand: layers, hidden, heads, "
        "kvHeads, headDim, ffnHidden, vocab, maxContextTokens, moe and mla. No weights are read.",
    )
    weights: WeightFormat | None = Field(
        None,
        description="Number format of the weights. Default: the format of the published checkpoint, bf16 for most. fp8 "
        "quantises a bf16 checkpoint while loading, halves its memory and speeds up decoding; the other formats need a "
        "checkpoint that is published in them. fp16 counts as bf16. A format that a GPU's tensor cores cannot compute "
        "in saves memory there, not computing time.",
    )
    kv_cache: KvCacheFormat = Field(
        KvCacheFormat.AUTO,
        description="Number format of the KV cache. auto (the default) stores bf16; fp8 doubles the tokens that fit, "
        "at a "
        "small loss of quality.",
    )
    max_model_len: int | None = Field(
        None,
        ge=256,
        le=10_000_000,
        description="Longest prompt plus output of one request, in tokens; vLLM refuses longer requests. Default: the "
        "model's own limit, at most 32768. Larger values leave room for fewer requests at once.",
    )
    served_name: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Model name that clients send in the OpenAI API. Default: spec.model.id.",
    )


class EnvVar(ApiModel):
    name: VariableName = Field(description="Name of the environment variable.")
    value: str | None = Field(None, description="Its value.")
    value_from: Annotated[dict[str, Any], Extra(marks(preserve_unknown_fields=True))] | None = Field(
        None,
        description="Source of the value as in a pod: secretKeyRef, configMapKeyRef, fieldRef or resourceFieldRef.",
    )


class SpeculativeBlock(ApiModel):
    model_config = rules(
        rule(
            f"{_NO_DRAFTER} || has(self.model)",
            "method {self.method} needs a drafter: name it in model (a Hugging Face id), or use ngram, which drafts "
            "from the prompt.",
            at=".method",
        ),
        rule(
            f"!({_NO_DRAFTER}) || !has(self.model)",
            "model is {self.model}, and method {self.method} uses no drafter of its own: remove model, or choose "
            "eagle, eagle3, medusa or draft_model.",
            at=".model",
        ),
    )

    method: SpeculativeMethod = Field(
        description="Who drafts. ngram: the prompt itself, for answers that repeat it (code edits, summaries). eagle, "
        "eagle3, medusa: a trained head that fits this model. mtp: prediction layers of the checkpoint. draft_model: "
        "a small model of the same vocabulary.",
    )
    model: ModelId | None = Field(
        None, description="Hugging Face id of the drafter; for eagle, eagle3, medusa and draft_model only."
    )
    tokens: int = Field(
        3,
        ge=1,
        le=16,
        description="Tokens drafted per request and step. More pay only at a high acceptance. Default 3.",
    )
    acceptance: float = Field(
        0.6,
        ge=0,
        le=1,
        description="The share of drafted tokens that the plan assumes to be accepted, given that the one before was: "
        "an answer gains (1 - a^(tokens+1)) / (1 - a) tokens per step. It falls with temperature and with unfamiliar "
        "prompts. Measure it; below 0.6 drafts rarely pay. Default 0.6.",
    )
    draft_cost_ratio: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Time of drafting one token as a share of one step of the model. Default: from the sizes of both; "
        "needed for a draft model that is not in the built-in catalogue.",
    )


class EngineBlock(ApiModel):
    model_config = rules(
        rule(
            f"{unless_set('speculative', 'maxNumSeqs', 'maxNumBatchedTokens')} || !has(self.speculative.tokens) || "
            "self.maxNumSeqs * (self.speculative.tokens + 1) <= self.maxNumBatchedTokens",
            "speculative.tokens is {self.speculative.tokens}: {self.maxNumSeqs} requests (maxNumSeqs) with so many "
            "drafts each, and one token of their own, are more than maxNumBatchedTokens, {self.maxNumBatchedTokens}. "
            "Lower speculative.tokens or maxNumSeqs.",
            at=".speculative.tokens",
        ),
        rule(
            f"{unless_set('maxNumSeqs', 'maxNumBatchedTokens')} || self.maxNumSeqs <= self.maxNumBatchedTokens",
            "maxNumSeqs is {self.maxNumSeqs}, above maxNumBatchedTokens, {self.maxNumBatchedTokens}: every running "
            "request needs one token of each step. Lower maxNumSeqs or raise maxNumBatchedTokens.",
            at=".maxNumSeqs",
        ),
    )

    image: Image = Field(
        "vllm/vllm-openai:v0.33.0",
        description="Container image of vLLM with a version tag. From v0.18 on vLLM finishes running requests before "
        "it stops; older images abort them. From v0.33 on its latency histograms get a bound at each SLO, so that "
        "attainment is exact. Default vllm/vllm-openai:v0.33.0.",
    )
    tensor_parallel_size: TensorParallelSize = Field(
        "auto",
        description="GPUs of one replica: 1, 2, 4 or 8, or auto (the default), which takes for each GPU type the "
        "smallest "
        "size that fits the model and keeps the SLO.",
    )
    max_num_seqs: int = Field(
        256,
        ge=1,
        le=8192,
        description="Most requests that one replica runs at the same time; the rest wait. Default 256.",
    )
    max_num_batched_tokens: int = Field(
        8192,
        ge=64,
        le=1_048_576,
        description="Most tokens that one engine step computes. Larger steps speed up prompts (TTFT), smaller ones "
        "keep "
        "running requests smooth (ITL). Default 8192.",
    )
    gpu_memory_utilization: float = Field(
        0.90, ge=0.1, le=0.99, description="Share of GPU memory that vLLM may use, 0.1 to 0.99. Default 0.90."
    )
    prefix_caching: bool = Field(
        True,
        description="Keep the KV cache of finished prompts, so that a prompt with the same beginning skips that work. "
        "Default true.",
    )
    speculative: SpeculativeBlock | None = Field(
        None,
        description="Speculative decoding: each step drafts some tokens and verifies them at once. It shortens answers "
        "when few requests run; under load the drafts take compute from other requests and can lower capacity. Plans "
        "with it are marked low confidence until measured. Default: off.",
    )
    extra_args: list[Annotated[str, Field(min_length=1, max_length=1000)]] = Field(
        default_factory=list,
        max_length=64,
        description='More arguments for vllm serve, one per entry, for example "--enable-expert-parallel" or '
        '"--reasoning-parser=qwen3". Flags that have a field here, and --disable-log-stats, are refused.',
        json_schema_extra=marks(
            list_type="atomic",
            validations=[
                rule(
                    f"self.all(arg, !({_IS_OWNED}))",
                    f'extraArgs must not hold "{{self.filter(arg, {_IS_OWNED})[0]}}": the operator passes this flag '
                    "itself or depends on it. Use the field of the same name in spec.model, spec.engine or "
                    "spec.scaling, or remove it.",
                )
            ],
        ),
    )
    env: list[EnvVar] = Field(
        default_factory=list,
        max_length=100,
        description="Environment of the vLLM container, as in a pod; for example HF_TOKEN from a Secret.",
        json_schema_extra=marks(list_type="map", list_map_keys=["name"]),
    )
