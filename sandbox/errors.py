"""What can go wrong, told so that the reader knows what to do next."""

from __future__ import annotations

from pathlib import Path


class SandboxError(Exception):
    """Something failed; `way_out` is the next thing to try, `log` the file that knows more."""

    def __init__(self, what: str, *, way_out: str = "", log: Path | None = None, detail: str = "") -> None:
        self.what, self.way_out, self.log, self.detail = what, way_out, log, detail
        lines = [what]
        if detail:
            lines += [f"  | {line}" for line in detail.rstrip().splitlines()]
        if log is not None:
            lines.append(f"  log: {log}")
        if way_out:
            lines.append(f"  way out: {way_out}")
        super().__init__("\n".join(lines))


class ToolchainError(SandboxError):
    """A binary that the sandbox needs is missing and could not be made."""


class ComponentError(SandboxError):
    """A component did not start, did not become ready in time, or did not stop."""


class CommandError(SandboxError):
    """A kubectl or helm call ended with a non-zero status."""


def tail(path: Path, lines: int = 12, width: int = 300) -> str:
    """The last lines of a log, for an error message; empty when there is no log yet."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(line[:width] for line in text.splitlines()[-lines:])
