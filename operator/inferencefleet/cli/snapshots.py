"""Snapshots in files, plain or packed."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

from inferencefleet.api.snapshot_codec import BadSnapshot, snapshot_from_json
from inferencefleet.cli.refusal import refuse
from inferencefleet.domain.snapshot import Snapshot

_GZIP = b"\x1f\x8b"


def read_snapshot(path: Path) -> Snapshot:
    """From a file that `kubectl fleet snapshot` wrote; - is standard input."""
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        text = (gzip.decompress(data) if data.startswith(_GZIP) else data).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        rule = f"cannot be read ({error}); give what kubectl fleet snapshot -o FILE wrote"
        raise refuse("--snapshot", path, rule) from None
    try:
        return snapshot_from_json(text)
    except BadSnapshot as bad:
        raise refuse("--snapshot", path, str(bad)) from None


def write_snapshot_text(text: str, path: Path) -> None:
    """Packed when the name ends in .gz."""
    data = text.encode()
    try:
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    except OSError as error:
        raise refuse("-o", path, f"cannot be written ({error.strerror}); give another place") from None
