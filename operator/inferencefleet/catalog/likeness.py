"""What the name of an unknown model says: whose shapes it probably has, and in which number format it is published."""

from __future__ import annotations

import re
from collections.abc import Iterable

from inferencefleet.domain.hardware import NumberFormat

_MARKS = (
    (re.compile(r"nvfp4|(?<=nvidia/)(?=.*fp4)"), NumberFormat.NVFP4),
    (re.compile(r"mxfp4"), NumberFormat.MXFP4),
    (re.compile(r"fp8|float8"), NumberFormat.FP8),
    (re.compile(r"w8a8|int8|w8a16|8bit|8-bit"), NumberFormat.INT8),
    (re.compile(r"awq|gptq|w4a16|w4a8|int4|4bit|4-bit"), NumberFormat.INT4),
)
_WORDS = (
    r"nvfp4(?:a16)?|mxfp4|fp4|fp8|fp16|bf16|awq|gptq|int4|int8|w\d+a\d+|g\d+|quantized|dynamic|static|block|kv|bnb|4bit|8bit|"
    r"unsloth|preview|v2|autoround|marlin|gguf|hf|per|tensor|pertensor|asym|sym|gs\d+|128g"
)
_TAIL = re.compile(rf"(?:[-_.](?:{_WORDS}))+$")


def likeness(id: str, known: Iterable[str]) -> tuple[str | None, NumberFormat | None]:
    """The known id of the same name apart from organisation and words of quantisation, and the format they tell."""
    lower = id.strip().lower()
    weights = next((found for mark, found in _MARKS if mark.search(lower)), None)
    name = _TAIL.sub("", lower.rsplit("/", 1)[-1])
    plain: dict[str, str] = {}
    quantised: dict[str, str] = {}
    for other in known:
        tail = other.lower().rsplit("/", 1)[-1]
        plain.setdefault(tail, other)
        quantised.setdefault(_TAIL.sub("", tail), other)
    if name in plain:
        return plain[name], weights
    # Only a quantised checkpoint of it is known: an id that tells no format is then the plain one.
    return quantised.get(name), weights or (NumberFormat.BF16 if name in quantised else None)
