"""Making room: only what everybody has goes, the oldest first, in steps that do not grow with the backlog."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from pathlib import Path

import pytest

from station.store import database, retention, schema
from station.store.blobs import BlobFiles
from station.store.chain import genesis, link
from station.store.errors import StoreFull
from station.store.feed import Trimmed, read_record
from station.store.journal import Store
from station.store.ops import Transaction
from station.store.place import Consumer, Journal
from station.store.quota import Pressure, blob_quota, pressure_of
from station.store.startup import open_journal
from station.store.stats import Stats
from station.store.verify import verify
from tests.support.journal import draft, of_inspection, open_small, place_of
from tests.support.served import serve
from tests.support.trimming import (
    QUOTA_BYTES,
    ack,
    anchor,
    count_steps,
    fill,
    hold,
    in_force,
    killed_at,
    opening,
    page,
    rest,
    stored,
    within,
)

pytestmark = pytest.mark.usefixtures("impatient")


# --- records ------------------------------------------------------------------------------------------


def test_acknowledged_history_goes_from_80_down_to_75_percent(
    opened: list[Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "STEP_RECORDS", 50)
    store = opening(opened, tmp_path, quota_bytes=8_000_000)
    last = fill(store, 100)
    ack(store, last)
    rest(store)
    assert anchor(store) == 0, "there was room enough"
    while anchor(store) == 0:
        last = fill(store, 50)
        ack(store, last)
    rest(store)
    assert 0.70 < store.quota_ratio < 0.80
    assert store.stats.trimmed_records == anchor(store) == min(stored(store)) - 1
    assert stored(store) == list(range(anchor(store) + 1, last + 1))
    found = page(store, anchor(store))
    assert len(found.items) == found.next - anchor(store) > 0
    with pytest.raises(Trimmed):
        page(store, anchor(store) - 1)


def test_free_pages_are_given_back(opened: list[Store], tmp_path: Path) -> None:
    store = opening(opened, tmp_path)
    ack(store, fill(store, 700))
    rest(store)
    assert anchor(store) > 0
    within(5, lambda: stored(store, "PRAGMA freelist_count")[0] < retention.FREE_PAGES)
    assert stored(store, "PRAGMA page_count")[0] * 8192 < QUOTA_BYTES * 0.85


@pytest.mark.parametrize("why", ["unacknowledged", "second consumer", "open"])
def test_what_somebody_still_needs_ends_the_removal(opened: list[Store], tmp_path: Path, why: str) -> None:
    consumers = [Consumer("central"), Consumer("port", required=why == "second consumer")]
    store = opening(opened, tmp_path, consumers=consumers)
    first = fill(store, 30)
    if why == "open":
        store.append_soon([of_inspection("i1", "carril.inspection.opened")]).result(10)
    last = fill(store, 670)
    ack(store, first if why == "unacknowledged" else last)
    if why == "second consumer":
        ack(store, first, consumer="port")
    rest(store)
    assert store.quota_ratio > 0.75
    assert anchor(store) == first
    # And goes on once it is no longer needed.
    if why == "open":
        store.append_soon([of_inspection("i1", "carril.inspection.sealed")]).result(10)
    else:
        ack(store, last, consumer="port" if why == "second consumer" else "central")
    within(3, lambda: store.quota_ratio < 0.75)
    assert anchor(store) > first


def test_held_and_refused_records_stay_and_are_served_one_by_one(opened: list[Store], tmp_path: Path) -> None:
    store = opening(opened, tmp_path)
    fill(store, 3, "held")
    hold(store, "held")
    fill(store, 5)
    last = fill(store, 700)
    ack(store, last, 7)
    rest(store)
    assert anchor(store) > 100
    assert stored(store)[:4] == [1, 2, 3, 7]
    for seq in (1, 7):
        row, sound = store._readers.look(lambda view, seq=seq: read_record(view, seq))
        assert sound
        assert row is not None
    with pytest.raises(Trimmed):
        store._readers.look(lambda view: read_record(view, 5))
    # A hold that ended, and a record that was taken at last, are no reason any more.
    hold(store, "held", on=False)
    offer = asyncio.run(_reoffered(store, 7))
    ack(store, offer)
    fill(store, 500)
    ack(store, store.published)
    within(5, lambda: min(stored(store)) > 7)


def test_the_records_of_a_directive_in_force_stay(opened: list[Store], tmp_path: Path) -> None:
    store = opening(opened, tmp_path)
    fill(store, 2, "H-1", type="carril.directive.told")
    in_force(store, "H-1")
    last = fill(store, 700)
    ack(store, last)
    rest(store)
    assert stored(store)[:2] == [1, 2]
    in_force(store, "H-1", is_so=False)
    fill(store, 500)
    ack(store, store.published)
    within(5, lambda: min(stored(store)) > 2)


def test_a_directive_named_like_another_subject_keeps_its_own_records_alone(
    opened: list[Store], tmp_path: Path
) -> None:
    """An older station took such ids: ``lane`` held the whole history."""
    store = opening(opened, tmp_path)
    fill(store, 3)
    fill(store, 1, type="carril.directive.told")
    in_force(store, "lane")
    for _ in range(10):
        ack(store, fill(store, 100))
    within(5, lambda: stored(store)[0] == 4)
    within(5, lambda: stored(store)[1] > 5)


async def _reoffered(store: Store, seq: int) -> int:
    return (await store.reoffer("central", seq)).offered_seq


def test_a_journal_trimmed_to_its_end_starts_again(
    opened: list[Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "TRIM_FROM", 0.0)
    monkeypatch.setattr(retention, "TRIM_TO", 0.0)
    store = opening(opened, tmp_path)
    fill(store, 10, "held")
    hold(store, "held")
    last = fill(store, 20)
    ack(store, last)
    within(5, lambda: anchor(store) == last)
    epoch = store.epoch
    for _ in range(2):
        store.close()
        assert verify(tmp_path / "state").ok
        store = opening(opened, tmp_path)
        assert (store.epoch, store.published, store.damaged) == (epoch, last, ())
        assert stored(store) == list(range(1, 11))
        assert page(store, last).items == []
    hold(store, "held", on=False)
    within(5, lambda: stored(store) == [])
    store.close()
    store = opening(opened, tmp_path)
    assert store.epoch == epoch
    assert store.append_soon([draft()]).result(10).first == last + 1
    assert len(page(store, last).items) == 1


def test_a_lagging_consumer_that_is_not_required_is_left_behind(opened: list[Store], tmp_path: Path) -> None:
    store = opening(opened, tmp_path, consumers=[Consumer("central"), Consumer("port", required=False)])
    ack(store, fill(store, 700))
    rest(store)
    assert store.acked["port"] == anchor(store) > 0

    async def health() -> int:
        async with serve(store) as central:
            return (await central.client.get("/metrics")).status_code

    assert asyncio.run(health()) == 200


def test_the_search_table_forgets_what_has_no_record_any_more(opened: list[Store], tmp_path: Path) -> None:
    store = opening(opened, tmp_path)
    identity = {"plate": {"text": "R4K 7719"}}
    for name in ("i1", "i2"):
        for kind in ("opened", "sealed"):
            record = of_inspection(name, f"carril.inspection.{kind}", identity=identity)
            store.append_soon([record]).result(10)
    hold(store, "i2")
    ack(store, fill(store, 700))
    rest(store)
    assert stored(store, "SELECT id FROM inspection") == ["i2"]
    assert stored(store, "SELECT id FROM search_key") == ["i2"]


@pytest.mark.fault("F11")
def test_no_clock_removes_anything(
    opened: list[Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opening(opened, tmp_path)
    last = fill(store, 700)
    ack(store, 20)
    rest(store)
    assert anchor(store) == 20
    for years in (10, -10):
        now_us = time.time_ns() // 1000 + years * 31_557_600_000_000
        monkeypatch.setattr(type(store._place), "now_us", lambda _, now_us=now_us: now_us)
        fill(store, 5)
        rest(store)
        assert anchor(store) == 20
        assert len(page(store, 20).items) == store.published - 20
    ack(store, last)
    within(3, lambda: anchor(store) > 20)


KILLED = """
store = open_small(state, quota_bytes=2_500_000)
fill(store, 700)
"""


@pytest.mark.fault("F1")
def test_killed_within_a_step_nothing_of_it_happened(opened: list[Store], tmp_path: Path) -> None:
    killed_at("trim_rows", tmp_path / "state", KILLED)
    report = verify(tmp_path / "state")
    assert (report.ok, report.oldest, report.head) == (True, 1, 700)
    store = opening(opened, tmp_path)
    within(5, lambda: anchor(store) > 0)


# --- the cost of a step -------------------------------------------------------------------------------


def backlog(state: Path, count: int) -> Journal:
    """A journal with so many acknowledged records."""
    journal = open_journal(place_of(state))
    rows = []
    last = genesis(journal.epoch, None)
    for seq in range(1, count + 1):
        body = b'{"seq":%d,"text":"%b"}' % (seq, b"x" * 200)
        hash_ = link(last, journal.epoch, seq, body)
        rows.append((seq, "t", 2, f"{seq // 12:012d}", seq, 0, body.decode(), last, hash_))
        last = hash_
    connection = journal.connection
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO record VALUES (?,?,?,?,?,?,?,?,?)", rows)
    connection.execute(schema.SET_HEAD, {"seq": count, "hash": last})
    connection.execute("UPDATE consumer SET acked_seq = ?", (count,))
    connection.execute("COMMIT")
    database.checkpoint(connection, "TRUNCATE")
    journal.seq, journal.hash = count, last
    return journal


def cost_of_a_step(journal: Journal, state: Path) -> tuple[int, int]:
    """SQLite's instructions (in tens) for finding and doing a step, and the pages that it wrote."""
    place = place_of(state)
    chore = retention.Retention(place, BlobFiles(state / "blobs"), Stats(), lambda _: True)

    def step() -> None:
        op = chore.next(journal, idle=True)
        assert isinstance(op, retention.TrimRecords)
        tx = Transaction(journal.connection, journal.epoch, journal.seq, journal.seq, journal.hash, 0, {})
        journal.connection.execute("BEGIN IMMEDIATE")
        op.apply(tx)
        journal.connection.execute("COMMIT")

    steps = count_steps(journal.connection, step)
    pages = database.size_of(database.log_of(place.database)) // (schema.PAGE_BYTES + 24)
    (left,) = journal.connection.execute("SELECT count(*) FROM record").fetchone()
    assert left == journal.seq - 500
    return steps, pages


