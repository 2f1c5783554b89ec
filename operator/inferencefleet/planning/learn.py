"""The fast part of calibration: running averages of log residuals, guarded against what one bad window could do."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log, sqrt

import numpy as np

from inferencefleet.domain.calibration import (
    PROBATION_WINDOWS,
    RESIDUALS_KEPT,
    WINDOWS_KEPT,
    Envelope,
    ShapeCalibration,
    WindowVerdict,
)
from inferencefleet.domain.capacity import ReplicaShape, Scales
from inferencefleet.physics.observed import Observed, prompt_shape
from inferencefleet.physics.operating import most_seqs
from inferencefleet.physics.residence import load
from inferencefleet.physics.ttft import latencies
from inferencefleet.planning.refit import refit
from inferencefleet.planning.windows import Reading

GAIN = 0.3
LARGEST_LOG = log(3.0)
"""Nothing that was learnt leaves [1/3, 3]."""
IMPLAUSIBLE_LOG = 2 * LARGEST_LOG
"""A latency that is off by nine times is one of something else."""
LARGEST_MOVE_LOG = 0.2
"""Of an average, for one window."""
GATE = sqrt(7.378)
"""Standard deviations from which on a window is suspected: 97.5 % of a chi-square with two degrees of freedom."""
SUSPECTS_IN_A_ROW = 3
SIGMA_FLOOR_LOG = 0.08
"""A calibrated model is never trusted further than this."""
SIGMA_GAIN = 0.15
ABS_TO_SIGMA = 1.2533
"""Mean absolute value to standard deviation, for a normal distribution."""
FULL_TRUST_WINDOWS = 6
"""Accepted windows from which on a speed above the prior is believed in full."""
SETTLED_WINDOWS = 6
"""Accepted windows after which 0.7^6 = 12 % of the first error is left in the average."""
TAIL_TRUST = 0.5
"""Of a mean TTFT below the modelled one: plans are for its tail, which a mean tells little of."""
QUANTUM_LOG = 0.02
HYSTERESIS_LOG = 0.03
"""Applied constants stay where they are until the averages have moved this far."""
GUARD_STEP_LOG, GUARD_DECAY, LARGEST_GUARD_LOG = 0.1, 0.8, 0.5


def learn(entry: ShapeCalibration, reading: Reading, shape: ReplicaShape, *, at_s: float) -> ShapeCalibration:
    """`entry` after one more window that may teach, or with one more suspect."""
    window = reading.window
    spread = prompt_shape(reading.lengths)
    observed = Observed(shape, [window], spread)
    expected = float(observed.itl_s(constants(entry))[0])
    measured = np.array([window.itl_s])
    residual = float(observed.factor_log(entry.fitted, measured)[0])
    of_prior = float(observed.factor_log(Scales(), measured)[0])
    innovation = residual - entry.itl_log
    if abs(innovation) > GATE * max(entry.sigma_log, SIGMA_FLOOR_LOG):
        suspects = entry.suspects + 1 if innovation > 0 else entry.suspects - 1
        if (entry.suspects > 0) != (innovation > 0) and entry.suspects:
            suspects = 1 if innovation > 0 else -1
        if abs(suspects) < SUSPECTS_IN_A_ROW:
            return _suspected(replace(entry, suspects=suspects), window.itl_s, expected, at_s)
        entry = replace(entry, suspects=suspects)
    else:
        entry = replace(entry, suspects=0)
    gain = max(GAIN, 1 / (entry.used + 2))
    learnt = replace(
        entry,
        itl_log=_moved(entry.itl_log, residual, gain),
        fitted_itl_log=of_prior - residual,
        sigma_log=_sigma(entry.sigma_log, innovation),
        used=entry.used + 1,
        misses=0,
        envelope=_around(entry.envelope, reading),
        residuals_log=_with_residual(entry, innovation),
        windows=(*entry.windows, window)[-WINDOWS_KEPT:],
        prompt_shape=spread,
        verdict=WindowVerdict.ACCEPTED,
        sentence=(
            f"ITL {1000 * window.itl_s:.2f} ms at a batch of {window.decode_seqs:.1f}, "
            f"{1000 * expected:.2f} ms predicted"
        ),
        updated_s=at_s,
        looked_s=at_s,
    )
    return refit(_first_tokens(learnt, reading, shape, gain), shape)


def constants(entry: ShapeCalibration) -> Scales:
    """The best estimate now, without margins: fitted constants times the average residual."""
    factor = exp(entry.itl_log)
    return replace(
        entry.fitted,
        memory=entry.fitted.memory * factor,
        compute=entry.fitted.compute * factor,
        overhead=entry.fitted.overhead * factor,
    )


def applied(entry: ShapeCalibration, prior: Scales) -> Scales:
    """What capacity is to be computed with: asymmetric trust, and steps instead of breathing.

    What is slower than the prior counts at once. What is faster counts from the end of the probation on, and in full
    after `FULL_TRUST_WINDOWS`: too few replicas cost more than too many. The uncertainty is the prior's until then.
    """
    if entry.used == 0:
        return prior
    trust = min(1.0, max(0.0, (entry.used - PROBATION_WINDOWS + 1) / (FULL_TRUST_WINDOWS - PROBATION_WINDOWS + 1)))
    best, slower = constants(entry), entry.itl_guard_log
    wanted = Scales(
        memory=_trusted(best.memory, slower, trust),
        compute=_trusted(best.compute, slower, trust),
        overhead=_trusted(best.overhead, slower, trust),
        ttft=_trusted(exp(entry.ttft_log), entry.ttft_guard_log, TAIL_TRUST * trust),
        sigma_log=prior.sigma_log
        if entry.used < PROBATION_WINDOWS
        else max(SIGMA_FLOOR_LOG, round(_near(entry.sigma_log, entry.applied), 2)),
    )
    return _stepped(wanted, entry.applied or prior)


def guarded(entry: ShapeCalibration, *, itl_missed: bool, ttft_missed: bool) -> ShapeCalibration:
    """`entry` after a window in which a measured percentile did or did not miss its SLO at a load called safe."""
    return replace(
        entry,
        itl_guard_log=_guard(entry.itl_guard_log, itl_missed),
        ttft_guard_log=_guard(entry.ttft_guard_log, ttft_missed),
    )


def _guard(value: float, missed: bool) -> float:
    if missed:
        return min(LARGEST_GUARD_LOG, value + GUARD_STEP_LOG)
    return 0.0 if value < QUANTUM_LOG else value * GUARD_DECAY


def _first_tokens(entry: ShapeCalibration, reading: Reading, shape: ReplicaShape, gain: float) -> ShapeCalibration:
    """Averages of prefill time and TTFT, against the constants as they are known now."""
    window, scales = reading.window, constants(entry)
    if window.prefill_s is not None:
        predicted = float(Observed(shape, [window], entry.prompt_shape).prefill_s(scales)[0])
        entry = replace(entry, prefill_log=_moved(entry.prefill_log, log(window.prefill_s / predicted), gain))
    if reading.ttft_s is not None:
        most = most_seqs(shape, reading.lengths)
        state = load(shape, reading.lengths, scales, most)
        rate = min(reading.requests_per_s, 0.98 * float(state.rate[-1]))
        residual = log(reading.ttft_s / latencies(state, rate).ttft_mean_s())
        entry = replace(entry, ttft_log=_moved(entry.ttft_log, residual, gain))
    return entry


def _suspected(entry: ShapeCalibration, measured_s: float, predicted_s: float, at_s: float) -> ShapeCalibration:
    return replace(
        entry,
        verdict=WindowVerdict.OUTLIER,
        sentence=(
            f"ITL {1000 * measured_s:.3g} ms where {1000 * predicted_s:.3g} ms were expected: "
            f"suspected, {abs(entry.suspects)} in a row; {SUSPECTS_IN_A_ROW} are news"
        ),
        rejected=entry.rejected + 1,
        misses=entry.misses + 1,
        looked_s=at_s,
    )


def _moved(average: float, residual: float, gain: float) -> float:
    if abs(residual) > IMPLAUSIBLE_LOG:
        return average
    step = max(-LARGEST_MOVE_LOG, min(LARGEST_MOVE_LOG, gain * (residual - average)))
    return max(-LARGEST_LOG, min(LARGEST_LOG, average + step))


def _with_residual(entry: ShapeCalibration, innovation: float) -> tuple[float, ...]:
    """While the average still finds its place, errors are those of the prior and not of predictions to come."""
    if entry.used < SETTLED_WINDOWS:
        return entry.residuals_log
    return (*entry.residuals_log, round(innovation, 4))[-RESIDUALS_KEPT:]


def _sigma(sigma: float, innovation: float) -> float:
    return sigma + SIGMA_GAIN * (min(0.5, ABS_TO_SIGMA * abs(innovation)) - sigma)


def _around(envelope: Envelope | None, reading: Reading) -> Envelope:
    point = (reading.window.decode_seqs, reading.window.prompt_tokens, reading.output_tokens)
    if envelope is None:
        here = [(value, value) for value in point]
        return Envelope(decode_seqs=here[0], prompt_tokens=here[1], output_tokens=here[2])
    return envelope.around(*point)


def _trusted(factor: float, guard_log: float, trust: float) -> float:
    value = log(factor)
    value = guard_log + (value if value >= 0 else trust * value)
    return max(1 / 3, min(3.0, exp(value)))


def _near(sigma: float, before: Scales | None) -> float:
    """Uncertainty moves in steps of 0.02 and more."""
    return sigma if before is None or abs(sigma - before.sigma_log) >= QUANTUM_LOG else before.sigma_log


def _stepped(wanted: Scales, before: Scales) -> Scales:
    return Scales(
        memory=_step(wanted.memory, before.memory),
        compute=_step(wanted.compute, before.compute),
        overhead=_step(wanted.overhead, before.overhead),
        ttft=_step(wanted.ttft, before.ttft),
        sigma_log=wanted.sigma_log,
    )


def _step(wanted: float, before: float) -> float:
    """On a grid, once the averages are far enough away, and no further at once than one bounded move."""
    move = log(wanted / before)
    if abs(move) < HYSTERESIS_LOG:
        return before
    move = max(-LARGEST_MOVE_LOG, min(LARGEST_MOVE_LOG, move))
    return round(exp(QUANTUM_LOG * round((log(before) + move) / QUANTUM_LOG)), 4)
