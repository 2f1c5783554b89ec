"""The control laws of the peers, each behind `simulator.policy.Policy`, by name.

`LAWS` names them; `start(name, **knobs)` gives a fresh policy with the published defaults, changed by what is given.
docs/peers.md says where each comes from and what it cannot see.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from inferencefleet.simulator.laws.aibrix_cost import AibrixCost
from inferencefleet.simulator.laws.aibrix_kpa import AibrixKpa
from inferencefleet.simulator.laws.common import FleetLaw, Knobs, OneLawEach
from inferencefleet.simulator.laws.dynamo_load import DynamoBoth, DynamoLoad
from inferencefleet.simulator.laws.dynamo_throughput import DynamoThroughput
from inferencefleet.simulator.laws.hpa_waiting import HpaOnWaiting
from inferencefleet.simulator.laws.kaito import Kaito
from inferencefleet.simulator.laws.keda_production_stack import KedaProductionStack
from inferencefleet.simulator.laws.llmd_slo import LlmdSlo
from inferencefleet.simulator.laws.skyserve import SkyServeRate, SkyServeSpot
from inferencefleet.simulator.laws.static import Static
from inferencefleet.simulator.laws.wva_percentage import WvaPercentage
from inferencefleet.simulator.laws.wva_tokens import WvaTokens

NEEDED = inspect.Parameter.empty
LOAD = "load."


@dataclass(frozen=True, slots=True)
class Law:
    """How one law is made."""

    make: Callable[..., FleetLaw]
    knobs: Mapping[str, Any]
    """Name and published default of each; `NEEDED` has no default."""
    grid: tuple[Knobs, ...]
    """Combinations of its main knobs that tuning tries."""
    sentence: str


def _spot_over(load: str = "skyserve", **knobs: Any) -> FleetLaw:
    """SkyServe's spot rule over the load law of that name; knobs named `load.KNOB` are the load law's."""
    under = {name.removeprefix(LOAD): value for name, value in knobs.items() if name.startswith(LOAD)}
    own = {name: value for name, value in knobs.items() if not name.startswith(LOAD)}
    return SkyServeSpot(_law(load, under), **own)


def _entry(law: Any, sentence: str, *, make: Callable[..., FleetLaw] | None = None, **more: Any) -> Law:
    parameters = inspect.signature(law).parameters.values()
    knobs = {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    return Law(make or law, MappingProxyType({**more, **knobs}), law.grid(), sentence)


LAWS: Mapping[str, Law] = MappingProxyType(
    {
        "static-peak": _entry(Static, "as many replicas as the peak needs, always"),
        "static-mean": _entry(Static, "as many replicas as the mean demand needs, always"),
        "hpa-waiting": _entry(HpaOnWaiting, "HorizontalPodAutoscaler on waiting requests"),
        "keda-production-stack": _entry(KedaProductionStack, "vLLM production-stack: KEDA on waiting requests"),
        "kaito": _entry(Kaito, "KAITO: KEDA on waiting requests, one pod at a time"),
        "wva-percentage": _entry(WvaPercentage, "llm-d WVA V1: share of KV cache and queue"),
        "wva-tokens": _entry(WvaTokens, "llm-d WVA V2: tokens in the KV cache, by cost"),
        "llmd-slo": _entry(LlmdSlo, "llm-d KEDA law: P90 latency as a share of the SLO"),
        "dynamo-load": _entry(DynamoLoad, "NVIDIA Dynamo: estimated latency of every engine"),
        "dynamo-throughput": _entry(DynamoThroughput, "NVIDIA Dynamo: forecast rate over the profiled rate"),
        "dynamo-both": _entry(DynamoBoth, "NVIDIA Dynamo: load mode over the throughput mode's floor"),
        "skyserve": _entry(SkyServeRate, "SkyServe: request rate over the profiled rate"),
        "skyserve-spot": _entry(
            SkyServeSpot, "SkyServe: spot, and on-demand for what is not ready", make=_spot_over, load="skyserve"
        ),
        "aibrix-kpa": _entry(AibrixKpa, "AIBrix KPA: stable and panic windows on KV cache usage"),
        "aibrix-cost": _entry(AibrixCost, "AIBrix GPU optimizer: cheapest mix by integer program"),
    }
)


def start(name: str, **knobs: Any) -> OneLawEach:
    """A fresh policy. `ValueError` names the law or the knob that does not exist, and the closest that does."""
    _law(name, knobs)
    return OneLawEach(name, lambda: _law(name, knobs))


def _law(name: str, knobs: Mapping[str, Any]) -> FleetLaw:
    if name not in LAWS:
        raise ValueError(f"policy={name!r}: there is no such policy; {_closest(name, LAWS)}")
    law = LAWS[name]
    for knob in knobs:
        if knob not in law.knobs and not (knob.startswith(LOAD) and "load" in law.knobs):
            raise ValueError(f"policy={name!r}, knob={knob!r}: it has no such knob; {_closest(knob, law.knobs)}")
    for knob, default in law.knobs.items():
        if default is NEEDED and knob not in knobs:
            raise ValueError(f"policy={name!r}: knob {knob!r} has no default; give it")
    return law.make(**knobs)


def _closest(wrong: str, right: Mapping[str, Any]) -> str:
    close = get_close_matches(wrong, list(right), n=1)
    return f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(right) or 'none: it has no knobs'}"
