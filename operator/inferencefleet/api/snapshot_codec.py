"""Snapshots as JSON: what the operator saw at one tick, to be saved, sent, and planned again elsewhere. Exact."""

from __future__ import annotations

import json
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NoReturn

from inferencefleet.api.typed_decode import decode
from inferencefleet.api.typed_encode import encode
from inferencefleet.api.typed_json import BadValue
from inferencefleet.domain.fleet import EngineTerms, Fleet, Problem
from inferencefleet.domain.history import LengthMemory
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.observation import FleetMetrics, Histogram
from inferencefleet.domain.snapshot import FleetState, Snapshot

GROUP = "inferencefleet.io"
FORMAT = f"{GROUP}/snapshot"
VERSION = 1
"""Grows when old files would be read wrongly; new fields with defaults do not need it."""
REDACTED = "(redacted)"
_SECRET_WORDS = ("key", "token", "secret", "password", "credential", "auth")
_WAY_OUT = "take a new one with kubectl fleet snapshot"


class BadSnapshot(ValueError):
    """A text that is no snapshot: the path in it, the value, the rule and the way out."""


def snapshot_to_json(snapshot: Snapshot) -> str:
    """The whole snapshot in one line. `snapshot_from_json` gives it back, and plans of both are the same."""
    document = {"format": FORMAT, "version": VERSION, "snapshot": encode(snapshot, Snapshot)}
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def snapshot_from_json(text: str) -> Snapshot:
    """Raises `BadSnapshot`. Fields that are missing have their defaults, so that old files stay readable."""
    try:
        document = json.loads(text, parse_constant=_no_number)
    except ValueError as error:
        raise BadSnapshot(f"(text)={text[:40]!r}: is not JSON ({error}); {_WAY_OUT}") from None
    except RecursionError:
        raise BadSnapshot(f"(text)={text[:40]!r}: is nested too deep; {_WAY_OUT}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        said = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise BadSnapshot(f"format={said!r}: must be {FORMAT!r}; {_WAY_OUT}")
    version = document.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= VERSION:
        raise BadSnapshot(
            f"version={version!r}: this program reads 1 to {VERSION}; install the version of the operator that wrote it"
        )
    try:
        found: Snapshot = decode(document.get("snapshot"), Snapshot)
        _check(found)
    except BadValue as bad:
        raise BadSnapshot(f"{bad.within('snapshot')}; {_WAY_OUT}, or read it with the version that wrote it") from None
    return found


def redacted(snapshot: Snapshot) -> Snapshot:
    """Without what may be secret and no plan depends on: values of environment variables, of flags that name keys, and
    foreign annotations."""
    return replace(
        snapshot,
        fleets=tuple(replace(state, fleet=_fleet_redacted(state.fleet)) for state in snapshot.fleets),
        broken_fleets=tuple(
            replace(broken, problems=tuple(_problem_redacted(problem) for problem in broken.problems))
            for broken in snapshot.broken_fleets
        ),
    )


def _fleet_redacted(fleet: Fleet) -> Fleet:
    """Annotations of others go altogether: kubectl keeps the whole manifest in one."""
    own = {name: value for name, value in fleet.annotations.items() if name.partition("/")[0].endswith(GROUP)}
    return replace(fleet, engine=_engine_redacted(fleet.engine), annotations=MappingProxyType(own))


def _engine_redacted(engine: EngineTerms) -> EngineTerms:
    return replace(
        engine,
        env=tuple(
            {name: REDACTED if name == "value" else each for name, each in entry.items()} for entry in engine.env
        ),
        extra_args=_flags_redacted(engine.extra_args),
    )


def _flags_redacted(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """`--api-key abc` and `--api-key=abc` keep their name; the planner reads names and sizes, and no keys."""
    found: list[str] = []
    secret = False
    for argument in arguments:
        if secret and not argument.startswith("--"):
            found.append(REDACTED)
            continue
        flag, equals, _ = argument.partition("=")
        secret = flag.startswith("-") and any(word in flag.lower() for word in _SECRET_WORDS) and not _is_size(flag)
        found.append(f"{flag}={REDACTED}" if secret and equals else argument)
        secret = secret and not equals
    return tuple(found)


def _is_size(flag: str) -> bool:
    """`--max-num-batched-tokens` is a size, and `--tokenizer` a name."""
    return "tokens" in flag.lower() or "tokeniz" in flag.lower()


def _problem_redacted(problem: Problem) -> Problem:
    hidden = ".env" in problem.field or ".extraArgs" in problem.field
    return replace(problem, value=REDACTED) if hidden else problem


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _check(snapshot: Snapshot) -> None:
    """What type hints cannot say and the planner takes for granted."""
    for index, state in enumerate(snapshot.fleets):
        try:
            _check_state(state)
        except BadValue as bad:
            raise bad.within(f".fleets[{index}]") from None
    for key, memory in snapshot.memory.items():
        try:
            _check_lengths(memory.lengths)
        except BadValue as bad:
            raise bad.within(f".memory[{key}].lengths") from None


def _check_state(state: FleetState) -> None:
    _check_mix(state.fleet.expected.lengths, ".fleet.expected.lengths")
    if isinstance(state.metrics, FleetMetrics):
        for name in FleetMetrics.__dataclass_fields__:
            _check_histogram(getattr(state.metrics, name), f".metrics.{name}")


def _check_lengths(memory: LengthMemory) -> None:
    if memory.mix is not None:
        _check_mix(memory.mix, ".mix")
    for name in ("prompt", "output", "mix_prompt", "mix_output"):
        _check_histogram(getattr(memory, name), f".{name}")


def _check_mix(mix: LengthMix, path: str) -> None:
    sizes = mix.prompt_tokens.size, mix.output_tokens.size
    if sizes[0] != sizes[1] or not sizes[0]:
        rule = "prompt_tokens and output_tokens must have the same number of entries, at least 1"
        raise BadValue(sizes, rule).within(path)


def _check_histogram(value: Any, path: str) -> None:
    if isinstance(value, Histogram) and len(value.bounds) != len(value.counts):
        raise BadValue(
            (len(value.bounds), len(value.counts)), "bounds and counts must have the same number of entries"
        ).within(path)
