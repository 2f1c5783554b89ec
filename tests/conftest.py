"""For all tests: properties are checked on the same examples every time, so that a red run can be run again."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, print_blob=True)
settings.load_profile("repeatable")
