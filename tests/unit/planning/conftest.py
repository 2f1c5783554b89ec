"""Physics is the same for the same replica: asked once a session, so that scenarios of many ticks stay quick."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from inferencefleet.domain.capacity import Limit, ReplicaCapacity, ReplicaShape, Scales
from inferencefleet.domain.fleet import Fleet
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.slo import Slo
from inferencefleet.physics import capacity, tensor_parallel
from inferencefleet.physics.confidence import prior_sigma_log
from inferencefleet.planning import size

PRIOR = Scales()
UTILISATION = 0.7
_known: dict[object, tuple[LengthMix, ReplicaCapacity]] = {}


def _remembered(
    shape: ReplicaShape, lengths: LengthMix, slos: Sequence[Slo], scales: Scales = PRIOR
) -> ReplicaCapacity:
    gpu = shape.gpu
    key = (
        shape.model, gpu, shape.tensor_parallel, shape.weights, shape.kv_cache, shape.limits,
        id(lengths), tuple(slos), scales,
    )  # fmt: skip
    if key not in _known:
        # The mix is kept too: its id must not be given to another one.
        _known[key] = (lengths, capacity.replica_capacity(shape, lengths, slos, scales))
    return _known[key][1]


@pytest.fixture(autouse=True)
def physics_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size, "replica_capacity", _remembered)
    monkeypatch.setattr(tensor_parallel, "replica_capacity", _remembered)


@pytest.fixture
def a_replica_is_worth_four(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_physics(monkeypatch)


def replace_physics(patch: pytest.MonkeyPatch) -> None:
    """Every replica on two GPUs is planned with 4 requests/s, so that stories do not change when physics learns or a
    usual utilisation is tuned."""

    def four(shape: ReplicaShape, *_: object) -> ReplicaCapacity:
        worth = 4.0001 / size.planned_share(UTILISATION, prior_sigma_log(shape))
        rps = worth * shape.tensor_parallel / 2
        return ReplicaCapacity(requests_per_s=rps, binding=Limit.ITL, sentence="itl p95 is 60ms")

    def as_declared(fleet: Fleet, replicas: int) -> float:
        return fleet.scaling.headroom or UTILISATION

    patch.setattr(size, "replica_capacity", four)
    patch.setattr(tensor_parallel, "replica_capacity", four)
    patch.setattr(Fleet, "utilisation_of", as_declared)
