"""Calibration between the planner and `status.calibration`: written for people, read back by the next operator."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import exp, isfinite, log
from typing import Any

from pydantic import ValidationError

from inferencefleet.api.status_calibration import MEMORY_VERSION, CalibrationMemory, CalibrationStatus
from inferencefleet.api.times import from_timestamp, to_timestamp
from inferencefleet.domain.calibration import (
    PROMPT_GROUPS,
    RESIDUALS_KEPT,
    Envelope,
    ShapeCalibration,
    ShapeKey,
    Window,
    WindowVerdict,
)
from inferencefleet.domain.capacity import Scales
from inferencefleet.physics.intervals import interval_log

_FIELDS = (
    "decode_seqs", "context_tokens", "prompts_per_s", "prompt_tokens", "itl_s", "prefill_s", "prefix_hit_ratio",
)  # fmt: skip
_MAY_BE_ABSENT = {"prefill_s": None, "prefix_hit_ratio": 0.0}
_PACKED = struct.Struct(f">{len(_FIELDS)}H")
_LOWEST_LOG, _PER_LOG = -14.0, 2000.0
"""A value is stored as a step on a log scale: 0.05 % fine, from 1e-6 to 1e8. 0 is absent."""


class Unreadable(ValueError):
    """A block that this operator did not write, or that was changed by hand; the message says what is wrong."""


def calibration_block(entries: Sequence[ShapeCalibration]) -> list[dict[str, Any]] | None:
    """`status.calibration`, None when nothing runs yet."""
    return [_status(entry) for entry in entries] or None


def calibration_from_status(status: Mapping[str, Any]) -> tuple[ShapeCalibration, ...]:
    """What the status remembers. A block that cannot be read starts again at the prior, and says why."""
    blocks = status.get("calibration")
    return tuple(_restored(block) for block in blocks or () if isinstance(block, Mapping) and _is_named(block))


def overview(entries: Sequence[ShapeCalibration]) -> str | None:
    """One word and a factor for the column of `kubectl get`; the shape with most windows speaks."""
    if not entries:
        return None
    most = max(entries, key=lambda entry: entry.used)
    return str(most.phase) if most.used == 0 else f"{most.phase} x{exp(most.itl_factor_log):.2f}"


def _status(entry: ShapeCalibration) -> dict[str, Any]:
    lower, upper = interval_log(entry.residuals_log, entry.sigma_log if entry.used else entry.prior_sigma_log)
    applied = entry.applied or Scales(sigma_log=entry.prior_sigma_log)
    learnt = entry.used > 0
    return {
        "pool": entry.pool,
        "shape": str(entry.key),
        "model": entry.key.model,
        "gpu": entry.key.gpu,
        "tensorParallelSize": entry.key.tensor_parallel,
        "state": entry.phase,
        "reason": str(entry.verdict),
        "message": entry.sentence,
        "factor": round(exp(entry.itl_factor_log), 3) if learnt else None,
        "ttftFactor": round(exp(entry.ttft_log + entry.ttft_guard_log), 3) if learnt else None,
        "sigma": round(applied.sigma_log, 2),
        "interval": {"least": round(exp(lower), 3), "most": round(exp(upper), 3)},
        "applied": _scales(applied) if learnt else None,
        "windows": entry.used,
        "rejected": entry.rejected,
        "seen": _seen(entry.envelope),
        "updated": None if entry.updated_s is None else to_timestamp(entry.updated_s),
        "memory": _memory(entry) if learnt else None,
    }


def _memory(entry: ShapeCalibration) -> dict[str, Any]:
    return {
        "version": MEMORY_VERSION,
        "itlLog": round(entry.itl_log, 4),
        "fittedItlLog": round(entry.fitted_itl_log, 4),
        "prefillLog": round(entry.prefill_log, 4),
        "ttftLog": round(entry.ttft_log, 4),
        "itlGuardLog": round(entry.itl_guard_log, 4),
        "ttftGuardLog": round(entry.ttft_guard_log, 4),
        "sigmaLog": round(entry.sigma_log, 4),
        "fitted": _scales(entry.fitted),
        "residuals": " ".join(str(round(1000 * residual)) for residual in entry.residuals_log),
        "windows": pack(entry.windows),
        "promptShape": " ".join(f"{value:g}" for value in entry.prompt_shape),
    }


def _restored(block: Mapping[str, Any]) -> ShapeCalibration:
    key = ShapeKey(
        model=block["model"],
        gpu=block["gpu"],
        tensor_parallel=block["tensorParallelSize"],
        fingerprint=str(block["shape"]).rpartition(" ")[2],
    )
    blank = ShapeCalibration(pool=block["pool"], key=key, sigma_log=Scales().sigma_log)
    if not block.get("memory"):
        return blank
    try:
        return _remembered(CalibrationStatus.model_validate(block), blank)
    except (ValidationError, Unreadable, ValueError) as wrong:
        said = wrong.errors()[0] if isinstance(wrong, ValidationError) else None
        why = str(wrong) if said is None else f"{'.'.join(str(part) for part in said['loc'])}: {said['msg']}"
        return replace(
            blank,
            verdict=WindowVerdict.GARBAGE,
            sentence=f"status.calibration cannot be read ({why}); the prior is used and learning begins again"[:500],
        )


def _remembered(status: CalibrationStatus, blank: ShapeCalibration) -> ShapeCalibration:
    memory = status.memory
    if memory is None or status.applied is None:
        raise Unreadable("applied: missing")
    if memory.version != MEMORY_VERSION:
        raise Unreadable(f"memory.version: {memory.version}, this operator reads {MEMORY_VERSION}")
    for name, value in (*_numbers(memory), ("sigma", status.sigma), *_numbers(status.applied, "applied.")):
        if value is None or not isfinite(value):
            raise Unreadable(f"{name}: not a number")
    sigma = status.sigma or 0.0
    return ShapeCalibration(
        pool=blank.pool,
        key=blank.key,
        sigma_log=memory.sigma_log,
        itl_log=memory.itl_log,
        fitted_itl_log=memory.fitted_itl_log,
        prefill_log=memory.prefill_log,
        ttft_log=memory.ttft_log,
        itl_guard_log=memory.itl_guard_log,
        ttft_guard_log=memory.ttft_guard_log,
        fitted=Scales(memory=memory.fitted.memory, compute=memory.fitted.compute, overhead=memory.fitted.overhead),
        applied=Scales(**status.applied.model_dump(), sigma_log=sigma),
        used=status.windows,
        rejected=status.rejected,
        envelope=_envelope(status),
        residuals_log=_listed("residuals", memory.residuals, 1000.0, RESIDUALS_KEPT),
        windows=unpack(memory.windows),
        prompt_shape=_prompt_shape(memory.prompt_shape),
        verdict=_verdict(status.reason),
        sentence=status.message or "",
        updated_s=_time(status.updated),
    )


def _listed(name: str, text: str, unit: float, most: int) -> tuple[float, ...]:
    """Numbers separated by blanks, in this unit."""
    try:
        values = tuple(float(word) / unit for word in text.split())
    except ValueError as wrong:
        raise Unreadable(f"memory.{name}: {wrong}") from wrong
    if len(values) > most or not all(isfinite(value) for value in values):
        raise Unreadable(f"memory.{name}: more than {most} numbers, or one that is none")
    return values


def _prompt_shape(text: str) -> tuple[float, ...]:
    values = _listed("promptShape", text, 1.0, PROMPT_GROUPS)
    if not values or min(values) <= 0:
        raise Unreadable("memory.promptShape: lengths are positive")
    return values


def _time(text: str | None) -> float | None:
    try:
        return None if text is None else from_timestamp(text)
    except ValueError as wrong:
        raise Unreadable(f"updated: {wrong}") from wrong


def _numbers(model: CalibrationMemory | Any, prefix: str = "memory.") -> list[tuple[str, float | None]]:
    return [(prefix + name, value) for name, value in model if isinstance(value, float)]


def pack(windows: Sequence[Window]) -> str:
    """Windows as text: seven 16-bit steps on a log scale each, base64."""
    packed = (_PACKED.pack(*(_step(getattr(window, name)) for name in _FIELDS)) for window in windows)
    return base64.b64encode(b"".join(packed)).decode("ascii")


def unpack(text: str) -> tuple[Window, ...]:
    """The inverse of `pack`. Raises `Unreadable`."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
        rows = list(_PACKED.iter_unpack(data))
    except (binascii.Error, UnicodeEncodeError, struct.error) as wrong:
        raise Unreadable(f"memory.windows: {wrong}") from wrong
    return tuple(_window(row) for row in rows)


