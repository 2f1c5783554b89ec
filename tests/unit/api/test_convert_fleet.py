"""From an InferenceFleet manifest to the vocabulary, and from a bad one to sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencefleet.api import convert_fleet
from inferencefleet.api.convert import fleet_from_manifest, pool_from_manifest
from inferencefleet.api.fleet_scaling import ScalingBlock
from inferencefleet.domain.fleet import (
    AWARE_UTILISATION,
    LONE_LOSS,
    FallbackBehavior,
    FallbackTerms,
    Fleet,
    Mode,
    Problem,
    RatePolicy,
    RateRules,
    RateSelect,
    RateUnit,
    Routing,
    ScheduledTraffic,
    SpeculativeMethod,
    SpotPolicy,
    TrafficClass,
)
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.planning.plan import plan
from tests.builders import a_pool_state, a_snapshot, a_state
from tests.unit.api.converting import good, only_problem
from tests.unit.api.manifests import BAD_FLEETS, GONE, Bad, fleet

EXAMPLE = Path(__file__).parents[3] / "examples" / "quickstart" / "fleet.yaml"


def test_the_shortest_manifest_gets_defaults_that_are_right_for_most() -> None:
    found = good()
    assert str(found.key) == "default/chat"
    assert (found.model.id, found.served_name) == ("Qwen/Qwen3-32B", "Qwen/Qwen3-32B")
    assert (found.weights, found.kv_cache) == (NumberFormat.BF16, NumberFormat.BF16)
    assert found.engine.tensor_parallel is None
    assert found.engine.image == "vllm/vllm-openai:v0.33.0"
    assert found.engine.limits.max_model_len_tokens == 32768
    assert (found.engine.drain_s, found.engine.startup_s) == (60, 1800)
    assert [str(slo) for slo in found.slos] == ["itl p95 <= 60ms", "ttft p95 <= 2s"]
    assert found.attainment == 0.99
    assert found.pools is None
    assert (found.spot.policy, found.spot.max_fraction) == (SpotPolicy.HEDGED, 0.5)
    assert (found.scaling.mode, found.scaling.min_replicas, found.scaling.headroom) == (Mode.AUTO, 1, None)
    assert (found.scaling.scale_up_stabilization_s, found.scaling.scale_down_stabilization_s) == (0, 300)
    assert found.scaling.horizon_s is None
    assert (found.scaling.up, found.scaling.down) == (RateRules(), RateRules()), "no rate limit unless one is declared"
    assert found.scaling.fallback == FallbackTerms(behavior=FallbackBehavior.IF_HIGHER)
    assert (found.routing, found.traffic_class, found.schedule) == (Routing.UNIFORM, TrafficClass.INTERACTIVE, ())
    assert (found.priority, found.most_per_hour) == (0, None)


def test_declared_traffic_becomes_a_mix_with_the_declared_means() -> None:
    expected = good().expected
    assert expected.requests_per_s == 4
    assert expected.lengths.mean_prompt_tokens == pytest.approx(1000)
    assert expected.lengths.mean_output_tokens == pytest.approx(250)


def test_the_example_converts() -> None:
    found = fleet_from_manifest(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8")))
    assert isinstance(found, Fleet)
    assert str(found.key) == "default/chat"


def test_the_production_example_can_be_carried_out() -> None:
    fleets, pools = (
        [make(each) for each in yaml.safe_load_all((EXAMPLE.parents[1] / "production" / name).read_text("utf-8"))]
        for name, make in (("fleet.yaml", fleet_from_manifest), ("pools.yaml", pool_from_manifest))
    )
    assert all(isinstance(each, Fleet) for each in fleets), fleets
    world = a_snapshot(*(a_state(each) for each in fleets), pools=tuple(a_pool_state(each) for each in pools))
    for decided in plan(world).fleets:
        assert decided.act, decided.sentence
        assert decided.replicas > 0, decided.sentence
        assert decided.problems == ()


def test_everything_that_is_set_arrives() -> None:
    found = good(
        {
            "metadata.annotations": {"inferencefleet.io/paused": "true"},
            "spec.model.weights": "fp8",
            "spec.model.kvCache": "fp8",
            "spec.model.maxModelLen": 8192,
            "spec.model.servedName": "chat",
            "spec.engine.tensorParallelSize": 2,
            "spec.engine.extraArgs": ["--enforce-eager"],
            "spec.engine.env": [{"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}}],
            "spec.placement.pools": ["b", "a"],
            "spec.placement.spot": {"policy": "Never", "maxFraction": 0},
            "spec.scaling.horizon": "1.5m",
            "spec.scaling.behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
            "spec.scaling.drain": "2m",
        }
    )
    assert (found.weights, found.kv_cache, found.served_name) == (NumberFormat.FP8, NumberFormat.FP8, "chat")
    assert found.engine.limits.max_model_len_tokens == 8192
    assert (found.engine.tensor_parallel, found.engine.extra_args) == (2, ("--enforce-eager",))
    assert dict(found.engine.env[0]) == {
        "name": "HF_TOKEN",
        "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}},
    }
    assert found.pools == ("a", "b")
    assert (found.spot.policy, found.scaling.horizon_s, found.engine.drain_s) == (SpotPolicy.NEVER, 90, 120)
    assert found.scaling.scale_down_stabilization_s == 0
    assert found.annotations == {"inferencefleet.io/paused": "true"}


def test_behavior_is_read_as_a_horizontal_pod_autoscaler_writes_it() -> None:
    behavior = """
