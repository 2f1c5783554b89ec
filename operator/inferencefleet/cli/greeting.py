"""The solver greets on standard output, once in a process and below Python: there it would be part of the answer."""

from __future__ import annotations

import os
import sys


def swallow_greeting() -> None:
    """Before anything is planned. HiGHS writes its banner when the first solver is made, whatever its options say."""
    import highspy

    sys.stdout.flush()
    kept = os.dup(1)
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
        highspy.Highs().silent()
    finally:
        os.dup2(kept, 1)
        os.close(kept)
