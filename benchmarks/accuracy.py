"""How far the physics is from measured runs.

    python -m benchmarks.accuracy [--data FILE] [--split train|test|all] [--group]

FILE is a CSV table in the schema of `benchmarks/data/README.md`; without it the committed rows are used. Writes
`benchmarks/results/accuracy.md` and `.json`, and `accuracy_rows.csv.gz`: every row with its prediction, or why there is
none.
"""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:
    # Run as a file: its own folder is on the path, the repository is not.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.accuracy_parts.command import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
