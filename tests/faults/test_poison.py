"""What ends the station whenever it reads it: a record, or half a lane file. Neither may keep a lane shut."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from station.cli.main import main
from station.cli.state import LAST_GOOD
from station.lanefile import shipped
from station.runtime.clock import SystemClock
from station.store.open import open_store
from station.store.verify import verify
from tests.support.journal import draft, of_inspection
from tests.support.station import CARRIL, ROOT, Station, lane_file

LANE = "DEMO-01"
SUBJECT = "01900000-0000-7000-8000-000000000001"
OPENED = {"opened_by": "entry_loop", "stamp": {"utc_us": 1_795_492_800_120_000}, "version": 1}
STARTS = 3
"""Starts that one record may end."""


def poisoned(state: Path, type: str) -> None:
    """Leave an open inspection, one of whose records has nothing of what its type promises."""
    store = open_store(state, LANE, SystemClock(), consumers=[("central", True)], ballast_bytes=0)
    store.append_soon([of_inspection(SUBJECT, "carril.inspection.opened", **OPENED)]).result(10)
    store.append_soon([draft(SUBJECT, type=type, prio=1, inspection_id=SUBJECT)]).result(10)
    store.close()


async def _begun(state: Path) -> None:
    store = open_store(state, LANE, SystemClock(), consumers=[("central", True)], ballast_bytes=0)
    await store.begin_replay()
    await asyncio.to_thread(store.close)


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    lane = Station(lane_file(tmp_path, "demo", 4.0), tmp_path / "state", tmp_path / "daemon.log")
    yield lane
    lane.end()


@pytest.mark.fault("F31")
@pytest.mark.parametrize("type", ["carril.plate.read", "carril.occupancy.ended"])
def test_a_record_that_ends_every_start_is_sealed_unread_after_three(
    station: Station, type: str, soak: bool
) -> None:
    poisoned(station.state, type)
    for _ in range(STARTS if soak else 1):
        with pytest.raises(AssertionError, match="the daemon ended"):
            station.start()
    for _ in range(0 if soak else STARTS - 1):  # what a start counts before it reads, without its seconds
        asyncio.run(_begun(station.state))
    station.start()
    (sealed,) = station.until(lambda: station.records("inspection.sealed", inspection_id=SUBJECT), "sealed")
    assert sealed["outcome"] == "aborted"
    assert station.feed()[1]["type"] == type, "the record itself stays as it was"
    station.stop()
    assert verify(station.state).ok


# --- half a lane file -----------------------------------------------------------------------------


def said_of(lane: Path, state: Path) -> subprocess.CompletedProcess[str]:
    """Run a lane from a file that is wrong; a station that starts all the same runs for 5 s."""
    command = [*CARRIL, "run", "--lane", str(lane), "--state", str(state), "--port", "0"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=5, check=False)


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """A lane file whose writing was cut off in the middle of a device."""
    path = tmp_path / "half.toml"
    text = shipped("lanes", "demo").read_text(encoding="utf-8")
    path.write_text(text[: text.rindex("driver = ") + len('driver = "')], encoding="utf-8")
    return path


@pytest.mark.fault("F27")
def test_a_lane_file_cut_off_anywhere_is_answered_in_sentences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shipped("lanes", "demo").read_bytes()
    path = tmp_path / "lane.toml"
    answers = set()
    for size in range(0, len(text), 61):
        path.write_bytes(text[:size])
        answers.add(main(["check", str(path)]))
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        assert (said.out + said.err).strip(), size
    assert 2 in answers <= {0, 2}, "cut behind its last table it may be a smaller lane"


@pytest.mark.fault("F27")
def test_half_a_lane_file_changes_nothing_in_the_state_folder(tmp_path: Path, half: Path) -> None:
    state = tmp_path / "state"
    open_store(state, LANE, SystemClock(), consumers=[("central", True)], ballast_bytes=0).close()
    (state / LAST_GOOD).write_text("what ran last")
    before = {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}
    done = said_of(half, state)
    assert done.returncode == 2
    assert done.stderr.startswith(f"carril: {half}: ")
    assert {path: path.read_bytes() for path in state.rglob("*") if path.is_file()} == before


@pytest.mark.fault("F27")
def test_half_a_lane_file_runs_the_last_good_one_and_says_so(station: Station, half: Path) -> None:
    """Where the service asks for it; the next start from a right file ends the alarm."""
    right = station.lane_file
    station.start()
    station.stop()
    station.lane_file, station.options = half, ("--last-good",)
    station.start()
    assert "the lane runs from the last good lane file" in station.said()
    assert [alarm["code"] for alarm in station.lane()["alarms"]] == ["lane_file_refused"]
    station.stop()
    station.lane_file = right
    station.start()
    assert [record["alarm_id"] for record in station.records("alarm.ended")] == [
        record["alarm_id"] for record in station.records("lane_alarm.raised", code="lane_file_refused")
    ]
    assert (station.state / LAST_GOOD).read_bytes() == right.read_bytes()
