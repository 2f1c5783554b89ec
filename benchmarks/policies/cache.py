"""Finished plays on disk, so that a benchmark that was stopped goes on where it was.

An entry is valid for the very code that made it: the key of a play hashes every source file that it depends on. Peers'
laws do not depend on our planner, and our planner not on them; each is played again only when its own code changes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = REPOSITORY / "benchmarks" / ".cache" / "policies"
PACKAGE = REPOSITORY / "operator" / "inferencefleet"
WORLD = (
    PACKAGE / "domain", PACKAGE / "catalog", PACKAGE / "physics", PACKAGE / "simulator",
    REPOSITORY / "benchmarks" / "policies", REPOSITORY / "benchmarks" / "data", REPOSITORY / "sandbox" / "data",
)  # fmt: skip
OURS = (PACKAGE / "planning", PACKAGE / "economics")
LAWS = PACKAGE / "simulator" / "laws"
ONLY_OURS = PACKAGE / "simulator" / "ours.py"
REPORTING = tuple(
    REPOSITORY / "benchmarks" / "policies" / name
    for name in ("report.py", "run.py", "statistics.py", "plots.py", "__main__.py", "derive.py")
)
"""What is done with plays afterwards changes none of them."""
SUFFIXES = {".py", ".yaml", ".json", ".gz", ".csv"}


def code_key(roots: Iterable[Path], without: Sequence[Path] = ()) -> str:
    """Hash of all sources under these files and folders."""
    digest = hashlib.blake2b(digest_size=10)
    for path in sorted(_files(roots)):
        if not any(path == skipped or skipped in path.parents for skipped in without):
            digest.update(str(path.name).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _files(roots: Iterable[Path]) -> Iterable[Path]:
    for root in roots:
        if root.is_file():
            yield root
        else:
            yield from (path for path in root.rglob("*") if path.suffix in SUFFIXES and path.is_file())


@lru_cache(maxsize=2)
def key_of(ours: bool) -> str:
    """For our planner, or for a policy that is not ours."""
    if ours:
        return code_key((*WORLD, *OURS), without=(LAWS, *REPORTING))
    return code_key(WORLD, without=(ONLY_OURS, *REPORTING))


class Cache:
    """One JSON file for each play."""

    def __init__(self, folder: Path = CACHE) -> None:
        self._folder = folder

    def path(self, code: str, scene: str, what: Mapping[str, Any]) -> Path:
        text = json.dumps(what, sort_keys=True, default=str)
        name = hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
        return self._folder / scene / f"{what.get('policy', 'need')}-{what.get('seed')}-{name}-{code}.json"

    def get(self, code: str, scene: str, what: Mapping[str, Any]) -> dict[str, Any] | None:
        try:
            found = json.loads(self.path(code, scene, what).read_text())
        except FileNotFoundError:
            return None
        except json.JSONDecodeError:
            # A process that was killed while it wrote leaves nothing that can be read: play it again.
            return None
        return dict(found)

    def put(self, code: str, scene: str, what: Mapping[str, Any], value: Mapping[str, Any]) -> None:
        path = self.path(code, scene, what)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        unfinished.write_text(json.dumps(value))
        unfinished.replace(path)
