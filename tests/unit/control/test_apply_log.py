"""A refusal comes back on every tick; the log hears of it once."""

from __future__ import annotations

import logging

import pytest

from inferencefleet.ports import ApplyRefused
from tests.unit.control.stage import Stage


async def test_a_refusal_is_logged_once_and_again_when_it_says_something_else(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    caplog.set_level(logging.WARNING, "inferencefleet.control.apply")
    for words in ("exceeded quota", "exceeded quota", "forbidden"):
        stage.actuator.fails["chat"] = ApplyRefused(words)
        await stage.tick()
    said = [record.getMessage() for record in caplog.records]
    assert said == ["default/chat: exceeded quota", "default/chat: forbidden"]
