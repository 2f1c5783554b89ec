"""What every model of the API shares: camelCase names, cross-field rules, and the marks that only Kubernetes knows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

from inferencefleet.api.quantity import DURATION_PATTERN, MEMORY_PATTERN, parse_duration, parse_memory

GROUP = "inferencefleet.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

JsonObject = dict[str, Any]


class ApiModel(BaseModel):
    """Unknown fields are ignored: the API server prunes them, and an older operator must survive a newer CRD."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    def to_json(self) -> JsonObject:
        """As the API server wants it: camelCase, absent instead of null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def rule(expression: str, says: str, *, at: str | None = None) -> JsonObject:
    """One CEL rule. In `says`, `{self.x}` stands for the bad value, so that the message can quote it."""
    found: JsonObject = {"rule": expression, **_message(says)}
    if at is not None:
        found["fieldPath"] = at
    return found


def _message(says: str) -> JsonObject:
    """`format` rather than `+ string(x)`: the API server bounds the cost of the former, and refuses the latter."""
    words = re.split(r"\{([^{}]+)\}", says)
    if len(words) == 1:
        return {"message": says}
    text = "%s".join(words[::2]).replace("\\", "\\\\").replace("'", "\\'")
    return {"messageExpression": f"'{text}'.format([{', '.join(words[1::2])}])"}


def rules(*found: JsonObject) -> ConfigDict:
    """Put rules on an object; inherits everything else from `ApiModel`."""
    return ConfigDict(json_schema_extra={"x-kubernetes-validations": list(found)})


def unless_set(*fields: str) -> str:
    """CEL: one of the fields is absent. Needed in blocks that default to `{}`: when the API server takes in the CRD it
    evaluates their rules on that bare default, before the defaults inside it."""
    return " || ".join(f"!has(self.{field})" for field in fields)


def marks(**kubernetes: Any) -> JsonObject:
    """`marks(list_type="map")` is `x-kubernetes-list-type: map`."""
    return {f"x-kubernetes-{name.replace('_', '-')}": value for name, value in kubernetes.items()}


UNREADABLE = "!self.{0}.matches('" + DURATION_PATTERN.replace("\\", "\\\\") + "')"
"""CEL evaluates the rules also when the pattern has failed already, and `duration()` of nonsense is an error."""

EMPTY: JsonObject = {"default": {}}
"""For optional blocks: without an empty default the API server would not fill in the defaults inside."""


@dataclass(frozen=True, eq=False)
class Extra:
    """Adds keys to the JSON schema; unlike `json_schema_extra` it survives a `Field()` at the place of use."""

    keys: JsonObject

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonObject:
        return handler(core) | self.keys


def _text(pattern: str, cure: str, *, longest: int = 16) -> Extra:
    """A short string with a pattern. The rule repeats the pattern in words that help: the API server shows both."""
    escaped = pattern.replace("\\", "\\\\")
    says = f'"{{self}}" is not valid here: write {cure}'
    return Extra(
        {"pattern": pattern, "maxLength": longest} | marks(validations=[rule(f"self.matches('{escaped}')", says)]),
    )


def _like(pattern: str, cure: str) -> AfterValidator:
    """The same pattern for manifests that never met an API server."""

    def checked(text: str) -> str:
        if re.search(pattern, text) is None:
            raise ValueError(f"is not valid here: write {cure}")
        return text

    return AfterValidator(checked)


def _a_duration(text: str) -> str:
    parse_duration(text)
    return text


def _auto_or_a_duration(text: str) -> str:
    return text if text == "auto" else _a_duration(text)


def _a_memory_size(text: str) -> str:
    parse_memory(text)
    return text


Duration = Annotated[
    str,
    AfterValidator(_a_duration),
    _text(DURATION_PATTERN, "a number with a unit (ms, s, m or h), for example 800ms, 2s or 5m"),
]
AutoOrDuration = Annotated[
    str,
    AfterValidator(_auto_or_a_duration),
    _text(f"^auto$|{DURATION_PATTERN}", "auto, or a number with a unit (ms, s, m or h), for example 90s"),
]
Memory = Annotated[
    str,
    AfterValidator(_a_memory_size),
    _text(MEMORY_PATTERN, "a number with a unit (Gi, Mi, Ti, G, M or T), for example 80Gi"),
]
# What ends up in a pod is checked here: a pod that the API server refuses, or that never starts, is found out too late.
_MODEL_ID = (
    r"^[A-Za-z0-9_./][A-Za-z0-9_./:@+=-]*$",
    "a Hugging Face id such as Qwen/Qwen3-32B: letters, digits and ._/:@+=-, not starting with a dash",
)
ModelId = Annotated[str, _like(*_MODEL_ID), _text(*_MODEL_ID, longest=200)]
_IMAGE = (
    r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$",
    "a container image with a tag, for example vllm/vllm-openai:v0.33.0",
)
Image = Annotated[str, _like(*_IMAGE), _text(*_IMAGE, longest=500)]
_VARIABLE = (
    r"^[A-Za-z_][A-Za-z0-9_.-]*$",
    "letters, digits and underscores, not starting with a digit, for example HF_TOKEN",
)
VariableName = Annotated[str, _like(*_VARIABLE), _text(*_VARIABLE, longest=253)]
_EXTENDED_RESOURCE = (
    r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
    "the full name under which nodes offer the GPU, with its domain, for example nvidia.com/gpu",
)
ExtendedResource = Annotated[str, _like(*_EXTENDED_RESOURCE), _text(*_EXTENDED_RESOURCE, longest=253)]
_MIG_PROFILE = (
    r"^(nvidia\.com/)?(mig-)?[1-7]g\.[0-9]+gb([+.][a-z.]+)?$",
    "the profile as nvidia-smi or the device plugin spells it, for example 3g.40gb or nvidia.com/mig-3g.40gb",
)
MigProfile = Annotated[str, _like(*_MIG_PROFILE), _text(*_MIG_PROFILE, longest=63)]
_LABEL_VALUE = (
    r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
    "the value of a node label: letters, digits, dashes, dots and underscores",
)
LabelValue = Annotated[str, _like(*_LABEL_VALUE), _text(*_LABEL_VALUE, longest=63)]
_MONTHS, _DAYS = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC", "SUN|MON|TUE|WED|THU|FRI|SAT"
_CRON = (
    rf"^[0-9*,/-]+ +[0-9*,/-]+ +[0-9*,/L-]+ +([0-9*,/-]|{_MONTHS})+ +([0-9*,/#L-]|{_DAYS})+$",
    "five cron fields (minute, hour, day of month, month, day of week), for example 30 7 * * MON-FRI",
)
Cron = Annotated[str, _like(*_CRON), _text(*_CRON, longest=100)]
_TIME_ZONE = (
    r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9][A-Za-z0-9_+-]*)*$",
    "an IANA time zone, for example UTC or Europe/Berlin",
)
TimeZone = Annotated[str, _like(*_TIME_ZONE), _text(*_TIME_ZONE, longest=64)]
Timestamp = Annotated[str, Extra({"format": "date-time"})]
