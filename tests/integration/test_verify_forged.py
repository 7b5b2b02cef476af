"""What somebody with a database tool can do to a stopped station, and what proves it."""

# ruff: noqa: S608 - every value in a statement is of this file
from __future__ import annotations

import contextlib
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from station.store.blobs import BlobFiles
from station.store.canonical import canonical
from station.store.chain import SALVAGED, link
from station.store.database import connect_reader
from station.store.heads import public_file, public_keys
from station.store.mark import read_mark
from station.store.place import Consumer
from station.store.verify import _Check, verify
from tests.support.bundles import with_photos
from tests.support.forgery import (
    INSPECTION,
    LAST,
    SIGNED,
    change,
    database,
    note_of,
    rewrite,
    select,
    set_mark,
    stopped_station,
    trim,
)
from tests.support.journal import draft, open_small


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stopped_station(tmp_path_factory.mktemp("forged") / "state")


@pytest.fixture
def state(master: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(master, tmp_path / "state"))


# --- records --------------------------------------------------------------------------------------


def test_an_untouched_folder_is_proven(state: Path) -> None:
    report = verify(state, head=note_of(state, 14), keys=public_file(state).read_text())
    assert report.ok, report
    assert (report.heads, report.kept) == (
        3,
        "The head of record 14 that was kept outside is in this journal.",
    )


def test_a_record_that_was_added_behind_the_end_is_named(state: Path) -> None:
    columns = "type, prio, subject, time_us, flags, body, prev, hash"
    change(state, f"INSERT INTO record SELECT 9999, {columns} FROM record WHERE seq = {LAST}")
    assert "Record 9999 stands behind the end of the journal." in verify(state).faults


def test_a_refused_record_that_is_gone_is_named(state: Path) -> None:
    change(state, "INSERT INTO nack VALUES ('central', 9999, 'schema', 1, NULL)")
    assert "Record 9999, which central has refused, is missing." in verify(state).faults


@pytest.mark.parametrize(
    "forged", ["time_us + 1000", "time_us - 3600000000", "1", "-1", "9223372036854775807"]
)
def test_a_record_whose_time_was_changed_is_named(state: Path, forged: str) -> None:
    change(state, f"UPDATE record SET time_us = {forged} WHERE seq = 7")
    assert verify(state).first_bad == 7


def test_a_record_that_became_something_else_with_a_fitting_hash_is_named(state: Path) -> None:
    for body in ("{}", "nothing", "[1]", '{"id":3}', '{"type":"a","prio":1,"subject":"b","data":7,"id":"c"}'):
        with database(state) as connection:
            (epoch,) = connection.execute("SELECT epoch FROM store").fetchone()
            (prev,) = connection.execute("SELECT prev FROM record WHERE seq = 22").fetchone()
            digest = link(prev, epoch, 22, body.encode())
            connection.execute("UPDATE record SET body = ?, hash = ? WHERE seq = 22", (body, digest))
            connection.execute("UPDATE head SET hash = ?", (digest,))
        assert verify(state).first_bad == 22, body


@pytest.mark.parametrize("data", ['{"n":22}', '{"original":7}', '{"original":{"type":"x","data":{}}}'])
def test_a_wrapper_without_what_it_wraps_is_named_and_raises_nothing(state: Path, data: str) -> None:
    with database(state) as connection:
        (epoch,) = connection.execute("SELECT epoch FROM store").fetchone()
        prev, body = connection.execute("SELECT prev, body FROM record WHERE seq = 22").fetchone()
        event = {**json.loads(body), "type": SALVAGED, "data": json.loads(data)}
        forged = canonical(event).decode()
        values = {"body": forged, "hash": link(prev, epoch, LAST, forged.encode()), "type": SALVAGED}
        connection.execute(
            "UPDATE record SET type = :type, body = :body, hash = :hash WHERE seq = 22", values
        )
        connection.execute("UPDATE head SET hash = :hash", values)
    set_mark(state, LAST)
    report = verify(state)
    assert report.first_bad == LAST, report


