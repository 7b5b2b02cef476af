"""``verify`` names the first record that is not what was written, whatever was done to the folder."""

from __future__ import annotations

import dataclasses
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from station.store.chain import link
from station.store.errors import StoreError
from station.store.feed import read_after
from station.store.readers import View
from station.store.verify import Report, verify
from tests.support.forgery import change
from tests.support.journal import draft, of_inspection, open_small

RECORDS = 20


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with records and a blob, stopped."""
    state = tmp_path_factory.mktemp("verify") / "state"
    store = open_small(state)
    for n in range(RECORDS):
        store.append_soon([draft(f"subject{n}", n=n, text="x" * 300)]).result(10)
    store.keep_blob(b"picture" * 300_000, "image/jpeg")
    store.close()
    return state


@pytest.fixture
def state(master: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(master, tmp_path / "state"))


def test_an_untouched_folder_is_proven(state: Path) -> None:
    report = verify(state)
    assert report.ok
    assert (report.station, report.oldest, report.head, report.blobs) == ("LAR-04", 1, RECORDS, 1)


def test_a_running_store_with_inspections_and_heads_is_proven_while_it_writes(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("statement", "first_bad"),
    [
        ("UPDATE record SET body = replace(body, '\"n\":7', '\"n\":8') WHERE seq = 8", 8),
        ("UPDATE record SET flags = 1 WHERE seq = 5", 5),
        ("UPDATE record SET prio = 0 WHERE seq = 5", 5),
        ("UPDATE record SET subject = 'other' WHERE seq = 5", 5),
        ("UPDATE record SET type = 'carril.other' WHERE seq = 5", 5),
        ("UPDATE record SET prev = zeroblob(32) WHERE seq = 1", 1),
        ("UPDATE record SET hash = zeroblob(32) WHERE seq = 20", 20),
        ("DELETE FROM record WHERE seq = 11", 11),
        ("UPDATE head SET hash = zeroblob(32)", 20),
        ("UPDATE head SET anchor_hash = zeroblob(32)", 1),
    ],
)
def test_a_changed_record_is_named(state: Path, statement: str, first_bad: int) -> None:
    change(state, statement)
    report = verify(state)
    assert not report.ok
    assert report.first_bad == first_bad
    assert report.faults[0].startswith(f"Record {first_bad} is not what was written")


def test_swapped_records_are_named(state: Path) -> None:
    change(
        state,
        "UPDATE record SET seq = 100 WHERE seq = 4",
        "UPDATE record SET seq = 4 WHERE seq = 5",
        "UPDATE record SET seq = 5 WHERE seq = 100",
    )
    assert verify(state).first_bad == 4


def test_a_record_rewritten_with_a_fresh_hash_is_named(state: Path) -> None:
    connection = sqlite3.connect(state / "journal" / "station.db")
    (epoch,) = connection.execute("SELECT epoch FROM store").fetchone()
    body, prev = connection.execute("SELECT body, prev FROM record WHERE seq = 9").fetchone()
    forged = body.replace('"n":8', '"n":9')
    digest = link(prev, epoch, 9, forged.encode())
    connection.execute("UPDATE record SET body = ?, hash = ? WHERE seq = 9", (forged, digest))
    connection.commit()
    connection.close()
    assert verify(state).first_bad == 9


def test_a_tail_that_was_cut_off_shows_by_the_mark(state: Path) -> None:
    connection = sqlite3.connect(state / "journal" / "station.db")
    (hash_,) = connection.execute("SELECT hash FROM record WHERE seq = 15").fetchone()
    connection.execute("DELETE FROM record WHERE seq > 15")
    connection.execute("UPDATE head SET seq = 15, hash = ?", (hash_,))
    connection.commit()
    connection.close()
    assert verify(state).faults == (
        "The journal ends at record 15, mark.bin says 20: records were cut off.",
        "Signed head 20 is that of record 20, but the journal ends at 15.",
    )


def test_a_lost_mark_is_a_fault(state: Path) -> None:
    (state / "mark.bin").write_bytes(bytes(8192))
    assert verify(state).faults[0].startswith("mark.bin has no valid mark")


@pytest.mark.fault("F9")
def test_a_damaged_blob_is_named(state: Path) -> None:
    (path,) = (path for path in (state / "blobs").rglob("*") if path.is_file())
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert verify(state).faults == (f"Blob {path.name} is damaged in MiB 2.",)


def test_no_journal_is_not_a_sound_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no journal"):
        verify(tmp_path)


def all_bodies(view: View) -> dict[int, str]:
    return {row.seq: row.body.decode() for row in read_after(view, 0, 1000)}


@pytest.mark.fault("F9")
def test_flipped_bits_are_never_served(master: Path, tmp_path: Path) -> None:
    """One random bit in the database: every record is served right, or withheld, or the store says so."""
    truth = sqlite3.connect(master / "journal" / "station.db")
    bodies = dict(truth.execute("SELECT seq, body FROM record"))
    truth.close()
    chance = random.Random(1)
    size = (master / "journal" / "station.db").stat().st_size
    seen = {"sound": 0, "withheld": 0, "epoch": 0, "refused": 0}
    for trial in range(100):
        state = Path(shutil.copytree(master, tmp_path / str(trial), ignore=shutil.ignore_patterns("blobs")))
        path = state / "journal" / "station.db"
        content = bytearray(path.read_bytes())
        bit = chance.randrange(size * 8)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        report = verify(state)
        try:
            store = open_small(state)
        except StoreError:
            seen["refused"] += 1
            continue
        try:
            epoch = store.before is not None
            rows = store._readers.look(all_bodies)
        except StoreError:
            seen["refused"] += 1
            continue
        finally:
            store.close()
        if epoch:
            seen["epoch"] += 1
            assert not report.ok
            continue
        assert all(body == bodies[seq] for seq, body in rows.items()), f"bit {bit} was served"
        if len(rows) == RECORDS:
            seen["sound"] += 1
        else:
            seen["withheld"] += 1
            assert not report.ok
        shutil.rmtree(state)
    assert sum(seen.values()) == 100
    assert seen["withheld"] > 3
    assert seen["sound"] > 10
    assert seen["refused"] < 10
