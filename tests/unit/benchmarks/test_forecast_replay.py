"""The replay of forecasts counts what it says, and shows the forecaster nothing of the future."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.forecast import AZURE, MEAN_PER_S, RAW_S, Series, azure, bounds_of, servegen
from benchmarks.forecast import _score as score


def a_series(minutes: int = 200) -> Series:
    at_s = 60.0 * np.arange(minutes)
    return Series("made up", at_s, 10 + np.sin(at_s / 600))


def test_every_request_of_the_recorded_hour_is_in_the_windows_that_follow_each_other() -> None:
    series = azure(tick_s=60.0)
    assert AZURE.is_file()
    assert 19_000 < 60 * series.rate.sum() <= 19_366


def test_gaps_of_the_log_are_no_traffic(tmp_path: Path) -> None:
    rates = [100.0] * 20 + [0.0] * 3 + [100.0] * 20
    lines = ["t_s,total_rate_rps", *(f"{RAW_S * index:.0f},{rate}" for index, rate in enumerate(rates))]
    (tmp_path / "rates.csv").write_text("\n".join(lines))
    series = servegen("any", tmp_path / "rates.csv", seed=1)
    assert series.rate.min() > 0
    assert series.rate.mean() == pytest.approx(MEAN_PER_S, rel=0.02)
    assert np.diff(series.at_s).max() == pytest.approx(3 * RAW_S + 60)


def test_a_bound_is_held_against_the_rate_one_horizon_later() -> None:
    series = a_series()
    perfect = np.append(series.rate[3:], [math.nan] * 3)
    found = score(series, perfect, 180.0, 0.9)
    assert (found.held, found.loss) == (1.0, 0.0)
    assert score(series, perfect - 1, 180.0, 0.9).loss == pytest.approx(0.9)
    assert score(series, perfect + 1, 180.0, 0.9).loss == pytest.approx(0.1)


def test_what_comes_later_changes_no_earlier_bound() -> None:
    series = a_series(120)
    later = replace(series, rate=np.where(np.arange(120) >= 80, 50.0, series.rate))
    before, after = (bounds_of(each, 180.0, 0.9)["blend"] for each in (series, later))
    assert before[:80].tolist() == after[:80].tolist()
    assert before[80] < after[80]
