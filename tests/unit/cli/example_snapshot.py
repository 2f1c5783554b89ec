"""The saved snapshot that docs/cli.md plans again.

    python -m tests.unit.cli.example_snapshot examples/what-if/snapshot.json.gz

Made anew when a field of the snapshot is renamed or removed; new fields with defaults need nothing.
"""

from __future__ import annotations

import gzip
import sys
from dataclasses import replace
from pathlib import Path

from inferencefleet.api.snapshot_codec import redacted, snapshot_to_json
from inferencefleet.domain.fleet import Routing
from inferencefleet.domain.pool import CapacityType
from tests.builders import a_pool
from tests.unit.planning.world import World, a_tp2_fleet


def main(path: Path) -> None:
    chat = replace(a_tp2_fleet("chat"), routing=Routing.LOAD_AWARE, priority=10)
    world = World(
        fleets=[chat, a_tp2_fleet("code")],
        pools=[
            a_pool("on-demand", CapacityType.ON_DEMAND, max_gpus=32),
            a_pool("reserved", max_gpus=16),
            a_pool("spot", CapacityType.SPOT, max_gpus=16),
        ],
        offered={"chat": 17.0, "code": 6.0},
    )
    world.settle(20)
    # No time of writing in the file: the same world gives the same bytes.
    path.write_bytes(gzip.compress(snapshot_to_json(redacted(world.snapshot())).encode(), mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
