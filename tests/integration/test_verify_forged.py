"""What somebody with a database tool can do to a stopped station, and what proves it."""

# ruff: noqa: S608 - every value in a statement is of this file
from __future__ import annotations

import contextlib
import dataclasses
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from station.cli.main import main
from station.store.blobs import BlobFiles
from station.store.chain import link
from station.store.database import connect_reader
from station.store.heads import Head, HeadKey, public_file, public_keys, public_line
from station.store.mark import Mark, MarkFile, read_mark
from station.store.verify import Report, _Check, verify
from tests.support.journal import STATION, draft, of_inspection, open_small

INSPECTION = "01a21695-9e0c-708c-bf73-84ae91d91f38"
LAST = 22
SIGNED = [8, 14, 22]


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped station: 22 records, an inspection in 3 to 12, signed heads of records 8, 14 and 22."""
    state = tmp_path_factory.mktemp("forged") / "state"
    for first, last in zip([1, 9, 15], SIGNED, strict=True):
        store = open_small(state)  # whose end signs the last record
        for seq in range(first, last + 1):
            identity = {"plate": {"text": "B-CD 123"}, "container": {"text": "CSQU3054383"}}
            record = {
                3: of_inspection(INSPECTION, "carril.inspection.opened"),
                5: of_inspection(INSPECTION, "carril.identity.read", identity=identity),
                12: of_inspection(INSPECTION, "carril.scan.started"),
            }.get(seq, draft(n=seq, text="x" * 200))
            store.append_soon([record]).result(10)
        store.close()
    assert [row[0] for row in select(state, "SELECT seq FROM signed_head ORDER BY seq")] == SIGNED
    return state


@pytest.fixture
def state(master: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(master, tmp_path / "state"))


@contextlib.contextmanager
def database(state: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(state / "journal" / "station.db")
    with connection:
        yield connection
    connection.close()


def select(state: Path, query: str) -> list[tuple[Any, ...]]:
    with database(state) as connection:
        return connection.execute(query).fetchall()


def change(state: Path, *statements: str) -> None:
    with database(state) as connection:
        for statement in statements:
            connection.execute(statement)


def note_of(state: Path, seq: int) -> str:
    return str(select(state, f"SELECT note FROM signed_head WHERE seq = {seq}")[0][0])


def set_mark(state: Path, seq: int) -> None:
    (hash_,) = select(state, f"SELECT hash FROM record WHERE seq = {seq}")[0]
    known = read_mark(state / "mark.bin")
    assert known is not None
    (state / "mark.bin").unlink()
    mark = MarkFile(state / "mark.bin")
    mark.write(known.epoch, seq, hash_, 0)
    mark.close()


def rewrite(state: Path, seq: int) -> None:
    """Change a record and every hash behind it, the head and the mark: a chain that is sound in itself."""
    with database(state) as connection:
        (epoch,) = connection.execute("SELECT epoch FROM store").fetchone()
        (prev,) = connection.execute("SELECT prev FROM record WHERE seq = ?", (seq,)).fetchone()
        found = connection.execute(
            "SELECT seq, body FROM record WHERE seq >= ? ORDER BY seq", (seq,)
        ).fetchall()
        for at, body in found:
            body = body.replace("xxx", "yyy") if at == seq else body
            digest = link(prev, epoch, at, body.encode())
            connection.execute(
                "UPDATE record SET body = ?, prev = ?, hash = ? WHERE seq = ?", (body, prev, digest, at)
            )
            prev = digest
        connection.execute("UPDATE head SET hash = ?", (prev,))
    set_mark(state, LAST)


def cut(state: Path, last: int) -> None:
    """Remove the records and heads behind one, leaving the mark."""
    change(
        state,
        f"DELETE FROM record WHERE seq > {last}",
        f"DELETE FROM signed_head WHERE seq > {last}",
        f"UPDATE head SET seq = {last}, hash = (SELECT hash FROM record WHERE seq = {last})",
    )


# --- records --------------------------------------------------------------------------------------


def test_an_untouched_folder_is_proven(state: Path) -> None:
    report = verify(state, head=note_of(state, 14), keys=public_file(state).read_text())
    assert report.ok, report
    assert (report.heads, report.kept) == (
        3,
        "The head of record 14 that was kept outside is in this journal.",
    )


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
    """Records up to 10 were removed but for 3, 4, 8 and 10, which something holds."""
    change(
        state,
        "DELETE FROM record WHERE seq IN (1, 2, 5, 6, 7, 9)",
        "UPDATE head SET anchor_seq = 10, anchor_hash = (SELECT hash FROM record WHERE seq = 10)",
    )
    return state


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


# --- the search table -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("plate", "'B-XY999'"),
        ("container", "''"),
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
    assert verify(state).faults == (f"The search table lacks inspection {INSPECTION}.",)


@pytest.mark.parametrize("last_seq", [4, LAST, 10**6])
def test_a_made_up_search_row_is_named(state: Path, last_seq: int) -> None:
    change(state, f"INSERT INTO inspection VALUES ('made-up', 2, {last_seq}, 'sealed', 'X', '', 0)")
    assert verify(state).faults == ("The search table has inspection made-up, no record has.",)


def test_a_search_row_for_what_is_no_inspection_is_named(state: Path) -> None:
    change(state, "INSERT INTO inspection VALUES ('lane', 1, 4, 'sealed', 'X', '', 0)")
    assert verify(state).faults == ("The search table has inspection lane, no record has.",)


def test_many_forged_rows_are_counted(state: Path) -> None:
    with database(state) as connection:
        for n in range(1200):
            connection.execute("INSERT INTO inspection VALUES (?, 2, 4, 'open', '', '', 0)", (f"id{n:04}",))
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


# --- signed heads ---------------------------------------------------------------------------------


def test_a_forged_head_is_named(state: Path) -> None:
    note = note_of(state, 14)
    stranger = HeadKey(STATION, Ed25519PrivateKey.generate())
    (epoch,) = select(state, "SELECT epoch FROM store")[0]
    forged = {
        note.replace("\n14\n", "\n15\n"): "Signed head 14 has a signature that is false.",
        note[:-3] + "\n": "Signed head 14 is no signed head.",
        "": "Signed head 14 is no signed head.",
        note_of(state, 8): "Signed head 14 is that of record 8.",
        stranger.sign(Head(STATION, epoch.hex(), 14, bytes(32), "2026-11-24T04:00:00Z", "sync")): (
            "Signed head 14 is signed with a key that is not known here"
        ),
    }
    for text, said in forged.items():
        with database(state) as connection:
            connection.execute("UPDATE signed_head SET note = ? WHERE seq = 14", (text,))
        report = verify(state)
        assert len(report.faults) == 1
        assert report.faults[0].startswith(said)


def test_heads_of_another_journal_are_named(state: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    store = open_small(other)
    store.append_soon([draft() for _ in range(14)]).result(10)
    store.close()
    with database(state) as connection:
        connection.execute("UPDATE signed_head SET note = ? WHERE seq = 14", (note_of(other, 14),))
    with public_file(state).open("a") as keys:
        keys.write(public_file(other).read_text())
    assert verify(state).faults[0].startswith("Signed head 14 is of epoch ")


def test_without_the_public_key_heads_prove_nothing(state: Path) -> None:
    keys = public_file(state).read_text()
    public_file(state).unlink()
    report = verify(state)
    assert report.faults == (
        "There is no public key in head.pub: without --key the signed heads prove nothing.",
    )
    assert verify(state, keys=keys).ok
    wrong = public_line(HeadKey(STATION, Ed25519PrivateKey.generate()).public)
    assert len(verify(state, keys=wrong).faults) == 3
    with pytest.raises(ValueError, match="holds no public key"):
        verify(state, keys="")


# --- a head that central kept ---------------------------------------------------------------------


def said_of(state: Path, note: str, keys: str) -> str:
    report = verify(state, head=note, keys=keys)
    assert report.kept in report.faults
    return report.kept


def test_a_tail_that_was_cut_off_shows(state: Path) -> None:
    note, keys = note_of(state, 22), public_file(state).read_text()
    name = "The head of record 22 that was kept outside is not in this journal, which ends at 14"
    cut(state, 14)
    assert said_of(state, note, keys) == f"{name}: its tail was cut off."
    set_mark(state, 14)
    assert verify(state, keys=keys).ok, "nothing inside can tell"
    ending = "it is an older copy, or its tail and its mark were cut off"
    assert said_of(state, note, keys) == f"{name}: {ending}."


def test_an_old_copy_shows(state: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(state, tmp_path / "copy"))
    store = open_small(state)
    store.append_soon([draft()]).result(10)
    store.close()
    note, keys = note_of(state, 23), public_file(state).read_text()
    assert verify(copy).ok, "nothing inside can tell"
    assert "which ends at 22: it is an older copy" in said_of(copy, note, keys)


def test_a_journal_that_was_rewritten_shows_although_its_heads_were_removed(state: Path) -> None:
    note, keys = note_of(state, 14), public_file(state).read_text()
    rewrite(state, 9)
    change(state, "DELETE FROM signed_head")
    assert verify(state, keys=keys).ok, "nothing inside can tell"
    assert said_of(state, note, keys) == (
        "The head of record 14 that was kept outside is not in this journal: a record up to 14 was rewritten."
    )


def test_a_head_of_the_epoch_before_leads_to_quarantine(state: Path) -> None:
    note, keys = note_of(state, 14), public_file(state).read_text()
    shutil.rmtree(state / "journal")
    mark = read_mark(state / "mark.bin")
    assert isinstance(mark, Mark)
    open_small(state).close()
    assert said_of(state, note, keys).endswith(": look in quarantine.")
    assert said_of(state, note, keys).startswith(
        f"The head of record 14 that was kept outside is of epoch {mark.epoch.hex()}, this journal is of "
    )


def test_what_is_no_head_of_this_station_shows(state: Path, tmp_path: Path) -> None:
    keys = public_file(state).read_text()
    assert said_of(state, "x", keys) == "The head that was kept outside is no signed head."
    private = Ed25519PrivateKey.generate()
    other = HeadKey("LAR-05", private)
    note = other.sign(Head("LAR-05", "0b" * 16, 3, bytes(32), "2026-11-24T04:00:00Z", "sync"))
    assert "is of station LAR-05, this journal is of LAR-04" in said_of(state, note, keys + other.line)


def test_a_head_of_a_removed_record_cannot_be_compared(trimmed: Path) -> None:
    note = note_of(trimmed, 8)
    assert verify(trimmed, head=note).kept.endswith("is in this journal.")  # it was kept
    change(trimmed, "DELETE FROM record WHERE seq = 8")
    report = verify(trimmed, head=note)
    assert report.ok
    assert report.kept == (
        "The head of record 8 that was kept outside cannot be compared: "
        "the record was removed after it had been acknowledged."
    )


def test_the_command_takes_a_head_and_a_key(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, key = tmp_path / "head.txt", tmp_path / "station.pub"
    kept.write_text(note_of(state, 22).rstrip("\n"))  # as it is after it was copied by hand
    key.write_text(public_file(state).read_text().splitlines()[1])
    command = ["verify", "--state", str(state), "--head", str(kept), "--key", str(key)]
    assert main(command) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "The head of record 22 that was kept outside is in this journal."
    assert said[1].endswith("22 records up to 22, 3 signed heads, 0 blobs")
    cut(state, 14)
    assert main(command) == 1
    assert capsys.readouterr().out.count("its tail was cut off") == 1
    key.write_text("nothing")
    assert main(command) == 2
    assert capsys.readouterr().err == (
        f"carril: {key} 'nothing' … is no public key; give the file with the station's public key\n"
    )
    kept.unlink()
    assert main(command) == 2
    assert capsys.readouterr().err == (
        f"carril: {kept} cannot be read (no such file or directory); give a file that can\n"
    )


# --- beside a running daemon ----------------------------------------------------------------------


def test_a_running_store_with_inspections_and_heads_is_proven(tmp_path: Path) -> None:
    program = """
import sys, pathlib, station.store.verify as v
for _ in range(8):
    report = v.verify(pathlib.Path(sys.argv[1]))
    assert report.ok, report
print(report.heads)
"""
    state = tmp_path / "state"
    store = open_small(state)
    command = [sys.executable, "-c", program, str(state)]
    n = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        while other.poll() is None:
            n += 1
            types = ("carril.inspection.opened", "carril.inspection.sealed")
            for record in (of_inspection(f"inspection{n}", type_) for type_ in types):
                store.append_soon([record]).result(10)
        said, _ = other.communicate()
    assert other.returncode == 0
    assert int(said) > 3
    store.close()
    report: Report = verify(state)
    assert report.ok
    assert dataclasses.replace(report, heads=0).head == 2 * n
