"""The picture of `--plot`: roofline, time to first token and inter-token latency versus load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inferencefleet.cli.plot.roofline import Roofline, roofline
from inferencefleet.cli.refusal import Refusal, refuse
from inferencefleet.domain.capacity import ReplicaCapacity, ReplicaShape, Scales
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.slo import Slo, SloMetric
from inferencefleet.physics.curve import LoadCurve, load_curve

_COLOURS = {50: "#7fb3d5", 95: "#1f618d", 99: "#c0392b"}
_ENDINGS = (".png", ".svg", ".pdf")
_MILLISECONDS = 1e3


def draw(
    shape: ReplicaShape,
    lengths: LengthMix,
    slos: Sequence[Slo],
    capacity: ReplicaCapacity,
    scales: Scales,
    planned_requests_per_s: float,
    path: Path,
) -> None:
    """Write the picture. Raises `Refusal` when matplotlib is missing, nothing can be drawn, or the file not written."""
    if path.suffix.lower() not in _ENDINGS:
        raise refuse("--plot", path, f"the ending says the format: use one of {', '.join(_ENDINGS)}")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise Refusal("--plot: needs matplotlib; install it with: pip install 'inferencefleet[plot]'") from None
    try:
        curve = load_curve(shape, lengths, scales)
    except ValueError as error:
        raise refuse("--plot", path, f"there is nothing to draw: {error}") from None
    figure = Figure(figsize=(15, 4.8), layout="constrained")
    prompt, output = lengths.mean_prompt_tokens, lengths.mean_output_tokens
    figure.suptitle(f"{shape}: {prompt:,.0f} prompt and {output:,.0f} output tokens on average")
    left, middle, right = figure.subplots(1, 3)
    _roofline(left, roofline(shape, lengths, scales), shape)
    _latency(middle, curve, SloMetric.TTFT, slos, capacity, planned_requests_per_s)
    _latency(right, curve, SloMetric.ITL, slos, capacity, planned_requests_per_s)
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise refuse("--plot", path, f"cannot be written ({error.strerror}); give another path") from None


def _roofline(axes: Any, roof: Roofline, shape: ReplicaShape) -> None:
    tera = 1e12
    reach = [point.intensity_flop_per_byte for point in roof.points]
    lowest, highest = min(reach) / 2, max(*reach, roof.ridge_flop_per_byte) * 2
    ridge = roof.ridge_flop_per_byte
    axes.loglog(
        [lowest, ridge, highest],
        [lowest * roof.bandwidth_bytes_per_s / tera, roof.peak_flop_per_s / tera, roof.peak_flop_per_s / tera],
        color="black", label=f"datasheet roof, {shape.weights}",
    )  # fmt: skip
    for kind, colour, unit in (("decode", "#1f618d", "requests in the batch"), ("prefill", "#c0392b", "prompt tokens")):
        points = [point for point in roof.points if point.kind == kind]
        axes.loglog(
            [point.intensity_flop_per_byte for point in points],
            [point.flop_per_s / tera for point in points],
            "o-", color=colour, label=f"{kind}, by {unit}",
        )  # fmt: skip
        for point in points:
            axes.annotate(
                point.label, (point.intensity_flop_per_byte, point.flop_per_s / tera), xytext=(4, -11),
                textcoords="offset points", fontsize=8, color=colour,
            )  # fmt: skip
    axes.set_xlabel("arithmetic intensity (FLOP/byte)")
    axes.set_ylabel("replica's speed (TFLOP/s)")
    axes.set_title("Roofline")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(fontsize=8, loc="upper left")


def _latency(
    axes: Any, curve: LoadCurve, metric: SloMetric, slos: Sequence[Slo], capacity: ReplicaCapacity, planned: float
) -> None:
    values = curve.ttft_s if metric is SloMetric.TTFT else curve.itl_s
    for level, seconds in values.items():
        axes.plot(curve.requests_per_s, seconds * _MILLISECONDS, color=_COLOURS.get(level), label=f"p{level}")
    for slo in slos:
        if slo.metric is metric:
            colour = _COLOURS.get(slo.percentile, "grey")
            axes.axhline(slo.target_s * _MILLISECONDS, color=colour, linestyle="--", label=f"SLO {slo}")
    if capacity.serves:
        axes.axvline(capacity.requests_per_s, color="black", linewidth=1, label=f"capacity ({capacity.binding})")
        axes.axvline(planned, color="black", linewidth=1, linestyle=":", label="planned for a replica")
    from matplotlib.ticker import LogFormatter

    axes.set_yscale("log")
    for formatted in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        formatted(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.6)))
    axes.set_xlabel("load of one replica (requests/s)")
    name = "time to first token" if metric is SloMetric.TTFT else "inter-token latency"
    axes.set_ylabel(f"{name} (ms)")
    axes.set_title(name.capitalize())
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.legend(fontsize=8)
