"""A month's compute budget over classes of work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inferencefleet.economics.dollars import usd_per_month


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One line of a budget: GPUs of one type for some hours a month."""

    name: str
    work: str
    """Class of work: `inference`, `fine-tuning`, `training`, `experimentation`, ..."""
    gpu: str
    gpus: int
    hours_per_month: float
    usd_per_gpu_hour: float

    def __post_init__(self) -> None:
        for field in ("gpus", "hours_per_month", "usd_per_gpu_hour"):
            value = getattr(self, field)
            if not value >= 0:
                raise ValueError(f"workload {self.name!r}: {field} = {value:g}: must be 0 or more; give what is used")

    @property
    def usd_per_month(self) -> float:
        return usd_per_month(self.usd_per_gpu_hour, self.gpus, self.hours_per_month)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One workload (or class of work) in the roll-up."""

    name: str
    usd_per_month: float
    share: float
    """Of the whole budget, 0..1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a month costs, by workload and by class of work, in the order given."""

    usd_per_month: float
    workloads: tuple[Line, ...]
    classes: tuple[Line, ...]


def roll_up(workloads: Sequence[Workload]) -> Budget:
    """Sum a month. Nothing is rounded: rounding lines before adding them is how totals stop adding up."""
    total = sum(workload.usd_per_month for workload in workloads)
    by_class: dict[str, float] = {}
    for workload in workloads:
        by_class[workload.work] = by_class.get(workload.work, 0.0) + workload.usd_per_month
    return Budget(
        usd_per_month=total,
        workloads=tuple(_line(workload.name, workload.usd_per_month, total) for workload in workloads),
        classes=tuple(_line(name, usd, total) for name, usd in by_class.items()),
    )


def _line(name: str, usd: float, total: float) -> Line:
    return Line(name=name, usd_per_month=usd, share=usd / total if total else 0.0)
