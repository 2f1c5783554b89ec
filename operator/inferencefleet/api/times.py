"""Points in time as Kubernetes writes them, in whole seconds and UTC: `2026-01-31T12:00:00Z`."""

from __future__ import annotations

from datetime import UTC, datetime


def to_timestamp(epoch_s: float) -> str:
    return datetime.fromtimestamp(int(epoch_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_timestamp(text: str) -> float:
    """Epoch seconds. Raises ValueError for anything that is not RFC 3339."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write UTC as 2026-01-31T12:00:00Z")
    return moment.timestamp()