@pytest.mark.parametrize(("seq", "named"), [(1, 8), (8, 8), (9, 14), (15, 22), (22, 22)])
def test_a_chain_that_was_computed_anew_is_named_by_the_next_signed_head(
    state: Path, seq: int, named: int
) -> None:
    rewrite(state, seq)
    report = verify(state)
    assert report.first_bad == named
    before = max([0, *(each for each in SIGNED if each < named)])
    span = f"of {before + 1} to {named} some were rewritten"
    assert report.faults[0] == f"Record {named} is not the one that was signed: {span}."


def test_a_chain_that_begins_elsewhere_is_named(state: Path) -> None:
    rewrite(state, 1)
    with database(state) as connection:
        connection.execute("DELETE FROM signed_head")
        (epoch,) = connection.execute("SELECT epoch FROM store").fetchone()
        prev = bytes(32)
        connection.execute("UPDATE head SET anchor_hash = ?", (prev,))
        for at, body in connection.execute("SELECT seq, body FROM record ORDER BY seq").fetchall():
            digest = link(prev, epoch, at, body.encode())
            connection.execute("UPDATE record SET prev = ?, hash = ? WHERE seq = ?", (prev, digest, at))
            prev = digest
        connection.execute("UPDATE head SET hash = ?", (prev,))
    set_mark(state, LAST)
    assert verify(state).first_bad == 1


def test_any_flipped_byte_is_named_or_changed_nothing_that_is_proven(
    master: Path, tmp_path: Path, soak: bool
) -> None:
    """Random bits of the database: what verify calls sound says exactly what was written."""
    queries = (
        "SELECT seq, type, prio, subject, time_us / 1000, flags, body, prev, hash FROM record NOT INDEXED",
        "SELECT seq, hash, anchor_seq, anchor_hash FROM head",
        "SELECT station, epoch FROM store",
        "SELECT seq, note FROM signed_head",
        "SELECT * FROM inspection",
    )

    def content(folder: Path) -> list[list[tuple[Any, ...]]]:
        return [select(folder, query) for query in queries]

    truth = content(master)
    state = Path(shutil.copytree(master, tmp_path / "state", ignore=shutil.ignore_patterns("blobs")))
    path = state / "journal" / "station.db"
    sound = path.read_bytes()
    used = [at for at in range(len(sound)) if sound[at]]  # most of the pages is empty
    chance = random.Random(7)
    named = 0
    for _ in range(5000 if soak else 250):
        at, bit = chance.choice(used), 1 << chance.randrange(8)
        path.write_bytes(sound[:at] + bytes([sound[at] ^ bit]) + sound[at + 1 :])
        if verify(state).ok:
            assert content(state) == truth, f"bit {bit} of byte {at} went unseen"
        else:
            named += 1
    assert named > 100


# --- rows that retention kept ---------------------------------------------------------------------


@pytest.fixture
def trimmed(state: Path) -> Path:
    return trim(state)


def test_rows_that_were_kept_are_proven_each_by_itself(trimmed: Path) -> None:
    report = verify(trimmed)
    assert report.ok, report.faults
    assert (report.oldest, report.head) == (11, LAST)


@pytest.mark.parametrize(
    ("statement", "first_bad"),
    [
        ("UPDATE record SET body = replace(body, 'x', 'y') WHERE seq = 8", 8),
        ("UPDATE record SET subject = 'other' WHERE seq = 3", 3),
        ("UPDATE record SET time_us = 1 WHERE seq = 3", 3),
        ("UPDATE record SET prev = zeroblob(32) WHERE seq = 4", 4),
        ("UPDATE record SET seq = 9 WHERE seq = 8", 9),
        ("UPDATE head SET anchor_hash = zeroblob(32)", 10),
        ("DELETE FROM record WHERE seq = 11", 11),
    ],
)
def test_a_kept_row_that_was_changed_is_named(trimmed: Path, statement: str, first_bad: int) -> None:
    change(trimmed, statement)
    assert verify(trimmed).first_bad == first_bad


