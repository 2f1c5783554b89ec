"""The step time of a kind of replica as a kernel needs it: tables over token counts and slopes over contexts.

Nothing of the formula is written here a second time: every number is an answer of `physics.step.StepModel`. Its terms
that depend on token counts are a function of all tokens plus one of the decoding sequences, but for the launch of
kernels that no CUDA graph replays, which joins them as smax8; asking two models, with graphs and as if every step had
one, separates the three.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from inferencefleet.domain.capacity import ReplicaShape, Scales
from inferencefleet.domain.model import AttentionKind, attention_groups
from inferencefleet.physics.step import StepModel
from inferencefleet.simulator.servers import Floats, NotSimulated
from inferencefleet.simulator.truth import Truth

WINDOWS = 3
"""Attention windows (or selections) of different sizes that one model may have."""
ALWAYS_A_GRAPH = 2**40


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepTable:
    """Seconds; see `fast.laws.mixed_step_s` for how they make a step."""

    decode_s: Floats
    """By decoding sequences, 0..max_num_seqs: a step without prompt tokens and without its KV cache."""
    tokens_s: Floats
    """By all tokens of a step with prompt tokens, 0..max_num_batched_tokens."""
    sequences_s: Floats
    """By decoding sequences: what they add to such a step."""
    graph_tokens: float
    eager8: float
    """The launch of all kernels, to the eighth power."""
    read_s: float
    """To read one token of the KV cache where all layers do."""
    attend_s: float
    """For one prompt token to attend to one token, where all layers do."""
    windows: Floats
    """Tokens, ascending, padded with zeros to `WINDOWS`."""
    window_read_s: Floats
    window_attend_s: Floats


def step_table(shape: ReplicaShape, truth: Truth, max_num_seqs: int) -> StepTable:
    """A replica of no spread: one that clocks slower takes its factor times as long for every step."""
    scales = Scales(memory=truth.memory, compute=truth.compute, overhead=truth.overhead, sigma_log=0.0)
    model = StepModel(shape, scales)
    graphs = replace(shape, limits=replace(shape.limits, cuda_graph_tokens=ALWAYS_A_GRAPH))
    replayed = StepModel(graphs, scales)
    sequences = np.arange(max_num_seqs + 1, dtype=np.float64)
    tokens = np.arange(shape.limits.max_num_batched_tokens + 1, dtype=np.float64)
    none, one = np.zeros(1), np.ones(1)
    beyond = np.array([shape.limits.cuda_graph_tokens + 1.0])
    launched = float(model.shared_array(none, beyond)[0]) ** 8 - float(replayed.shared_array(none, beyond)[0]) ** 8
    windows = _windows(shape)
    reads = _slopes(windows, lambda context: float(model.decode_attention_array(one, np.array([context]))[0]))
    attends = _slopes(windows, lambda context: float(model.prefill_attention_array(one, np.array([context]))[0]))
    padding = (0, WINDOWS - len(windows))
    return StepTable(
        decode_s=model.shared_array(sequences, np.zeros(1)),
        tokens_s=replayed.shared_array(np.zeros(1), tokens),
        sequences_s=replayed.shared_array(sequences, one) - replayed.shared_array(none, sequences + 1.0),
        graph_tokens=float(shape.limits.cuda_graph_tokens),
        eager8=max(0.0, launched),
        read_s=reads[-1],
        attend_s=attends[-1],
        windows=np.pad(np.array(windows, dtype=np.float64), padding),
        window_read_s=np.pad(-np.diff(reads), padding),
        window_attend_s=np.pad(-np.diff(attends), padding),
    )


def _windows(shape: ReplicaShape) -> list[float]:
    """The context lengths beyond which some layers read no more."""
    found: set[float] = set()
    for group in attention_groups(shape.model):
        sliding = group.kind is AttentionKind.SLIDING
        window = shape.model.sliding_window_tokens if sliding else group.selected_tokens
        if window is not None:
            found.add(float(window))
    if len(found) > WINDOWS:
        raise NotSimulated(
            f"{shape.model.id} has attention windows of {len(found)} sizes; engines of a replay know at most "
            f"{WINDOWS}: describe the model with fewer in `model.architecture`"
        )
    return sorted(found)


def _slopes(windows: list[float], seconds: Callable[[float], float]) -> list[float]:
    """Of a function that bends at the windows: one before each, and one after the last."""
    bends = [0.0, *windows]
    values = [seconds(bend) for bend in [*bends, bends[-1] + 1024.0]]
    ends = [*bends[1:], bends[-1] + 1024.0]
    return [
        (after - before) / (end - start)
        for start, end, before, after in zip(bends, ends, values, values[1:], strict=False)
    ]
