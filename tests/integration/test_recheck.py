"""Damage that nobody asked for is found while the station is idle: every record is read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from station.store import recheck
from station.store.recheck import STEP_RECORDS, Recheck
from station.store.startup import VERIFIED_AT_START, open_journal
from tests.support.forgery import change
from tests.support.journal import draft, open_small, place_of
from tests.support.trimming import within

LAST = VERIFIED_AT_START + 50


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A journal with damage that a start does not look for: a changed letter, and two missing records."""
    state = tmp_path / "state"
    store = open_small(state)
    store.append_soon([draft(n=n, text="x") for n in range(LAST)]).result(30)
    store.close()
    change(
        state,
        """UPDATE record SET body = replace(body, '"x"', '"y"') WHERE seq = 20""",
        "DELETE FROM record WHERE seq BETWEEN 32 AND 33",
    )
    return state


def test_every_record_is_looked_at_in_small_steps_and_then_none_for_a_day(
    state: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recheck, "STEP_EACH_S", 0.0)
    journal, chore, steps = open_journal(place_of(state)), Recheck(), 0
    assert journal.damaged == ()
    chore.next(journal, idle=False)
    chore.next(journal, idle=True)
    assert journal.damaged == (), "16 records were looked at, or none"
    while chore._at:
        chore.next(journal, idle=True)
        steps += 1
    assert journal.damaged == (20, 32, 33)
    assert steps == LAST // STEP_RECORDS
    assert [each.getMessage() for each in caplog.records if "written" in each.getMessage()] == [
        "records are not what was written: 20, 32",
        "records are not what was written: 33",
    ]
    chore.next(journal, idle=True)
    assert chore._at == 0
    # What is sound again, or was removed, is forgotten when its turn comes.
    sql = journal.connection.execute
    sql("""UPDATE record SET body = replace(body, '"y"', '"x"') WHERE seq = 20""")
    for _ in range(2):
        chore = Recheck()
        chore._epoch, chore._at = journal.epoch, 16
        chore.next(journal, idle=True)
        assert journal.damaged == (32, 33)
    sql("UPDATE head SET anchor_seq = 32")
    Recheck().next(journal, idle=True)
    assert journal.damaged == (33,)
    journal.close()


def test_an_open_store_looks_while_nobody_waits(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recheck, "STEP_RECORDS", LAST)
    store = open_small(state)
    within(10, lambda: store.damaged == (20, 32, 33))
    store.close()
