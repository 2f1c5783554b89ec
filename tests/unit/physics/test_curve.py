"""Latency versus load: the curve that charts show."""

from __future__ import annotations

import numpy as np
import pytest

from inferencefleet.domain.capacity import Limit
from inferencefleet.domain.slo import Slo
from inferencefleet.physics.capacity import host_requests_per_s, replica_capacity
from inferencefleet.physics.curve import LoadCurve, load_curve
from inferencefleet.physics.operating import open_loop
from tests.unit.physics.shapes import chat, shape, slo

CURVE = load_curve(shape(), chat())


def every_array(curve: LoadCurve) -> dict[str, np.ndarray]:
    return {
        "requests_per_s": curve.requests_per_s,
        "running": curve.running,
        "itl_mean_s": curve.itl_mean_s,
        "ttft_mean_s": curve.ttft_mean_s,
        "output_tokens_per_s": curve.output_tokens_per_s,
        **{f"itl_p{level}": values for level, values in curve.itl_s.items()},
        **{f"ttft_p{level}": values for level, values in curve.ttft_s.items()},
    }


def test_every_array_has_a_finite_positive_value_for_each_rate() -> None:
    found = every_array(CURVE)
    assert set(CURVE.itl_s) == set(CURVE.ttft_s) == {50, 95, 99}
    for name, values in found.items():
        assert values.shape == (32,), name
        assert np.isfinite(values).all(), name
        assert (values > 0).all(), name


def test_no_latency_falls_as_load_grows() -> None:
    for name, values in every_array(CURVE).items():
        assert (np.diff(values) >= -0.002 * values[:-1]).all(), name


def test_higher_percentiles_are_never_lower() -> None:
    for kind in (CURVE.itl_s, CURVE.ttft_s):
        assert (kind[50] <= kind[95]).all()
        assert (kind[95] <= kind[99]).all()


def test_it_reaches_from_near_zero_to_what_memory_and_slots_hold() -> None:
    held = replica_capacity(shape(), chat(), ()).limits_requests_per_s
    assert CURVE.requests_per_s[0] < 0.02 * CURVE.requests_per_s[-1]
    assert CURVE.requests_per_s[-1] >= min(held[Limit.KV_MEMORY], held[Limit.MAX_SEQS])


def test_a_small_model_ends_where_its_host_does() -> None:
    short = chat(prompt=50)
    small = load_curve(shape("Qwen/Qwen3-0.6B", tensor_parallel=1, max_num_seqs=512, cuda_graph_tokens=8192), short)
    assert small.requests_per_s[-1] == pytest.approx(host_requests_per_s(short))


@pytest.mark.parametrize(
    ("target", "binding"), [(slo("itl", 95, 0.060), Limit.ITL), (slo("ttft", 95, 0.4), Limit.TTFT)]
)
def test_it_meets_a_target_at_the_capacity_for_that_target(target: Slo, binding: Limit) -> None:
    capacity = replica_capacity(shape(), chat(), (target,))
    assert capacity.binding is binding
    values = CURVE.itl_s[95] if binding is Limit.ITL else CURVE.ttft_s[95]
    reached = np.interp(capacity.requests_per_s, CURVE.requests_per_s, values)
    assert reached == pytest.approx(target.target_s, rel=0.1)


def test_a_point_of_it_is_the_operating_point_at_that_rate() -> None:
    point = open_loop(shape(), chat(), float(CURVE.requests_per_s[16]))
    assert CURVE.running[16] == pytest.approx(point.running, rel=0.01)
    assert CURVE.itl_mean_s[16] == pytest.approx(point.itl_mean_s, rel=0.01)


def test_the_number_of_points_and_the_percentiles_can_be_chosen() -> None:
    curve = load_curve(shape(), chat(), points=5, percentiles=(90,))
    assert curve.running.shape == (5,)
    assert set(curve.itl_s) == set(curve.ttft_s) == {90}
    assert curve.output_tokens_per_s == pytest.approx(curve.requests_per_s * 250)


def test_one_point_is_no_curve_and_a_model_that_does_not_fit_has_none() -> None:
    with pytest.raises(ValueError, match="at least 2 points, got 1"):
        load_curve(shape(), chat(), points=1)
    with pytest.raises(ValueError, match=r"leaves .* of KV cache .* It fits with tensor parallelism 2"):
        load_curve(shape(tensor_parallel=1), chat())
