"""`status.calibration`: what is written is read back, is small, and garbage is refused with a sentence."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from typing import Any

import pytest

from inferencefleet.api.convert_calibration import (
    Unreadable,
    calibration_block,
    calibration_from_status,
    overview,
    pack,
    unpack,
)
from inferencefleet.api.status_fleet import FleetStatus
from inferencefleet.domain.calibration import (
    RESIDUALS_KEPT,
    WINDOWS_KEPT,
    CalibrationPhase,
    ShapeCalibration,
    WindowVerdict,
)
from inferencefleet.domain.capacity import Scales
from tests.calibrating import Learner, Synthetic

SMALL_BYTES = 2048
TRUTH = Scales(memory=1.2, compute=0.95, overhead=1.3)


def learnt(windows: int = 60) -> ShapeCalibration:
    learner = Learner()
    source = Synthetic(learner.shape, TRUTH, learner.lengths)
    learner.show_all(source.window((1.0, 2.5, 4.0, 1.5, 3.0)[number % 5]) for number in range(windows))
    return learner.entry


LEARNT = learnt()


def written(entry: ShapeCalibration = LEARNT) -> dict[str, Any]:
    """As the API server hands it back: through the typed model and JSON."""
    status = FleetStatus.model_validate({"calibration": calibration_block([entry])}).to_json()
    return dict(json.loads(json.dumps(status)))


def test_the_fullest_state_of_a_shape_is_smaller_than_two_kilobytes() -> None:
    assert (len(LEARNT.windows), len(LEARNT.residuals_log)) == (WINDOWS_KEPT, RESIDUALS_KEPT)
    (block,) = written()["calibration"]
    assert len(json.dumps(block["memory"], separators=(",", ":"))) < SMALL_BYTES
    shown = {key: value for key, value in block.items() if key != "memory"}
    assert len(json.dumps(shown, separators=(",", ":"))) < SMALL_BYTES / 2


def test_what_a_restarted_operator_reads_is_what_was_learnt() -> None:
    (again,) = calibration_from_status(written())
    assert (again.pool, again.key, again.used, again.rejected) == (LEARNT.pool, LEARNT.key, 60, LEARNT.rejected)
    assert again.applied == LEARNT.applied
    assert again.phase is CalibrationPhase.CALIBRATED
    assert again.verdict is WindowVerdict.ACCEPTED
    for name in ("itl_log", "ttft_log", "prefill_log", "sigma_log", "fitted_itl_log", "itl_guard_log"):
        assert getattr(again, name) == pytest.approx(getattr(LEARNT, name), abs=6e-5)
    assert again.residuals_log == pytest.approx(LEARNT.residuals_log, abs=6e-4)
    assert again.prompt_shape == LEARNT.prompt_shape
    assert again.fitted.memory == pytest.approx(LEARNT.fitted.memory, abs=1e-4)
    for old, new in zip(LEARNT.windows, again.windows, strict=True):
        for name in ("decode_seqs", "context_tokens", "prompts_per_s", "prompt_tokens", "itl_s", "prefill_s"):
            assert getattr(new, name) == pytest.approx(getattr(old, name), rel=3e-4)


def test_a_restart_goes_on_where_it_was_without_a_jump() -> None:
    stays, restarts = Learner(), Learner()
    source = Synthetic(stays.shape, TRUTH, stays.lengths)
    for number in range(40):
        seen = source.window((1.0, 2.5, 4.0)[number % 3])
        stays.show(seen)
        restarts.show(seen)
        restarts.memory = replace(restarts.memory, calibration=calibration_from_status(written(restarts.entry)))
        assert restarts.scales.memory == pytest.approx(stays.scales.memory, rel=0.06)
    assert restarts.entry.used == stays.entry.used == 40


@pytest.mark.parametrize("missing", [True, False])
def test_windows_survive_packing_with_and_without_a_prefill_time(missing: bool) -> None:
    window = replace(LEARNT.windows[0], prefill_s=None) if missing else LEARNT.windows[0]
    (again,) = unpack(pack([window]))
    assert (again.prefill_s is None) == missing
    assert again.itl_s == pytest.approx(window.itl_s, rel=3e-4)


@pytest.mark.parametrize("text", ["not base64!", "AAAA", "é", pack(LEARNT.windows)[:-5]])
def test_windows_that_were_changed_by_hand_are_refused(text: str) -> None:
    with pytest.raises(Unreadable, match=r"memory\.windows"):
        unpack(text)


GARBAGE: dict[str, tuple[tuple[str, ...], Any, str]] = {
    "another version": (("memory", "version"), 7, "memory.version: 7, this operator reads 1"),
    "a word for a number": (("memory", "itlLog"), "fast", "memory.itlLog"),
    "a factor out of reach": (("applied", "memory"), 50.0, "applied.memory"),
    "not a number": (("memory", "sigmaLog"), math.nan, "memory.sigmaLog"),
    "a state nobody knows": (("state",), "Brilliant", "state"),
    "windows that are none": (("memory", "windows"), "AAAA", "memory.windows"),
    "residuals that are none": (("memory", "residuals"), "12 x", "memory.residuals"),
    "prompts of no length": (("memory", "promptShape"), "0.5 0 1.5", "memory.promptShape"),
    "no prompts": (("memory", "promptShape"), "", "memory.promptShape"),
    "a time that is none": (("updated",), "yesterday", "updated"),
    "negative windows": (("windows",), -3, "windows"),
    "no constants": (("applied",), None, "applied"),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_in_the_status_is_refused_with_a_sentence_and_the_prior_is_used(name: str) -> None:
    path, value, words = GARBAGE[name]
    status = copy.deepcopy(written())
    block: Any = status["calibration"][0]
    for part in path[:-1]:
        block = block[part]
    block[path[-1]] = value
    (again,) = calibration_from_status(status)
    assert again.used == 0
    assert again.applied is None
    assert again.verdict is WindowVerdict.GARBAGE
    assert words in again.sentence, again.sentence
    assert "the prior is used" in again.sentence


@pytest.mark.parametrize(
    "status", [{}, {"calibration": None}, {"calibration": []}, {"calibration": "x"}, {"calibration": [3, {"pool": 1}]}]
)
def test_a_status_without_calibration_is_the_prior(status: dict[str, Any]) -> None:
    assert calibration_from_status(status) == ()


def test_people_read_a_factor_an_uncertainty_a_state_and_why() -> None:
    (block,) = written()["calibration"]
    assert block["state"] == "Calibrated"
    assert block["reason"] == "WindowAccepted"
    assert "ms predicted" in block["message"]
    assert block["factor"] == pytest.approx(1.2, abs=0.06)
    assert block["sigma"] == 0.08
    assert block["interval"]["least"] < 1 < block["interval"]["most"]
    assert block["windows"] == 60
    assert block["seen"]["batch"]["most"] > 3 * block["seen"]["batch"]["least"]
    assert overview([LEARNT]) == f"Calibrated x{block['factor']:.2f}"


def test_before_anything_was_learnt_the_status_says_prior_and_why() -> None:
    learner = Learner()
    entry = learner.show(None)
    (block,) = written(entry)["calibration"]
    assert (block["state"], block["reason"]) == ("Prior", "NoMetrics")
    assert "memory" not in block
    assert "factor" not in block
    assert block["sigma"] == round(learner.prior.sigma_log, 2)
    assert overview([entry]) == "Prior"
    assert overview([]) is None
    assert calibration_block([]) is None
