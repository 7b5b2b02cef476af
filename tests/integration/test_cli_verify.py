"""``carril verify`` names what is wrong with a state folder and changes nothing in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from station.cli.main import main
from station.store.draft import Draft
from station.store.open import open_store
from tests.support.journal import STATION, open_small
from tests.support.manual_clock import ManualClock


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state folder of a station that has written three records and stopped."""
    folder = tmp_path / "state"
    clock = ManualClock()
    store = open_store(folder, STATION, clock, consumers=[("central", True)], ballast_bytes=4096)
    draft = Draft(
        type="carril.lane_mode.changed",
        subject="lane",
        prio=2,
        flags=0,
        time_us=clock.stamp().utc_ns // 1000,
        data={"mode": "open"},
        schema="lane_mode.changed:1",
    )
    store.append_soon([draft] * 3).result(10)
    store.close()
    return folder


def test_a_sound_folder_is_proven(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--state", str(state)]) == 0
    said = capsys.readouterr().out
    assert f"station {STATION}, epoch " in said
    assert "3 records" in said
    assert said.endswith("nothing is wrong\n")


def test_a_damaged_mark_is_named(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (state / "mark.bin").write_bytes(bytes(8192))
    assert main(["verify", "--state", str(state)]) == 1
    said = capsys.readouterr().out
    assert said.startswith("mark.bin has no valid mark")
    assert said.endswith("something is wrong: keep a copy of the folder as it is\n")


def test_a_folder_without_a_journal_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", "--state", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"carril: {tmp_path}/journal/station.db does not exist: {tmp_path} holds no journal; "
        "give the --state of a station that has run\n"
    )


def test_a_journal_that_began_anew_says_where_the_earlier_ones_are(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(state / "journal")
    open_small(state).close()
    assert main(["verify", "--state", str(state)]) == 0
    said = capsys.readouterr().out
    assert f"earlier journals kept in {state / 'quarantine'}: 1; see records.lost" in said