def test_a_step_costs_the_same_whatever_the_backlog(
    tmp_path: Path, soak: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "TRIM_FROM", 0.0)
    costs = {}
    for count in (2_000, 100_000 if soak else 30_000):
        with closing(backlog(tmp_path / str(count), count)) as journal:
            costs[count] = cost_of_a_step(journal, tmp_path / str(count))
    (small_steps, small_pages), (large_steps, large_pages) = costs.values()
    assert small_steps > 500  # something was counted
    assert large_steps <= 1.1 * small_steps
    assert large_pages <= 1.5 * small_pages


# --- the order of sacrifice ---------------------------------------------------------------------------


def test_the_quota_of_blobs_is_what_the_others_leave() -> None:
    gib = 1024**3
    assert blob_quota(100 * gib, 4 * gib, gib) == 95 * gib - 9 * gib
    assert blob_quota(8 * gib, 4 * gib, 0) == 2 * gib, "a quarter of a partition that is too small"


@pytest.mark.parametrize(
    ("used", "pressure"), [(0.0, 0), (0.8999, 0), (0.90, 1), (0.9499, 1), (0.95, 2), (1.2, 2)]
)
def test_pressure_is_that_of_the_fullest(used: float, pressure: int) -> None:
    assert pressure_of(used, 0.1) == pressure_of(0.1, used) == Pressure(pressure)


