"""What the event loop says when there are no descriptors left, and when something else is wrong."""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import Any

import pytest

from station.runtime import scarce


class Loop:
    """Keeps what would be reported the usual way."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.told.append(context)


def test_many_tries_are_one_line_and_everything_else_is_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [0.0]
    monkeypatch.setattr(scarce.time, "monotonic", lambda: now_s[0])
    handler, loop = scarce.ScarceDescriptors(), Loop()
    other: list[dict[str, Any]] = [{"message": "no exception"}, {"exception": OSError(errno.EIO, "broken")}]
    with caplog.at_level(logging.ERROR, "carril"):
        for now_s[0] in (0.0, 1.0, 9.9, 10.0):
            for _ in range(100):
                handler(_as_loop(loop), {"exception": OSError(errno.EMFILE, "Too many open files")})
        for context in other:
            handler(_as_loop(loop), context)
    assert [record.getMessage() for record in caplog.records] == [
        "Too many open files: new connections wait (1 tries)",
        "Too many open files: new connections wait (300 tries)",
    ]
    assert loop.told == other


def _as_loop(loop: Any) -> asyncio.AbstractEventLoop:
    return loop  # type: ignore[no-any-return]
