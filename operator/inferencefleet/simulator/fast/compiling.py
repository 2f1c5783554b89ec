"""Kernels run compiled where numba is installed, and as plain Python, slowly, where it is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

try:
    import numba
except ImportError:
    numba = None

Kernel = TypeVar("Kernel", bound=Callable[..., object])


def notice() -> str | None:
    """What to tell a user whose replay will be slow; None when kernels are compiled."""
    if numba is not None:
        return None
    return (
        "numba is not installed: the replay runs as plain Python, about fifty times slower. "
        "Install it with `pip install 'inferencefleet[simulate]'`."
    )


def compiled(function: Kernel) -> Kernel:
    """The same function, compiled at its first call; machine code is kept between runs where a directory allows."""
    if numba is None:
        return function
    before = numba.config.CACHE_DIR
    # numba looks at the file of the function alone to see whether its stored code is stale, not at what it calls.
    numba.config.CACHE_DIR = str(_cache_directory())
    try:
        return _jit(function, kept=True)
    except RuntimeError:  # no directory can be written
        return _jit(function, kept=False)
    finally:
        numba.config.CACHE_DIR = before


def _jit(function: Kernel, *, kept: bool) -> Kernel:
    found: Kernel = numba.njit(function, cache=kept, error_model="numpy")
    return found


@cache
def _cache_directory() -> Path:
    """One for each state of the sources that kernels are made of."""
    here = Path(__file__).resolve().parent
    sources = [*sorted(here.glob("*.py")), here.parent / "servers.py"]
    state = sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "inferencefleet" / "kernels" / state
