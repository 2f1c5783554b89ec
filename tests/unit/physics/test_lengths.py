from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencefleet.physics.lengths import lognormal_mix, mix_from_histograms


@settings(deadline=None)
@given(mean=st.floats(50, 20_000), ratio=st.floats(1.2, 3.8))
def test_a_declared_mix_has_the_declared_mean_and_p95(mean: float, ratio: float) -> None:
    mix = lognormal_mix(prompt_mean=mean, prompt_p95=mean * ratio, output_mean=200)
    assert mix.mean_prompt_tokens == pytest.approx(mean, rel=0.01)
    assert np.percentile(mix.prompt_tokens, 95) == pytest.approx(mean * ratio, rel=0.08)


def test_p99_is_used_when_there_is_no_p95() -> None:
    mix = lognormal_mix(prompt_mean=1000, output_mean=200, output_p99=1500)
    assert np.percentile(mix.output_tokens, 99) == pytest.approx(1500, rel=0.1)


def test_prompts_and_outputs_are_independent() -> None:
    mix = lognormal_mix(prompt_mean=1000, prompt_p95=3000, output_mean=200, output_p95=600)
    assert abs(np.corrcoef(np.log(mix.prompt_tokens), np.log(mix.output_tokens))[0, 1]) < 0.05


def test_the_same_declaration_gives_the_same_sample() -> None:
    first, second = (lognormal_mix(prompt_mean=1000, output_mean=200) for _ in range(2))
    assert np.array_equal(first.prompt_tokens, second.prompt_tokens)


def test_a_p95_below_the_mean_is_refused() -> None:
    with pytest.raises(ValueError, match=r"p95 \(500\) is below the mean \(1000\)"):
        lognormal_mix(prompt_mean=1000, prompt_p95=500, output_mean=200)


def test_an_observed_mix_reproduces_its_histogram() -> None:
    bounds = [100, 200, 500, 1000, 2000, float("inf")]
    cumulative = [0.0, 2.0, 5.0, 9.0, 10.0, 10.0]
    mix = mix_from_histograms(bounds, cumulative, [10, float("inf")], [1.0, 1.0])
    for bound, count in zip(bounds[:-1], cumulative, strict=False):
        assert (mix.prompt_tokens <= bound).mean() == pytest.approx(count / 10, abs=0.005)
    assert mix.output_tokens.max() <= 10
    assert mix.source == "observed"


def test_the_infinite_bucket_has_a_finite_width_and_the_known_mean_corrects_it() -> None:
    bounds, counts = [100.0, float("inf")], [5.0, 10.0]
    plain = mix_from_histograms(bounds, counts, bounds, counts)
    assert plain.prompt_tokens.max() <= 200
    told = mix_from_histograms(bounds, counts, bounds, counts, prompt_mean=400.0)
    assert told.mean_prompt_tokens == pytest.approx(400.0, rel=0.01)


def test_an_empty_histogram_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one request"):
        mix_from_histograms([100.0, 200.0], [0.0, 0.0], [10.0], [1.0])