scaleUp:
  stabilizationWindowSeconds: 30
  selectPolicy: Min
  tolerance: 0.05
  policies:
  - {type: Pods, value: 4, periodSeconds: 60}
  - {type: Percent, value: 50, periodSeconds: 120}
scaleDown:
  selectPolicy: Disabled
"""
    scaling = good({"spec.scaling.behavior": yaml.safe_load(behavior)}).scaling
    assert scaling.scale_up_stabilization_s == 30
    assert scaling.up == RateRules(
        select=RateSelect.MIN,
        tolerance=0.05,
        policies=(
            RatePolicy(unit=RateUnit.PODS, value=4, period_s=60),
            RatePolicy(unit=RateUnit.PERCENT, value=50, period_s=120),
        ),
    )
    assert (scaling.down.select, scaling.scale_down_stabilization_s) == (RateSelect.DISABLED, 300)


def test_what_the_plan_must_know_of_traffic_and_money_arrives() -> None:
    window = {"cron": "30 7 * * MON-FRI", "timezone": "Europe/Berlin", "duration": "10h", "requestsPerSecond": 12}
    found = good(
        {
            "spec.traffic.class": "batch",
            "spec.traffic.routing": "PrefixAware",
            "spec.traffic.schedule": [window],
            "spec.scaling.headroom": 0.6,
            "spec.scaling.fallback": {"behavior": "static", "replicas": 4},
            "spec.priority": 100,
        }
    )
    assert (found.traffic_class, found.routing, found.priority) == (TrafficClass.BATCH, Routing.PREFIX_AWARE, 100)
    assert found.schedule == (
        ScheduledTraffic(cron="30 7 * * MON-FRI", timezone="Europe/Berlin", duration_s=36_000.0, requests_per_s=12.0),
    )
    assert (found.scaling.headroom, found.utilisation_of(1), found.utilisation_of(50)) == (0.6, 0.6, 0.6)
    assert found.scaling.fallback == FallbackTerms(behavior=FallbackBehavior.STATIC, replicas=4)


def field_says(name: str) -> str:
    return str(ScalingBlock.model_fields[name].description)


def test_without_headroom_a_load_aware_router_is_planned_closer_to_capacity() -> None:
    even, aware = good(), good({"spec.traffic.routing": "LoadAware"})
    for replicas in (2, 8, 100):
        assert 0 < even.utilisation_of(replicas) < aware.utilisation_of(replicas) < 1
    says = field_says("headroom")
    shares = (
        f"{even.utilisation_of(8):g} for Uniform and {AWARE_UTILISATION:g} - {LONE_LOSS:g} / replicas for LoadAware"
    )
    assert shares in says, "kubectl explain tells the numbers that count"
    assert aware.utilisation_of(8) == AWARE_UTILISATION - LONE_LOSS / 8


@pytest.mark.parametrize(
    ("budget", "per_hour"),
    [
        ({"maxHourly": 40}, 40.0),
        ({"maxMonthly": 14_600}, 20.0),
        ({"maxHourly": 40, "maxMonthly": 14_600}, 20.0),
        ({"maxHourly": 10, "maxMonthly": 14_600}, 10.0),
    ],
)
def test_a_budget_is_the_tighter_of_its_limits_per_hour(budget: dict[str, float], per_hour: float) -> None:
    assert good({"spec.budget": budget}).most_per_hour == pytest.approx(per_hour)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("cron", "61 7 * * *", "is no time that comes"),
        ("cron", "0 7 31 2 *", "is no time that comes"),
        ("timezone", "Mars/Olympus_Mons", "is no time zone that is known here; write an IANA name"),
    ],
)
def test_a_window_that_never_opens_is_refused(field: str, value: str, says: str) -> None:
    window = {"cron": "0 7 * * *", "duration": "1h", "requestsPerSecond": 4, field: value}
    found = only_problem({"spec.traffic.schedule": [window]})
    assert (found.field, found.value) == (f"spec.traffic.schedule[0].{field}", value)
    assert says in found.sentence


def test_without_speculation_a_step_gives_one_token() -> None:
    assert good().engine.speculative is None
    assert good().engine.speculation is None


@pytest.mark.parametrize(
    ("block", "cost"),
    [
        ({"method": "ngram"}, 0.0),
        # one of 64 layers and the output head: (31.2e9 / 64 + 0.78e9) / 31.98e9 parameters
        ({"method": "eagle3", "model": "acme/eagle3-qwen3-32b"}, 0.0396),
        ({"method": "mtp"}, 0.0396),
        ({"method": "medusa", "model": "acme/medusa"}, 0.0251),
        ({"method": "draft_model", "model": "Qwen/Qwen3-0.6B"}, 0.0186),
        ({"method": "draft_model", "model": "acme/own", "draftCostRatio": 0.1}, 0.1),
    ],
)
def test_drafting_costs_what_the_shapes_of_both_models_say_unless_told(block: dict[str, Any], cost: float) -> None:
    found = good({"spec.engine.speculative": block | {"tokens": 4, "acceptance": 0.7}}).engine.speculative
    assert found is not None
    assert (found.method, found.draft_model) == (SpeculativeMethod(block["method"]), block.get("model"))
    assert (found.assumed.draft_tokens, found.assumed.acceptance) == (4, 0.7)
    assert found.assumed.draft_cost_ratio == pytest.approx(cost, rel=0.01)


def test_an_unknown_draft_model_needs_its_cost() -> None:
    found = only_problem({"spec.engine.speculative": {"method": "draft_model", "model": "acme/tiny"}})
    assert (found.code, found.field, found.value) == ("UnknownModel", "spec.engine.speculative.model", "acme/tiny")
    assert "spec.engine.speculative.draftCostRatio" in found.sentence


def test_a_draft_model_of_another_vocabulary_is_refused() -> None:
    found = only_problem({"spec.engine.speculative": {"method": "draft_model", "model": "meta-llama/Llama-3.1-8B"}})
    assert found.field == "spec.engine.speculative.model"
    assert "vocabulary of 128,256 tokens, and Qwen/Qwen3-32B has 151,936" in found.sentence


@pytest.mark.parametrize("bad", BAD_FLEETS, ids=str)
def test_a_bad_fleet_is_refused_with_field_value_rule_and_way_out(bad: Bad) -> None:
    found = fleet_from_manifest(bad.manifest)
    assert not isinstance(found, Fleet)
    text = "\n".join(str(problem) for problem in found)
    for words in bad.converter_says:
        assert words in text


def test_refused_values_are_shown_as_they_were_written() -> None:
    assert only_problem({"spec.model.weights": "int4"}).value == "int4"
    found = only_problem({"spec.model.id": "acme/own", "spec.model.architecture": {"layers": 32, "hiden": 4096}})
    assert (found.field, found.value) == ("spec.model.architecture", "hiden, layers")


def test_several_mistakes_are_all_named_at_once() -> None:
    found = fleet_from_manifest(fleet({"spec.slo.0.target": "800", "spec.scaling.mode": "auto", "spec.model": GONE}))
    assert isinstance(found, tuple)
    assert {problem.field for problem in found} == {"spec.slo[0].target", "spec.scaling.mode", "spec.model"}


def test_a_fleet_is_converted_once_for_each_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = fleet({"metadata.uid": "one", "metadata.generation": 7})
    first = fleet_from_manifest(manifest)
    monkeypatch.setattr(convert_fleet, "_lengths", lambda _: pytest.fail("converted again"))
    assert fleet_from_manifest(manifest) is first


def test_a_new_annotation_arrives_without_a_new_generation() -> None:
    good({"metadata.uid": "two", "metadata.generation": 1})
    paused = good({"metadata.uid": "two", "metadata.generation": 1, "metadata.annotations": {"a": "b"}})
    assert paused.annotations == {"a": "b"}


def test_a_new_generation_is_converted_anew() -> None:
    good({"metadata.uid": "three", "metadata.generation": 1})
    assert good({"metadata.uid": "three", "metadata.generation": 2, "spec.attainment": 0.9}).attainment == 0.9


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PATHS = st.sampled_from(
    [
        "metadata",
        "metadata.annotations",
        "metadata.generation",
        "spec",
        "spec.model",
        "spec.model.architecture",
        "spec.engine",
        "spec.engine.env",
        "spec.slo",
        "spec.slo.0",
        "spec.slo.0.target",
        "spec.traffic.expected",
        "spec.traffic.expected.promptTokens.mean",
        "spec.traffic.expected.promptTokens.p95",
        "spec.scaling.horizon",
        "spec.placement.pools",
    ]
)


@settings(max_examples=150, deadline=None)
@given(PATHS, JSON)
def test_no_manifest_makes_the_conversion_raise(path: str, value: object) -> None:
    found = fleet_from_manifest(fleet({path: value}))
    assert isinstance(found, Fleet) or all(isinstance(problem, Problem) for problem in found)


def test_weights_that_the_engine_cannot_make_of_the_checkpoint_are_refused_before_a_pod_is_made() -> None:
    refused = only_problem({"spec.model.weights": "int4"})
    assert (refused.field, refused.value) == ("spec.model.weights", "int4")
    assert "bf16 to fp8 only" in refused.sentence
    assert good({"spec.model.weights": "fp8"}).weights == "fp8"
