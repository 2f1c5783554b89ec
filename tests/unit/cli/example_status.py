"""The saved fleet and pools that docs/cli.md explains: a status that the control loop wrote.

    python -m tests.unit.cli.example_status examples/explain/chat.json

Made anew when the planner or the physics have moved, so that explain agrees with it again.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.unit.control.stage import Stage

SETTLED_TICKS = 60


async def settled() -> list[Any]:
    """A fleet that has served 22 requests/s for a quarter of an hour."""
    stage = Stage()
    for _ in range(SETTLED_TICKS):
        await stage.tick()
        stage.serve(rps=22.0)
    await stage.tick()
    return [dict(stage.reader.fleets[0]), *map(dict, stage.reader.pools)]


def main(path: Path) -> None:
    found = {"apiVersion": "v1", "kind": "List", "items": asyncio.run(settled())}
    path.write_text(json.dumps(found, indent=2, default=str) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
