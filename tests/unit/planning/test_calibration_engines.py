"""Calibration finds the hidden constants of simulated engines, whose batching and queues owe nothing to the model."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import pytest

from inferencefleet.domain.calibration import CalibrationPhase, WindowVerdict
from inferencefleet.domain.capacity import Scales
from inferencefleet.domain.observation import PoolMetrics
from inferencefleet.simulator.truth import Truth
from tests.calibrating import Learner, point, scaled, with_window
from tests.replay import Pool

TRUTH = Truth(memory=1.25, compute=0.95, overhead=1.3)
HIDDEN = Scales(memory=1.25, compute=0.95, overhead=1.3)
RATES = [6.0, 12.0, 16.0, 8.0, 4.0, 14.0, 10.0, 3.0]
"""Of the whole pool of three engines."""
ENGINES = 3


@lru_cache
def seen(seed: int = 1, truth: Truth = TRUTH, hit_ratio: float = 0.0, rounds: int = 3) -> tuple[PoolMetrics, ...]:
    learner = Learner()
    lengths = replace(learner.lengths, prefix_hit_ratio=hit_ratio)
    pool = Pool(learner.shape, truth, lengths, engines=ENGINES, seed=seed)
    return tuple(pool.windows(RATES * rounds))


def errors(learner: Learner, scales: Scales | None = None) -> tuple[float, float]:
    """(ITL over batches, capacity), log."""
    points = [point(seqs, rate, learner.lengths) for seqs, rate in ((3, 1), (12, 3), (25, 5))]
    return learner.itl_error(HIDDEN, points, scales), learner.capacity_error(HIDDEN, scales)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_hidden_constants_of_engines_are_found_to_a_few_percent(seed: int) -> None:
    learner = Learner(engines=ENGINES)
    learner.show_all(seen(seed))
    assert learner.entry.phase is CalibrationPhase.CALIBRATED
    assert learner.entry.rejected <= 4, learner.entry.sentence
    itl, capacity = errors(learner)
    prior_itl, prior_capacity = errors(learner, Scales())
    assert (prior_itl > 0.15, prior_capacity > 0.1) == (True, True)
    assert itl < 0.05
    assert capacity < 0.5 * prior_capacity


def test_engines_as_modelled_are_called_as_modelled() -> None:
    learner = Learner(engines=ENGINES)
    learner.show_all(seen(3, Truth(), 0.0, 2))
    assert abs(learner.entry.itl_log + learner.entry.fitted_itl_log) < 0.03
    assert abs(learner.entry.ttft_log) < 0.3


def test_a_gauge_that_lies_about_real_engines_is_caught() -> None:
    learner = Learner(engines=ENGINES)
    for window in seen():
        learner.show(scaled(window, 2.0, "running_early", "running_late"))
    assert learner.entry.used == 0
    assert learner.entry.verdict is WindowVerdict.BATCH_MISMATCH


def test_hits_that_real_engines_hide_are_caught() -> None:
    learner = Learner(engines=ENGINES)
    for window in seen(1, TRUTH, 0.6, 1):
        learner.show(with_window(window, prefix_hit_ratio=0.0))
    assert learner.entry.used == 0
    assert learner.entry.verdict is WindowVerdict.HITS_HIDDEN


def test_told_hits_of_real_engines_are_learnt_from() -> None:
    learner = Learner(engines=ENGINES)
    learner.show_all(seen(1, TRUTH, 0.6, 1))
    assert learner.entry.used >= 7
    assert errors(learner)[0] < 0.5 * errors(learner, Scales())[0]
