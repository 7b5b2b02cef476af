"""After a journal that cannot be trusted: each sound record comes to each consumer, and the rest is told."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from station.domain.schemas import catalogue
from station.store import salvage as salvage_module
from station.store.draft import MAX_DATA_BYTES, BlobRef
from station.store.errors import StoreUnavailable
from station.store.feed import read_after
from station.store.ops import Ack
from station.store.place import Consumer
from station.store.schema import PAGE_BYTES
from station.store.verify import verify
from tests.support.epochs import CLOSED, DB, Follower, Quiet, distrusted, salvage_ends, sql
from tests.support.journal import draft, of_inspection, open_small

TWO = (Consumer("central"), Consumer("port", required=False))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def write(state: Path, count: int, **settings: Any) -> Follower:
    """Append ``count`` records and stop; returns what a consumer knows that has read all."""
    store = open_small(state, **settings)
    for _ in range(count // 50):
        store.append_soon([draft(n=n, text="x" * 500) for n in range(50)]).result(10)
    reader = Follower(epoch=store.epoch, cursor=store.first_seq - 1)
    reader.read(store)
    store.close()
    return reader


def after_salvage(state: Path, reader: Follower, folders: int = 1) -> Follower:
    """Open, let the salvage end, let the consumer read on, and prove the journal."""
    store = open_small(state)
    try:
        salvage_ends(store, folders)
        reader.read(store)
    finally:
        store.close()
    report = verify(state)
    assert report.ok, report.faults
    return reader


def numbers(reader: Follower, epoch: str) -> list[int]:
    """The records of an epoch that the consumer has."""
    return sorted(int(id_.partition(":")[2]) for id_ in reader.seen if id_.startswith(epoch))


def test_the_salvage_begins_at_the_lowest_cursor_of_all_consumers(state: Path) -> None:
    before = write(state, 900, consumers=TWO)
    store = open_small(state, consumers=TWO)
    for name, seq in (("central", 850), ("port", 200)):
        store._submitted(lambda name=name, seq=seq: Ack(name, store.epoch, seq)).result(10)
    store.close()
    distrusted(state)
    late = after_salvage(state, Follower(epoch=before.epoch, cursor=200))
    assert numbers(late, before.epoch) == list(range(201, 901))
    assert all(late.seen[id_] == before.seen[id_] for id_ in late.seen if id_.startswith(before.epoch))
    (closing,) = late.closed
    told = {name: closing[name] for name in ("epoch", "from", "to", "salvaged", "gaps")}
    assert told == {"epoch": before.epoch, "from": 201, "to": 900, "salvaged": 700, "gaps": 0}
    assert (late.lost, late.copies) == ([], 0)


def test_a_consumer_that_follows_the_change_ends_with_every_record_once(state: Path) -> None:
    reader = write(state, 900)
    distrusted(state)
    after_salvage(state, reader)
    known = [id_ for id_, event in reader.seen.items() if event["type"] == "carril.lane_mode.changed"]
    assert len(known) == 900
    assert reader.copies == 900  # nothing was acknowledged, so all of it came again, and was known


def test_priority_subject_flags_and_blobs_are_the_original_s(state: Path) -> None:
    store = open_small(state)
    shas = [store.keep_blob(f"photo {n}".encode(), "image/jpeg") for n in range(2)]
    gone = store.keep_blob(b"gone", "image/jpeg")
    blobs = tuple(BlobRef("photo", sha, "image/jpeg") for sha in (*shas, gone))
    drafts = [
        draft("rpm1", prio=0, simulated=True, blobs=blobs),
        draft("cam1", prio=3, number=1e20),
        draft("lane", text="y" * (MAX_DATA_BYTES - 100)),
    ]
    store.append_soon(drafts).result(10)
    path = store._blobs.path(bytes.fromhex(gone))
    store.close()
    path.unlink()
    for n in range(600):  # so that the new epoch does not begin with them
        if n == 0:
            store = open_small(state)
        store.append_soon([draft(n=n)])
    store.close()
    distrusted(state)
    store = open_small(state)
    salvage_ends(store, 1)
    found = store._readers.look(lambda view: read_after(view, 0, 2000))
    first, second, third = sorted(found, key=lambda row: row.told()[0])[:3]
    connection = sqlite3.connect(state / DB)
    relations = connection.execute(
        "SELECT role, hex(sha256), media FROM record_blob JOIN blob USING (sha256) WHERE seq = ?",
        (first.seq,),
    ).fetchall()
    connection.close()
    store.close()
    assert (first.prio, first.subject, first.flags) == (0, "rpm1", 1)
    assert (second.prio, second.subject, second.flags) == (3, "cam1", 0)
    assert (
        b'"number":100000000000000000000,' in second.body
    )  # byte for byte, though it reads as a large integer
    assert len(third.body) > MAX_DATA_BYTES
    assert {row[1].lower() for row in relations} == {*shas, gone}
    assert {row[2] for row in relations} == {"image/jpeg"}
    assert verify(state).faults == (f"Blob {gone} cannot be read: {_no_file(path)}.",)


def _no_file(path: Path) -> str:
    return str(FileNotFoundError(2, "No such file or directory", str(path)))


@pytest.mark.parametrize("where", ["head", "middle", "header", "everything"])
def test_what_a_damaged_database_still_holds_comes_back_and_the_rest_is_told(state: Path, where: str) -> None:
    reader = write(state, 900)
    old = reader.epoch
    content = bytearray((state / DB).read_bytes())
    pages = len(content) // PAGE_BYTES
    hit = {"head": [pages - 2, pages - 1], "middle": [pages // 2], "header": [0], "everything": range(pages)}
    for page in hit[where]:
        content[page * PAGE_BYTES : (page + 1) * PAGE_BYTES] = os.urandom(PAGE_BYTES)
    (state / DB).write_bytes(content)
    if where in ("head", "middle"):
        (state / "mark.bin").write_bytes(b"\0" * 8192)
    new = after_salvage(state, Follower(epoch=old))
    have, lost = set(numbers(new, old)), {n for _, a, b in new.lost for n in range(a, b + 1)}
    assert have | lost == set(range(1, 901))
    assert have & lost == set()
    assert all(new.seen[id_] == reader.seen[id_] for id_ in new.seen if id_.startswith(old))
    most = {"head": 60, "middle": 60, "header": 0, "everything": 900}
    assert len(lost) <= most[where]
    (closing,) = new.closed
    assert (closing["salvaged"], closing["gaps"]) == (len(have), len(lost))


def test_a_log_with_a_damaged_frame_gives_back_what_stands_behind_it(state: Path, tmp_path: Path) -> None:
    store = open_small(state)
    for n in range(100):
        store.append_soon([draft(n=n, text="x" * 300)]).result(10)
    old = store.epoch
    left = tmp_path / "left"
    shutil.copytree(state, left)
    store.close()
    log = left / f"{DB}-wal"
    content = bytearray(log.read_bytes())
    content[len(content) // 3] ^= 1
    log.write_bytes(content)
    new = after_salvage(left, Follower(epoch=old))
    assert len(numbers(new, old)) >= 99


def test_a_lost_log_is_told_as_lost(state: Path, tmp_path: Path) -> None:
    store = open_small(state)
    for n in range(20):
        store.append_soon([draft(n=n)]).result(10)
    old = store.epoch
    left = tmp_path / "left"
    shutil.copytree(state, left)
    store.close()
    (left / f"{DB}-wal").unlink()
    new = after_salvage(left, Follower(epoch=old))
    assert numbers(new, old) == []
    assert new.lost == [(old, 1, 20)]


def test_two_epochs_in_a_row_are_never_nested(state: Path) -> None:
    first = write(state, 900)
    distrusted(state)
    store = open_small(state)
    store.append_soon([draft(second=True)]).result(10)
    store.close()  # the salvage may have begun, but hardly ended
    second = store.epoch
    distrusted(state)
    new = after_salvage(state, Follower(epoch=second), folders=2)
    assert numbers(new, first.epoch) == list(range(1, 901))
    assert all(new.seen[id_] == event for id_, event in first.seen.items())
    assert sum("second" in event["data"] for event in new.seen.values()) == 1
    assert new.lost == []
    assert len(list(state.glob("quarantine/*/journal/station.db"))) == 2


def test_a_finished_salvage_is_carried_on_and_not_done_again(state: Path) -> None:
    first = write(state, 900)
    distrusted(state)
    after_salvage(state, Follower(epoch=first.epoch))
    distrusted(state)
    new = after_salvage(state, Follower(epoch=first.epoch), folders=2)
    assert numbers(new, first.epoch) == list(range(1, 901))
    assert new.copies == 0
    kinds = [event["type"] for event in new.seen.values()]
    assert kinds.count(CLOSED) == 2
    assert kinds.count("carril.epoch.opened") == 2


def test_a_step_is_small_and_callers_go_between(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(state, 2000)
    distrusted(state)
    steps: list[int] = []
    apply = salvage_module.Step.apply
    monkeypatch.setattr(
        salvage_module.Step, "apply", lambda self, tx: (steps.append(len(self.rows)), apply(self, tx))[1]
    )
    store = open_small(state)
    mine = []
    while len(steps) < 10:
        mine.append(store.append_soon([draft(mine=len(mine))]).result(10).first)
    salvage_ends(store, 1)
    store.close()
    assert max(steps) <= 64
    assert mine[-1] - mine[0] > len(mine)  # salvaged records stand between them


def test_a_step_that_fails_is_tried_again(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = write(state, 900).epoch
    distrusted(state)
    monkeypatch.setattr(salvage_module, "AGAIN_S", 0.05)
    apply, failed = salvage_module.Step.apply, []

    def fail_once(self: salvage_module.Step, tx: Any) -> None:
        if len(failed) < 2 and self.next_seq > 200:
            failed.append(self.next_seq)
            raise sqlite3.OperationalError("no")
        apply(self, tx)

    monkeypatch.setattr(salvage_module.Step, "apply", fail_once)
    new = after_salvage(state, Follower(epoch=old))
    assert len(failed) == 2
    assert numbers(new, old) == list(range(1, 901))
    assert new.copies == 0


def test_more_records_than_are_remembered_at_a_time(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = write(state, 900).epoch
    distrusted(state)
    monkeypatch.setattr("station.store.carve.WINDOW", 150)
    found = Quiet(state)
    found.salvage()
    new = Follower(epoch=old)
    new.read(found)
    found.journal.close()
    assert numbers(new, old) == list(range(1, 901))
    assert new.lost == []


def test_a_vehicle_in_the_lane_does_not_vanish(state: Path) -> None:
    store = open_small(state)
    store.append_soon([of_inspection("over", "carril.inspection.opened")]).result(10)
    store.append_soon([of_inspection("i1", "carril.inspection.opened")]).result(10)
    store.append_soon([of_inspection("over", "carril.inspection.sealed")]).result(10)
    for _ in range(20):
        store.append_soon([draft(n=n) for n in range(50)]).result(10)
    store._submitted(lambda: Ack("central", store.epoch, 1000)).result(10)  # below every cursor
    store.close()
    distrusted(state)
    found = Quiet(state)  # nothing is salvaged yet
    (subject,) = found.journal.connection.execute("SELECT subject FROM open_subject").fetchall()
    rows = found.look(lambda view: read_after(view, 0, 2000))
    found.journal.close()
    assert subject == ("i1",)
    assert [row.told()[1] for row in rows if row.subject == "i1"] == ["carril.inspection.opened"]


@pytest.mark.parametrize("is_sealed", [True, False])
def test_a_vehicle_that_was_sealed_meanwhile_is_not_opened_again(
    state: Path, monkeypatch: pytest.MonkeyPatch, is_sealed: bool
) -> None:
    store = open_small(state)
    store.append_soon([of_inspection("i1", "carril.inspection.opened")]).result(10)
    for _ in range(12):
        store.append_soon([draft(n=n) for n in range(50)]).result(10)
    store.close()
    sql(state, "DROP TABLE open_subject")  # nobody can tell any more which were open
    distrusted(state)
    with monkeypatch.context() as patch:
        patch.setattr(salvage_module.Salvage, "next", lambda *_, **__: None)
        store = open_small(state)
        if is_sealed:
            store.append_soon([of_inspection("i1", "carril.inspection.sealed")]).result(10)
    salvage_ends(store, 1)
    query = "SELECT subject FROM open_subject"
    opened = store._readers.look(lambda view: view.connection.execute(query).fetchall())
    store.close()
    assert opened == ([] if is_sealed else [("i1",)])


def test_damage_that_only_a_look_up_finds_begins_a_new_epoch(state: Path) -> None:
    reader = write(state, 3000)
    content = bytearray((state / DB).read_bytes())
    # The first leaf page of the table `record`.
    start = next(
        at
        for at in range(0, len(content), PAGE_BYTES)
        if content[at] == 0x0D and b'"n":20,' in content[at : at + PAGE_BYTES]
    )
    content[start : start + PAGE_BYTES] = bytes(PAGE_BYTES)
    (state / DB).write_bytes(content)
    store = open_small(state)
    assert store.epoch == reader.epoch  # the end of the journal is sound
    with pytest.raises(StoreUnavailable, match=r"cannot be read|not open"):  # the writer may find it first
        store._readers.look(lambda view: read_after(view, 0, 2000))
    until = time.monotonic() + 10
    while store.epoch == reader.epoch and time.monotonic() < until:
        with contextlib.suppress(StoreUnavailable):  # while it opens anew, and damaged still
            store._readers.look(lambda view: read_after(view, 0, 2000))
        time.sleep(0.05)
    salvage_ends(store, 1)
    new = Follower(epoch=reader.epoch)
    new.read(store)
    store.close()
    lost = {n for _, a, b in new.lost for n in range(a, b + 1)}
    assert 1 <= len(lost) <= 40
    assert len(numbers(new, reader.epoch)) == 3000 - len(lost)


def test_every_own_event_is_of_the_catalogue(state: Path) -> None:
    old = write(state, 900)
    (state / f"{DB}").write_bytes(b"")
    new = after_salvage(state, Follower(epoch=old.epoch))
    own = [event for id_, event in new.seen.items() if not id_.startswith(old.epoch)]
    assert {event["type"] for event in own} == {"carril.epoch.opened", "carril.records.lost", CLOSED}
    for event in own:
        catalogue()[event["type"]].model_validate(event["data"])
    assert new.lost == [(old.epoch, 1, 900)]


def test_an_empty_quarantine_folder_is_left_alone(state: Path) -> None:
    (state / "quarantine" / "0001-20261126T000000Z").mkdir(parents=True)
    write(state, 50)
    store = open_small(state)
    store.append_soon([draft()]).result(10)
    found = store._readers.look(lambda view: view.connection.execute("SELECT dir FROM salvage").fetchall())
    store.close()
    assert found in ([], [("",)])