def test_a_kept_row_with_a_hash_of_its_own_is_named_by_its_neighbour_or_its_head(trimmed: Path) -> None:
    def forge(seq: int) -> int | None:
        with database(trimmed) as connection:
            (epoch,) = connection.execute("SELECT epoch FROM store").fetchone()
            body, prev = connection.execute("SELECT body, prev FROM record WHERE seq = ?", (seq,)).fetchone()
            body = body.replace("false", "null", 1)
            digest = link(prev, epoch, seq, body.encode())
            connection.execute("UPDATE record SET body = ?, hash = ? WHERE seq = ?", (body, digest, seq))
        return verify(trimmed).first_bad

    assert forge(8) == 8  # it is signed
    assert forge(3) == 4  # 4 follows another one


@pytest.mark.parametrize(("forged", "first_bad"), [(7, None), (12, 12)])
def test_what_retention_removes_while_it_is_read_is_no_fault(
    state: Path, forged: int, first_bad: int | None
) -> None:
    with contextlib.closing(connect_reader(state / "journal" / "station.db")) as reader:
        check = _Check(reader, public_keys(public_file(state).read_text()))
        change(
            state,
            f"UPDATE record SET prio = 3 WHERE seq = {forged}",
            "DELETE FROM record WHERE seq <= 7",
            "UPDATE head SET anchor_seq = 7, anchor_hash = (SELECT prev FROM record WHERE seq = 8)",
        )
        report = check.run(read_mark(state / "mark.bin"), BlobFiles(state / "blobs"), None)
    assert report.first_bad == first_bad
    assert report.ok == (first_bad is None), report.faults


# --- the front ------------------------------------------------------------------------------------


@pytest.mark.parametrize("acked", [0, 9])
def test_a_front_that_was_cut_off_with_the_anchor_moved_along_is_named(trimmed: Path, acked: int) -> None:
    change(trimmed, f"UPDATE consumer SET acked_seq = {acked}")
    assert verify(trimmed).faults == (
        f"The records up to 10 are gone, but only those up to {acked} may be: the others are not "
        "acknowledged, or an inspection of them is open. They were cut off.",
    )


def test_a_front_that_was_cut_off_with_an_open_inspection_is_named(trimmed: Path) -> None:
    change(trimmed, f"INSERT INTO open_subject VALUES ('{INSPECTION}', 3, 0)")
    assert (
        verify(trimmed).faults[0].startswith("The records up to 10 are gone, but only those up to 2 may be")
    )


@pytest.mark.parametrize("forged", [0, 2, 11, 12, 10**6])
def test_a_first_number_that_was_changed_is_named(state: Path, trimmed: Path, forged: int) -> None:
    change(state, f"UPDATE store SET first_seq = {forged}")
    said = f"The journal says that it begins with record {forged}; its epoch begins with 1."
    assert said in verify(state).faults


def test_a_later_epoch_whose_front_was_forged_is_named(state: Path) -> None:
    shutil.rmtree(state / "journal")
    open_small(state).close()
    assert verify(state).ok
    change(state, "UPDATE store SET prev_last = 20")
    assert verify(state).faults[0] == (
        "The journal says that it begins with record 23; its epoch begins with 21."
    )
    change(state, "UPDATE store SET prev_last = 22", "UPDATE head SET anchor_seq = 20")
    assert "The journal says that it is kept from 21 on; it begins with 23." in verify(state).faults


def test_a_consumer_that_became_required_lacks_what_was_removed_before(state: Path) -> None:
    consumers = [Consumer("central"), Consumer("port", required=False)]
    open_small(state, consumers=consumers).close()
    trim(state)
    change(state, "UPDATE consumer SET acked_seq = 5 WHERE name = 'port'")
    assert verify(state).ok
    open_small(state, consumers=[consumers[0], Consumer("port")]).close()
    assert verify(state).ok


# --- photographs ----------------------------------------------------------------------------------