def test_background_is_refused_first_then_all_but_the_vital(opened: list[Store], tmp_path: Path) -> None:
    store = opening(opened, tmp_path)
    fill(store, 100)
    assert store.append_soon([draft(prio=3)]).exception(10) is None
    while store.pressure < Pressure.REFUSE:
        fill(store, 1)
    refused = store.append_soon([draft(prio=3)]).exception(10)
    assert isinstance(refused, StoreFull)
    assert "background" in str(refused)
    assert store.append_soon([draft(prio=3), draft(prio=1)]).exception(10) is None
    while (error := store.append_soon([draft(text="x" * 2000)]).exception(10)) is None:
        pass
    assert isinstance(error, StoreFull)
    assert store.pressure == Pressure.MANUAL
    # The last room is for these.
    for n in range(20):
        assert store.append_soon([draft(prio=0, n=n, text="x" * 2000)]).exception(10) is None
    told = {"type": "carril.directive.hit", "directive_id": "d1", "hold_kind": "stop", "text": "x" * 4000}
    for _ in range(3):
        assert store.append_soon([draft("d1", **told)]).exception(10) is None
    others = [store.append_soon([draft(text="x" * 4000)]).exception(10) for _ in range(3)]
    assert isinstance(others[-1], StoreFull)
    ack(store, store.published)
    within(3, lambda: store.pressure == Pressure.NONE)
    assert store.append_soon([draft(prio=3)]).exception(10) is None


def test_a_full_journal_is_quiet_and_its_alarms_are_signed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_small(tmp_path / "state", quota_bytes=4_000_000)
    try:
        for size in (20_000, 500, 10):
            with pytest.raises(StoreFull):
                fill(store, 10_000, size=size)
        alarm = fill(store, 1, prio=0, size=10)
        within(5, lambda: stored(store, "SELECT max(seq) FROM signed_head") == [alarm])
        with pytest.raises(StoreFull):
            fill(store, 10_000, prio=0, size=500)
        with pytest.raises(StoreFull):  # one by one: of a group that did not fit nothing was kept
            for _ in range(10_000):
                fill(store, 1, prio=0, size=500)
        caplog.clear()
        time.sleep(2)
        assert len(caplog.records) < 5
    finally:
        store.close()


def test_a_passage_of_which_only_an_early_record_is_kept_is_no_fault_of_the_search_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "TRIM_FROM", 0.0)
    monkeypatch.setattr(retention, "TRIM_TO", 0.0)
    store = open_small(tmp_path / "state")
    for kind in ("opened", "sealed"):
        store.append_soon([of_inspection("i1", f"carril.inspection.{kind}")]).result(10)
    ack(store, 2, 1)
    within(10, lambda: stored(store) == [1])
    store.close()
    assert verify(tmp_path / "state").faults == ()
