"""Thresholds and metric names of the sources: what the product says it does, it does."""

from __future__ import annotations

import pytest

from inferencefleet.adapters.prometheus.queries import NAMES
from tests.seeds.metric_names import METRICS, PREFIX, MetricName
from tests.seeds.rules import RULES, Rule, Stance


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.check], ids=lambda rule: rule.rule)
def test_the_product_does_what_is_said_of_the_rule(rule: Rule) -> None:
    assert rule.check is not None
    assert rule.check(), rule.ours


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.rule)
def test_a_rule_that_is_called_wrong_is_shown_to_be(rule: Rule) -> None:
    assert rule.ours
    if rule.stance is Stance.WRONG:
        assert rule.check is not None
    if rule.stance is Stance.NOT_OURS:
        assert rule.check is None


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.quoted)
def test_each_metric_is_read_under_its_current_name_or_not_at_all(metric: MetricName) -> None:
    bare = metric.quoted.removeprefix(PREFIX)
    if metric.ours is None:
        assert not any(bare in names for names in NAMES.values())
    else:
        assert NAMES[metric.ours][0] == metric.first_name
        assert metric.state == "current" or bare != metric.first_name


def test_metric_names_start_with_a_colon_prefix() -> None:
    assert PREFIX == "vllm:"
