"""`pack.py JSON VERSION OUT`: the vectors with the version they came from, the same bytes on every run."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path


def main(source: str, version: str, target: str) -> None:
    vectors = {"kubernetes": version, **json.loads(Path(source).read_text(encoding="utf-8"))}
    packed = json.dumps(vectors, separators=(",", ":")).encode()
    Path(target).write_bytes(gzip.compress(packed, mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
