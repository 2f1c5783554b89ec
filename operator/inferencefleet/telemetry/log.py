"""Logging: one line an entry, UTC, the libraries kept quiet."""

from __future__ import annotations

import logging
import time


def configure_logging(level: str) -> None:
    """To stderr. kopf and the HTTP clients speak from WARNING on, unless everything is asked for."""
    formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    if level != "DEBUG":
        for noisy in ("kopf", "kubernetes", "aiohttp", "asyncio"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        # It warns of every retry: twenty lines a second while Prometheus is away, which an Event tells once.
        logging.getLogger("urllib3").setLevel(logging.ERROR)