def _window(row: tuple[int, ...]) -> Window:
    values: dict[str, Any] = {}
    for name, step in zip(_FIELDS, row, strict=True):
        if step == 0 and name not in _MAY_BE_ABSENT:
            raise Unreadable(f"memory.windows: {name} is missing")
        values[name] = exp(step / _PER_LOG + _LOWEST_LOG) if step else _MAY_BE_ABSENT[name]
    return Window(**values)


def _step(value: float | None) -> int:
    if value is None or not value > 0:
        return 0
    return max(1, min(65535, round((log(value) - _LOWEST_LOG) * _PER_LOG)))


def _scales(scales: Scales) -> dict[str, float]:
    return {name: round(getattr(scales, name), 4) for name in ("memory", "compute", "overhead", "ttft")}


def _seen(envelope: Envelope | None) -> dict[str, Any] | None:
    if envelope is None:
        return None

    def bounds(values: tuple[float, float], digits: int) -> dict[str, float]:
        return {"least": round(values[0], digits), "most": round(values[1], digits)}

    return {
        "batch": bounds(envelope.decode_seqs, 1),
        "promptTokens": bounds(envelope.prompt_tokens, 0),
        "outputTokens": bounds(envelope.output_tokens, 0),
    }


def _envelope(status: CalibrationStatus) -> Envelope | None:
    seen = status.seen
    if seen is None:
        return None
    return Envelope(
        decode_seqs=(seen.batch.least, seen.batch.most),
        prompt_tokens=(seen.prompt_tokens.least, seen.prompt_tokens.most),
        output_tokens=(seen.output_tokens.least, seen.output_tokens.most),
    )


def _verdict(reason: str) -> WindowVerdict:
    return WindowVerdict(reason) if reason in set(WindowVerdict) else WindowVerdict.NO_METRICS


def _is_named(block: Mapping[str, Any]) -> bool:
    texts = all(isinstance(block.get(name), str) for name in ("pool", "shape", "model", "gpu"))
    return texts and isinstance(block.get("tensorParallelSize"), int)
