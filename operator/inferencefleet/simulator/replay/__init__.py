"""Discrete-event replay of a policy on a stage: fleets, clouds, pods and Prometheus as the operator sees them."""

from inferencefleet.simulator.replay.loop import replay
from inferencefleet.simulator.replay.replayed import Decision, FleetReplayed, Minutes, Replayed
from inferencefleet.simulator.replay.stage import (
    Availability,
    CloudBehaviour,
    Delay,
    Loss,
    Span,
    Stage,
    StageError,
    StageFleet,
    StagePool,
    kinds_of,
)

__all__ = [
    "Availability",
    "CloudBehaviour",
    "Decision",
    "Delay",
    "FleetReplayed",
    "Loss",
    "Minutes",
    "Replayed",
    "Span",
    "Stage",
    "StageError",
    "StageFleet",
    "StagePool",
    "kinds_of",
    "replay",
]
