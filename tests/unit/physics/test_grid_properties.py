"""What holds for every model on every GPU, whatever the numbers in the catalogue."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from inferencefleet import catalog
from inferencefleet.api.quantity import parse_duration, parse_memory
from inferencefleet.domain.capacity import Limit, ReplicaCapacity, ReplicaShape, Scales
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.slo import Slo
from inferencefleet.physics.capacity import replica_capacity
from inferencefleet.physics.kv import sequence_bytes
from inferencefleet.physics.memory import GIB, memory_budget, missing_bytes
from inferencefleet.physics.refusals import seconds, too_large
from inferencefleet.physics.step import StepModel
from inferencefleet.physics.weights import BYTES_PER_WEIGHT, parameters, weights_bytes
from tests.unit.physics.grid import cells, possible, some_cells
from tests.unit.physics.shapes import CHAT_SLOS, chat, shape, slo

NOISE = 1.06
"""Percentiles of sampled steps and queues move capacity by up to 5 % where nothing else does."""
WAY_OUT = re.compile(
    r"(It fits with (?P<ways>.+)\.|Nothing on this GPU type fits: use a GPU with more memory, or a smaller model\.)$"
)
MIX = chat()
SAMPLE = some_cells(48, fit=True)


def capacity(
    replica: ReplicaShape, lengths: LengthMix = MIX, slos: tuple[Slo, ...] = CHAT_SLOS, scales: Scales | None = None
) -> ReplicaCapacity:
    return replica_capacity(replica, lengths, slos, scales or Scales())


def roomy(replica: ReplicaShape) -> bool:
    """Whether one request alone stays well below the targets: near them, a percent of latency is many of the rate."""
    floors = capacity(replica).floors_s
    return all(floors[f"{target.metric}_p{target.percentile}"] < 0.75 * target.target_s for target in CHAT_SLOS)


def test_in_every_cell_memory_adds_up_to_what_the_engine_may_use() -> None:
    count = 0
    for replica in cells():
        budget = memory_budget(replica)
        count += 1
        usable = replica.tensor_parallel * replica.gpu.memory_bytes * replica.limits.gpu_memory_utilization
        parts = (budget.weights_bytes, budget.overhead_bytes, budget.kv_cache_bytes)
        assert math.isclose(sum(parts), usable, rel_tol=1e-9), replica
        assert all(map(math.isfinite, parts)), replica
        assert budget.fits is (budget.weights_bytes + budget.overhead_bytes < usable), replica
        assert budget.kv_cache_tokens * budget.kv_bytes_per_token <= max(0.0, budget.kv_cache_bytes) * (1 + 1e-9)
        assert (missing_bytes(replica) > 0) or budget.fits, replica
    assert count == len(catalog.models()) * len(catalog.gpus()) * 4 * len(NumberFormat)


@pytest.mark.parametrize("name", catalog.models())
def test_weights_of_every_model_take_the_bytes_of_their_format(name: str) -> None:
    model = catalog.model(name)
    count = parameters(model)
    assert 0 < count.active <= count.total
    sizes = {form: weights_bytes(model, form) for form in NumberFormat}
    assert sizes[NumberFormat.BF16] == pytest.approx(2 * count.total)
    for form, size in sizes.items():
        # Padded mxfp4 experts take up to 7 % more; what stays in bf16 takes 2 bytes.
        assert BYTES_PER_WEIGHT[form] * count.total <= size * (1 + 1e-9), form
        assert size <= sizes[NumberFormat.BF16] * (1 + 1e-9), form
    assert sizes[NumberFormat.FP8] == sizes[NumberFormat.INT8] > sizes[NumberFormat.INT4]


def test_every_refusal_has_its_numbers_and_a_way_out_that_is_one() -> None:
    tried = set()
    for index, shorter in enumerate(some_cells(1500, fit=False)):
        # Every second one asks for the longest context that the model was made for.
        longest = shorter.model.max_context_tokens if index % 2 else shorter.limits.max_model_len_tokens
        replica = replace(shorter, limits=replace(shorter.limits, max_model_len_tokens=longest))
        refusal = too_large(replica, memory_budget(replica), missing_bytes(replica))
        assert refusal.binding is Limit.MODEL_TOO_LARGE
        assert not refusal.serves
        assert " GiB" in refusal.sentence, refusal.sentence
        found = WAY_OUT.search(refusal.sentence)
        assert found, refusal.sentence
        for way in found["ways"].split(" or ") if found["ways"] else ():
            other, names = way_taken(replica, way)
            tried.add(names)
            assert missing_bytes(other) <= 0, refusal.sentence
            assert possible(other), refusal.sentence
        if not found["ways"]:
            tried.add(())
            smallest = replace(
                replica, weights=NumberFormat.INT4, limits=replace(replica.limits, max_model_len_tokens=2048)
            )
            for size in (1, 2, 4, 8):
                other = replace(smallest, tensor_parallel=max(size, replica.tensor_parallel))
                assert not possible(other) or missing_bytes(other) > 0, refusal.sentence
    assert tried == {
        (),
        ("tensor parallelism",),
        ("weights",),
        ("maxModelLen",),
        ("weights", "tensor parallelism"),
        ("weights", "tensor parallelism", "maxModelLen"),
    }


def way_taken(replica: ReplicaShape, way: str) -> tuple[ReplicaShape, tuple[str, ...]]:
    """The replica as the sentence advises, and what is changed."""
    names = []
    if found := re.search(r"(\w+) weights", way):
        names.append("weights")
        replica = replace(replica, weights=NumberFormat(found[1]))
    if found := re.search(r"tensor parallelism (\d)", way):
        names.append("tensor parallelism")
        replica = replace(replica, tensor_parallel=int(found[1]))
    if found := re.search(r"maxModelLen ([\d,]+)", way):
        names.append("maxModelLen")
        tokens = int(found[1].replace(",", ""))
        replica = replace(replica, limits=replace(replica.limits, max_model_len_tokens=tokens))
    return replica, tuple(names)


def test_in_every_cell_a_step_takes_a_finite_time_that_grows_with_its_work() -> None:
    for index, replica in enumerate(cells()):
        if index % 11:  # some of all kinds: 11 and the sizes of the inner axes share no factor
            continue
        step = StepModel(replica)
        small = step.seconds(4.0, 4 * 500.0)
        more = step.seconds(32.0, 32 * 500.0)
        longer = step.seconds(32.0, 32 * 8000.0)
        prompt = step.seconds(32.0, 32 * 8000.0, 2048.0, 1024.0)
        assert 0 < small < more <= longer < prompt < math.inf, replica


def test_a_sequence_of_every_model_holds_more_bytes_when_it_is_longer() -> None:
    for replica in SAMPLE:
        held = sequence_bytes(replica, np.array([1.0, 100.0, 4096.0, 32768.0]))
        assert np.isfinite(held).all()
        assert held[0] > 0
        assert (np.diff(held) >= 0).all()


@pytest.mark.parametrize("slos", [CHAT_SLOS, ()], ids=["chat", "no SLO"])
def test_a_capacity_is_the_least_of_its_limits_and_finite_throughout(slos: tuple[Slo, ...]) -> None:
    for replica in SAMPLE:
        found = capacity(replica, slos=slos)
        values = (found.requests_per_s, found.concurrency, *found.latencies_s.values(), *found.floors_s.values())
        assert all(math.isfinite(value) and value >= 0 for value in values), replica
        assert found.sentence
        if found.serves:
            assert found.requests_per_s == min(found.limits_requests_per_s.values())
            assert found.limits_requests_per_s[found.binding] == found.requests_per_s
            assert 0 < found.concurrency <= replica.limits.max_num_seqs
            for target in slos:
                reached = found.latencies_s[f"{target.metric}_p{target.percentile}"]
                assert reached <= target.target_s * 1.04, (replica, target)
        else:
            assert found.binding is Limit.SLO_UNREACHABLE
            assert re.search(r"Set a target of at least [\d.]+ (ms|s), or use a faster GPU", found.sentence)


HARDER = {
    "prompts half as long again": lambda replica: (replica, chat(prompt=1500), CHAT_SLOS),
    "outputs half as long again": lambda replica: (replica, chat(output=375), CHAT_SLOS),
    "targets a third tighter": lambda replica: (replica, MIX, (slo("ttft", 95, 1.33), slo("itl", 95, 0.040))),
    "slower memory": lambda replica: (on(replica, "bandwidth_bytes_per_s", 0.7), MIX, CHAT_SLOS),
    "less memory": lambda replica: (on(replica, "memory_bytes", 0.9), MIX, CHAT_SLOS),
    "half the slots": lambda replica: (
        replace(replica, limits=replace(replica.limits, max_num_seqs=128)),
        MIX,
        CHAT_SLOS,
    ),
}


def on(replica: ReplicaShape, value: str, factor: float) -> ReplicaShape:
    changed = {value: getattr(replica.gpu, value) * factor}
    return replace(replica, gpu=replace(replica.gpu, **changed))


@pytest.mark.parametrize("name", HARDER)
def test_harder_work_never_raises_capacity(name: str) -> None:
    for replica in SAMPLE:
        # A request that is longer than the model allows is cut, so longer prompts may mean less work: leave those out.
        if replica.limits.max_model_len_tokens >= 16_384 and roomy(replica):
            assert capacity(*HARDER[name](replica)).requests_per_s <= NOISE * capacity(replica).requests_per_s, replica


def test_prefix_hits_never_lower_capacity() -> None:
    for replica in filter(roomy, SAMPLE):
        assert NOISE * capacity(replica, chat(hit=0.5)).requests_per_s >= capacity(replica).requests_per_s, replica


def test_fewer_gpus_behind_a_switch_never_raise_the_capacity_of_a_replica() -> None:
    """A switch gives every group size a fast link. PCIe, NVLink bridges between two GPUs, and meshes whose bandwidth
    grows with the group (AMD) do not, and there fewer GPUs can do more: see `test_links_and_host`."""
    tried = 0
    for replica in some_cells(400, fit=True, seed=7):
        links, size = replica.gpu.links, replica.tensor_parallel
        narrower = replace(replica, tensor_parallel=size // 2)
        if size > 1 and possible(narrower) and min(link.bandwidth_bytes_per_s for link in links.values()) > 100e9:
            tried += 1
            assert capacity(narrower).requests_per_s <= NOISE * capacity(replica).requests_per_s, replica
    assert tried > 40


def test_seconds_are_seconds_everywhere() -> None:
    """All times and all targets twice as long is half the rate, with the same requests in flight: a constant in other
    units, or a time that no constant scales, would show. ITL targets only: TTFT has a fixed overhead of the request,
    and the host has a rate of its own."""
    for replica in SAMPLE:
        targets = (slo("itl", 95, 0.1),)
        now = capacity(replica, slos=targets)
        twice = Scales(memory=2.0, compute=2.0, overhead=2.0, ttft=2.0)
        slow = capacity(replica, slos=(slo("itl", 95, 0.2),), scales=twice)
        if Limit.HOST not in (now.binding, slow.binding):
            assert slow.binding is now.binding
            assert 2 * slow.requests_per_s == pytest.approx(now.requests_per_s, rel=0.01), replica
            assert slow.concurrency == pytest.approx(now.concurrency, rel=0.01)


@pytest.mark.parametrize("name", catalog.gpus())
def test_gib_of_the_driver_are_not_gb_of_the_name(name: str) -> None:
    memory = catalog.gpu(name).memory_bytes
    assert parse_memory(f"{memory / GIB:.6f}Gi") == pytest.approx(memory)
    marketed = re.search(r"(\d+)GB$", name)
    if marketed:
        # The driver reports about the marketed number in GiB, a little less or more; never 7 % less.
        assert memory / GIB == pytest.approx(float(marketed[1]), rel=0.04)


@pytest.mark.parametrize("target_s", [0.04, 0.8, 2.0, 12.5])
def test_times_in_sentences_read_back_as_they_were(target_s: float) -> None:
    assert parse_duration(str(slo("ttft", 95, target_s)).split("<= ")[1]) == pytest.approx(target_s)
    assert parse_duration(seconds(target_s).replace(" ", "")) == pytest.approx(target_s)


def test_tokens_of_the_cache_are_the_bytes_of_the_cache() -> None:
    for kv_cache in ("bf16", "fp8"):
        replica = shape(kv_cache=kv_cache)
        budget = memory_budget(replica)
        held = float(sequence_bytes(replica, budget.kv_cache_tokens))
        assert held == pytest.approx(budget.kv_cache_bytes)
