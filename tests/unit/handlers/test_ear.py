"""What the ear passes on: news, and not the echo of our own writes."""

from __future__ import annotations

import pytest

from inferencefleet.handlers.ear import is_news


@pytest.mark.parametrize(
    ("type_", "generation", "observed", "news"),
    [
        (None, 1, 1, False),  # the listing at start-up: the first tick looks at everything anyway
        ("ADDED", 1, -1, True),
        ("MODIFIED", 2, 1, True),
        ("MODIFIED", 2, 2, False),  # our own status write comes back
        ("DELETED", 2, 2, True),
    ],
)
def test_only_what_somebody_else_changed_wakes_the_loop(
    type_: str | None, generation: int, observed: int, news: bool
) -> None:
    assert is_news(type=type_, meta={"generation": generation}, status={"observedGeneration": observed}) is news


def test_an_object_without_a_status_is_news() -> None:
    assert is_news(type="ADDED", meta={"generation": 1}, status={})
