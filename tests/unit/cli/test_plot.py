"""`--plot` writes a picture when matplotlib is there, and says what to install when it is not."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from inferencefleet.cli.plot.roofline import roofline
from inferencefleet.domain.capacity import Scales
from inferencefleet.physics.lengths import lognormal_mix
from inferencefleet.physics.step import StepModel
from inferencefleet.physics.weights import parameters
from tests.unit.cli.runner import CHAT, refusal, run
from tests.unit.cli.test_size import shape

SIZE = ("size", "Qwen/Qwen3-32B", "--gpu", "H100", *CHAT)


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "out.png"
    assert run(*SIZE, "--plot", path).exit_code == 0
    assert path.read_bytes().startswith(b"\x89PNG\r\n")


def test_the_axes_have_units_and_the_objectives_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "out.svg"
    assert run(*SIZE, "--plot", path).exit_code == 0
    text = path.read_text()
    for words in ("FLOP/byte", "TFLOP/s", "requests/s", "(ms)", "SLO ttft p95 &lt;= 2s", "SLO itl p95 &lt;= 60ms"):
        assert f"<!-- {words}" in text or words in text, words


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text = refusal(*SIZE, "--plot", tmp_path / "out.png")
    assert "pip install 'inferencefleet[plot]'" in text


@pytest.mark.parametrize(("name", "says"), [("out.gif", ".png"), ("no/such/folder/out.png", "cannot be written")])
def test_a_picture_that_cannot_be_written_is_refused(tmp_path: Path, name: str, says: str) -> None:
    assert says in refusal(*SIZE, "--plot", tmp_path / name)


def test_the_roofline_has_decode_left_of_the_ridge_and_long_prefill_right_of_it() -> None:
    lengths = lognormal_mix(prompt_mean=1000, output_mean=250)
    roof = roofline(shape(), lengths, Scales())
    decode = [point for point in roof.points if point.kind == "decode"]
    assert all(point.intensity_flop_per_byte < roof.ridge_flop_per_byte for point in decode)
    last = roof.points[-1]
    assert (last.kind, last.label) == ("prefill", "8192")
    assert last.intensity_flop_per_byte > roof.ridge_flop_per_byte
    step_s = StepModel(shape()).seconds(0, 0, 8192, 4096)
    assert last.flop_per_s == pytest.approx(2 * parameters(shape().model).active * 8192 / step_s)


def test_no_step_is_above_the_roof() -> None:
    roof = roofline(shape(), lognormal_mix(prompt_mean=1000, output_mean=250), Scales())
    for point in roof.points:
        limit = min(roof.peak_flop_per_s, point.intensity_flop_per_byte * roof.bandwidth_bytes_per_s)
        assert point.flop_per_s <= limit
        assert np.isfinite(point.flop_per_s)
