"""The daily files on a full disk and after a kill: whole lines, each once, and what is missing is counted."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from station.lane.daybook import csv_line
from tests.support.daily import Desk
from tests.support.full_disk import fill

KILLS = 12


@pytest.mark.fault("F4", tier="T1")
def test_a_full_disk_costs_lines_that_are_counted_and_nothing_else(
    disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(disk / "daily")
    desk.wait(5)
    fill(disk / "filler")
    with caplog.at_level("ERROR"):
        for _ in range(50):
            desk.take(*(desk.line() for _ in range(40)))
    assert "No space left" in desk.book.trouble
    assert "the daily files are not written" in caplog.text
    assert len(caplog.records) == 1, "said once"
    written = desk.open_text().splitlines(keepends=True)
    assert 5 <= len(written) < len(desk.said)
    assert set(written) <= set(desk.said), "no half line"
    (disk / "filler").unlink()
    desk.wait(1)
    assert desk.book.trouble == ""
    lost = sum(row["lines"] for row in desk.rows() if row["type"] == "lines_lost")
    assert len(desk.open_text().splitlines()) + lost == len(desk.said)
    desk.wait(125)
    assert desk.kept[0].lost == lost
    desk.book.end()


@pytest.mark.fault("F1")
def test_a_kill_takes_nothing_that_was_written(tmp_path: Path) -> None:
    desk, seed = Desk(tmp_path / "daily"), random.Random(1)
    written = 0
    for _ in range(KILLS):
        told, tell = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(told)
            try:
                desk.start()
                while True:
                    desk.mono_s += 1
                    desk.take(*(desk.line() for _ in range(20)))
                    os.write(tell, b"%d\n" % desk.number)
            finally:
                os._exit(1)
        os.close(tell)
        with os.fdopen(told, "rb") as pipe:
            first = pipe.readline()
            time.sleep(seed.uniform(0.0, 0.02))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            numbers = [first, *pipe.read().split(b"\n")[:-1]]
        # What the child said after its last word may be in the file, and is not asked for.
        before = desk.number
        for _ in range(max([before, *map(int, numbers)]) - before):
            desk.line()
        written += desk.number - before
        desk.start()
        desk.take()
        lines = desk.open_text().splitlines(keepends=True)
        assert set(desk.said) <= set(lines)
        assert len(set(lines)) == len(lines)
        desk.number += 40
        desk.book.end()
    assert written >= 20 * KILLS, "something was written before each kill"


def test_the_line_of_these_tests_is_as_long_as_a_portals() -> None:
    desk = Desk(Path("unused"))
    assert 30 < len(csv_line(desk.line())) < 60
