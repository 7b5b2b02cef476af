"""Heads are signed when they should be, never on an idle disk, and served to whoever keeps them."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from station.store import chore, heads
from station.store.heads import Head, load_key, notes_after, public_keys, read_note
from station.store.journal import Store
from station.store.mark import read_mark
from station.store.ops import Transaction
from station.store.place import Journal
from tests.support.journal import STATION, append, draft, of_inspection, open_small
from tests.support.served import Served


def signed(store: Store) -> list[tuple[int, Head]]:
    """The heads of a running store, each proven."""
    notes: list[tuple[int, str]] = store._readers.look(lambda view: notes_after(view.connection, 0, 10_000))
    keys = public_keys(store.head_key)
    return [(seq, read_note(note, keys)) for seq, note in notes]


def wait_for(what: Callable[[], bool], limit_s: float = 4.0) -> float:
    """Wait until it is so; return the seconds that it took."""
    began_s = time.monotonic()
    while not what():
        assert time.monotonic() - began_s < limit_s, "it did not come"
        time.sleep(0.005)
    return time.monotonic() - began_s


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """Each time that the signer had nothing to do: the last record then, and whether the writer was idle."""
    calls: list[tuple[int, bool]] = []
    next_ = heads.HeadSigner.next

    def noted(self: heads.HeadSigner, journal: Journal, *, idle: bool) -> Any:
        op = next_(self, journal, idle=idle)
        if op is None:
            calls.append((journal.seq, idle))
        return op

    monkeypatch.setattr(heads.HeadSigner, "next", noted)
    return calls


def rows_of(state: Path) -> list[tuple[int, str]]:
    connection = sqlite3.connect(state / "journal" / "station.db")
    found = connection.execute("SELECT seq, note FROM signed_head ORDER BY seq").fetchall()
    connection.close()
    return found


# --- when -----------------------------------------------------------------------------------------


def test_a_record_has_its_head_after_a_second_and_an_idle_disk_is_left_alone(
    tmp_path: Path, asked: list[tuple[int, bool]]
) -> None:
    state = tmp_path / "state"
    store = open_small(state)
    receipt = store.append_soon([draft(), draft()]).result(10)
    assert signed(store) == []
    took_s = wait_for(lambda: bool(signed(store)))
    assert 0.9 < took_s < 3
    ((seq, head),) = signed(store)
    (row,) = store._readers.look(lambda view: list(view.connection.execute("SELECT hash FROM head")))
    assert (seq, head.seq, head.epoch, head.station) == (2, 2, receipt.epoch, STATION)
    assert head.hash == row[0]
    assert abs(time.time() - time.mktime(time.strptime(head.time, "%Y-%m-%dT%H:%M:%SZ")) + time.timezone) < 60
    assert head.clock in ("sync", "unsync", "unknown")

    def disk() -> tuple[Any, ...]:
        files = [path.stat() for path in sorted(state.rglob("*")) if path.is_file()]
        mark = read_mark(state / "mark.bin")
        return store.stats.commits, mark, [(file.st_size, file.st_mtime_ns, file.st_ino) for file in files]

    def rounds() -> int:
        return asked.count((2, True))

    wait_for(lambda: rounds() > 0)  # the mark of the head is written, and there is nothing more to do
    before, began = disk(), rounds()
    wait_for(lambda: rounds() > began + 1)
    assert disk() == before
    store.close()


def test_a_seal_is_signed_at_once(tmp_path: Path, asked: list[tuple[int, bool]]) -> None:
    store = open_small(tmp_path / "state")
    store.append_soon([of_inspection("i1", "carril.inspection.opened")]).result(10)
    wait_for(lambda: (1, False) in asked)
    assert signed(store) == []
    store.append_soon([of_inspection("i1", "carril.inspection.sealed"), draft()]).result(10)
    assert wait_for(lambda: bool(signed(store))) < 0.5
    assert [seq for seq, _ in signed(store)] == [3]
    store.append_soon([draft()]).result(10)  # the seal has its head: no reason for another one
    wait_for(lambda: (4, False) in asked)
    assert [seq for seq, _ in signed(store)] == [3]
    store.close()


def test_many_records_are_signed_without_waiting(tmp_path: Path, asked: list[tuple[int, bool]]) -> None:
    store = open_small(tmp_path / "state")
    store.append_soon([draft() for _ in range(255)]).result(10)
    wait_for(lambda: (255, False) in asked)
    assert signed(store) == []
    store.append_soon([draft()]).result(10)
    assert wait_for(lambda: bool(signed(store))) < 0.5
    assert [seq for seq, _ in signed(store)] == [256]
    store.close()


def test_the_last_record_is_signed_at_the_end_and_a_restart_signs_nothing_again(tmp_path: Path) -> None:
    state = tmp_path / "state"
    store = open_small(state)
    store.append_soon([draft()]).result(10)
    store.append_soon([draft()]).result(10)
    store.close()
    notes = rows_of(state)
    assert [seq for seq, _ in notes] == [2]
    open_small(state).close()
    assert rows_of(state) == notes


def test_a_head_that_could_not_be_stored_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_small(tmp_path / "state")
    apply = heads._AddHead.apply
    failed: list[int] = []

    def full_once(self: heads._AddHead, tx: Transaction) -> None:
        if not failed:
            failed.append(self.seq)
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        apply(self, tx)

    monkeypatch.setattr(heads._AddHead, "apply", full_once)
    monkeypatch.setattr(chore, "REST_S", 0.2)
    store.append_soon([of_inspection("i1", "carril.inspection.sealed")]).result(10)
    wait_for(lambda: bool(signed(store)))
    assert failed == [1]
    assert store.state == "open"
    store.close()


def test_a_new_epoch_has_heads_of_its_own(tmp_path: Path) -> None:
    state = tmp_path / "state"
    store = open_small(state)
    store.append_soon([draft()]).result(10)
    store.close()
    shutil.rmtree(state / "journal")
    store = open_small(state)
    assert store.before is not None
    wait_for(lambda: bool(signed(store)))
    seq, head = signed(store)[0]
    assert seq >= store.first_seq == 2
    assert head.epoch == store.epoch
    store.close()


def test_of_removed_records_the_last_head_of_each_day_stays(
    tmp_path: Path, asked: list[tuple[int, bool]]
) -> None:
    state = tmp_path / "state"
    store = open_small(state)
    store.append_soon([draft() for _ in range(12)]).result(10)
    store.close()
    key = load_key(state, STATION)
    connection = sqlite3.connect(state / "journal" / "station.db")
    (epoch,) = connection.execute("SELECT epoch FROM store").fetchone()
    days = {2: "20", 3: "20", 4: "20", 5: "21", 7: "22", 8: "22", 9: "22", 10: "22"}
    for seq, day in days.items():
        head = Head(STATION, epoch.hex(), seq, bytes(32), f"2026-11-{day}T04:00:00Z", "sync")
        connection.execute("INSERT INTO signed_head VALUES (?, ?)", (seq, key.sign(head)))
    connection.execute(
        "UPDATE head SET anchor_seq = 9, anchor_hash = (SELECT hash FROM record WHERE seq = 9)"
    )
    connection.execute("DELETE FROM record WHERE seq <= 9")
    connection.commit()
    connection.close()
    store = open_small(state)
    wait_for(lambda: len(signed(store)) < 9)
    # 9 is the anchor, whose hash is known still; what lies above is not touched.
    left, began = [seq for seq, _ in signed(store)], len(asked)
    wait_for(lambda: len(asked) > began + 1)
    assert left == [seq for seq, _ in signed(store)] == [4, 5, 8, 9, 10, 12]
    store.close()


# --- served ---------------------------------------------------------------------------------------


async def page_of(central: Served, after: int, **parameters: object) -> Any:
    query: Any = central.feed(after, **parameters)
    return (await central.client.get("/v1/feed", params=query)).json()


async def test_pages_of_the_feed_carry_the_newest_head(central: Served) -> None:
    store = central.store
    await append(store, [draft()])
    page = await page_of(central, 0)
    assert page["signed_head"] is None
    await append(store, [of_inspection("i1", "carril.inspection.sealed")])
    await asyncio.to_thread(wait_for, lambda: bool(signed(store)))
    await append(store, [draft()])
    notes = {}
    for limit in (1, 2, 3):
        page = await page_of(central, 0, limit=limit)
        notes[page["next"]] = page["signed_head"]
    assert notes[1] is None
    key = (await central.client.get("/v1")).json()["head_key"]
    assert [read_note(notes[seq], public_keys(key)).seq for seq in (2, 3)] == [2, 2]
    alarms = await page_of(central, 0, prio=0)
    assert alarms["signed_head"] == notes[3]


async def test_checkpoints_are_read_page_by_page(central: Served) -> None:
    store = central.store
    await append(store, [draft() for _ in range(1100)])
    await asyncio.to_thread(wait_for, lambda: bool(signed(store)))
    (note,) = (each["note"] for each in (await central.client.get("/v1/checkpoints")).json()["items"])
    connection = sqlite3.connect(store._place.database)  # for a test; in the daemon nobody else may
    rows = [(seq, note) for seq in range(1, 1100, 2)]
    with connection:
        connection.executemany("INSERT INTO signed_head VALUES (?, ?)", rows)
    connection.close()
    seqs: list[int] = []
    pages = []
    while items := (
        await central.client.get("/v1/checkpoints", params={"after": seqs[-1] if seqs else 0})
    ).json()["items"]:
        assert all(set(item) == {"seq", "note"} for item in items)
        seqs += [item["seq"] for item in items]
        pages.append(len(items))
    assert seqs == [*range(1, 1100, 2), 1100]
    assert pages == [500, 51]


@pytest.mark.parametrize(
    "query", ["after=-1", "after=x", "after=9007199254740992", "before=3", "after=1&after=2", "after="]
)
async def test_a_bad_question_for_checkpoints_is_refused(central: Served, query: str) -> None:
    reply = await central.client.get(f"/v1/checkpoints?{query}")
    assert reply.status_code == 400
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["type"] == "urn:carril:problem:bad-parameter"
    assert reply.json()["errors"][0]["field"].startswith("query.")


async def test_a_damaged_head_is_sent_for_what_it_is(central: Served) -> None:
    await append(central.store, [draft(), draft()])
    connection = sqlite3.connect(central.store._place.database)
    with connection:
        connection.execute("INSERT INTO signed_head VALUES (1, CAST(x'63FF00' AS TEXT))")
    connection.close()
    items = (await central.client.get("/v1/checkpoints")).json()["items"]
    assert items == [{"seq": 1, "note": "c?\0"}]
    page = await page_of(central, 0, limit=1)
    assert page["signed_head"] == "c?\0"


async def test_openssl_proves_a_head_with_the_key_of_the_index(central: Served, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    await append(central.store, [of_inspection("i1", "carril.inspection.sealed")])
    await asyncio.to_thread(wait_for, lambda: bool(signed(central.store)))
    (item,) = (await central.client.get("/v1/checkpoints")).json()["items"]
    line = (await central.client.get("/v1")).json()["head_key"]
    (tmp_path / "key").write_text(f"-----BEGIN PUBLIC KEY-----\n{line}\n-----END PUBLIC KEY-----\n")
    (tmp_path / "note").write_text(item["note"])
    # As the reference page says it.
    script = """
sed '/^$/,$d' note > text
sed -n 's/^— [^ ]* //p' note | base64 -d | tail -c 64 > signature
openssl pkeyutl -verify -pubin -inkey key -rawin -in text -sigfile signature
"""
    command = partial(subprocess.run, ["sh", "-ec", script], cwd=tmp_path, capture_output=True, text=True)
    done = await asyncio.to_thread(command)
    assert (done.returncode, done.stdout) == (0, "Signature Verified Successfully\n"), done.stderr
