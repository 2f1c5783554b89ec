"""What the latency of a window tells of the speed of an engine."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inferencefleet.domain.capacity import Scales
from inferencefleet.physics.observed import Observed, prompt_shape
from tests.builders import a_mix
from tests.calibrating import point
from tests.unit.physics.shapes import shape

SHAPE = shape()


@pytest.mark.parametrize("truth", [0.4, 0.6, 1.0, 1.4, 2.5])
@pytest.mark.parametrize("prompts_per_s", [0.1, 2.0, 4.0])
def test_the_factor_that_explains_a_latency_is_the_one_it_was_made_with(truth: float, prompts_per_s: float) -> None:
    mix = a_mix()
    observed = Observed(SHAPE, [point(24.0, prompts_per_s, mix)], prompt_shape(mix))
    itl_s = observed.itl_s(Scales(memory=truth, compute=truth, overhead=truth))
    assert float(observed.factor_log(Scales(), itl_s)[0]) == pytest.approx(math.log(truth), abs=1e-9)


def test_under_a_load_that_would_saturate_the_modelled_engine_the_ratio_of_latencies_exaggerates() -> None:
    mix = a_mix()
    modelled = Observed(SHAPE, [point(24.0, 1.0, mix)], prompt_shape(mix))
    _, extension = modelled._step_and_extension(Scales())
    busy = Observed(SHAPE, [point(24.0, 0.85 / float(extension[0]), mix)], prompt_shape(mix))
    itl_s = busy.itl_s(Scales(memory=0.6, compute=0.6, overhead=0.6))
    assert np.log(itl_s / busy.itl_s(Scales()))[0] < 2 * math.log(0.6)
    assert busy.factor_log(Scales(), itl_s)[0] == pytest.approx(math.log(0.6), abs=1e-9)