@pytest.fixture
def photo(state: Path) -> str:
    """The name of a blob that record 23 names; nothing acknowledged it."""
    store = open_small(state)
    digest = store.keep_blob(b"picture", "image/jpeg")
    store.append_soon([with_photos(draft(), digest)]).result(10)
    store.close()
    assert verify(state).ok
    return digest


def test_a_photo_that_was_removed_with_its_row_is_named(state: Path, photo: str) -> None:
    change(state, "DELETE FROM record_blob", "DELETE FROM blob")
    shutil.rmtree(state / "blobs")
    assert verify(state).faults == (f"Blob {photo}, which record 23 names, is not in the journal.",)


def test_a_photo_that_was_called_removed_is_named_unless_it_may_be(state: Path, photo: str) -> None:
    change(state, "UPDATE blob SET state = 1", "DELETE FROM open_subject")
    shutil.rmtree(state / "blobs")
    assert verify(state).faults == (
        f"Blob {photo} was removed, but record 23, which names it, must be kept.",
    )
    change(state, "UPDATE consumer SET acked_seq = 23")
    assert verify(state).ok


# --- the search table -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("plate", "'B-XY999'"),
        ("container", "''"),
        ("declared", "'MSKU9070323'"),
        ("state", "'sealed'"),
        ("flags", "1"),
        ("first_seq", "4"),
        ("last_seq", "5"),
    ],
)
def test_a_forged_search_row_is_named(state: Path, column: str, value: str) -> None:
    change(state, f"UPDATE inspection SET {column} = {value}")
    report = verify(state)
    assert report.faults == (
        f"The search table is not what the records say: inspection {INSPECTION}, {column}.",
    )
    assert report.first_bad is None


def test_a_missing_search_row_is_named(state: Path) -> None:
    change(state, "DELETE FROM inspection")
    lacks = f"The search table lacks inspection {INSPECTION}."
    assert verify(state).faults == (
        lacks,
        f"The search table finds inspection {INSPECTION}, which it does not have.",
    )
    change(state, "DELETE FROM search_key")
    assert verify(state).faults == (lacks,)


@pytest.mark.parametrize(
    "forged",
    [
        "DELETE FROM search_key WHERE kind = 'container'",
        "UPDATE search_key SET key = 'BXY999' WHERE kind = 'plate'",
        "UPDATE search_key SET first_seq = 4",
    ],
)
def test_a_forged_key_of_the_search_is_named(state: Path, forged: str) -> None:
    change(state, forged)
    wrong = f"The search table does not find inspection {INSPECTION} by what it says of it."
    assert verify(state).faults == (wrong,)


@pytest.mark.parametrize("last_seq", [4, LAST, 10**6])
def test_a_made_up_search_row_is_named(state: Path, last_seq: int) -> None:
    change(state, f"INSERT INTO inspection VALUES ('made-up', 2, {last_seq}, 'sealed', '', '', 0, '')")
    assert verify(state).faults == ("The search table has inspection made-up, no record has.",)


def test_a_search_row_for_what_is_no_inspection_is_named(state: Path) -> None:
    change(state, "INSERT INTO inspection VALUES ('lane', 1, 4, 'sealed', '', '', 0, '')")
    assert verify(state).faults == ("The search table has inspection lane, no record has.",)


def test_many_forged_rows_are_counted(state: Path) -> None:
    with database(state) as connection:
        for n in range(1200):
            connection.execute(
                "INSERT INTO inspection VALUES (?, 2, 4, 'open', '', '', 0, '')", (f"id{n:04}",)
            )
    faults = verify(state).faults
    assert len(faults) == 21
    assert faults[-1] == "… and 1180 more of this kind."


def test_an_inspection_whose_first_records_were_removed_is_compared_as_far_as_it_can_be(
    trimmed: Path,
) -> None:
    change(trimmed, "DELETE FROM record WHERE seq <= 10")
    assert verify(trimmed).ok  # the plate stood in record 5
    change(trimmed, "UPDATE inspection SET last_seq = 13")
    assert verify(trimmed).faults[0].endswith(f"inspection {INSPECTION}, last_seq.")
