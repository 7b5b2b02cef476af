"""A disk that gives back other bytes: nothing wrong is served as right, and the rest is found again."""

from __future__ import annotations

import random
import re
import shutil
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from station.store.blobs import CHUNK_BYTES, DamagedBlob, find_blob
from station.store.draft import BlobRef
from tests.support.epochs import CLOSED, LOST, Follower, Quiet
from tests.support.journal import draft, open_small

OWN = {"carril.epoch.opened", LOST, CLOSED}


@dataclass
class Truth:
    """A small journal as a kill left it, half of it in the log, and what was confirmed."""

    state: Path
    epoch: str
    events: dict[str, dict[str, Any]]
    blobs: dict[str, bytes]


@dataclass
class Tally:
    """What became of many damaged copies."""

    outcomes: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    hit: int = 0
    """Rows that one bit destroyed: at most one in a copy."""
    served: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Served part of the rows that were not hit themselves."""
        return self.served / (self.rows - self.hit)


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    chance = random.Random(1)
    store = open_small(tmp_path / "running")
    blobs = {}
    for n in range(240):
        refs = ()
        if n % 60 == 0:
            content = chance.randbytes(CHUNK_BYTES + 5 if n == 60 else 3000)
            sha = store.keep_blob(content, "image/jpeg")
            blobs[sha] = content
            refs = (BlobRef("photo", sha),)
        size = 30_000 if n in (50, 200) else chance.randrange(900)
        store.append_soon([draft(n=n, text=chance.randbytes(size // 2).hex(), blobs=refs)]).result(10)
        if n == 120:  # what comes later is in the log alone
            checkpointed = store._writer._wal
            checkpointed.frames = 1_000_000
    told = Follower(epoch=store.epoch)
    told.read(store)
    shutil.copytree(tmp_path / "running", tmp_path / "left")
    store.close()
    return Truth(tmp_path / "left", told.epoch, told.seen, blobs)


def judge(truth: Truth, state: Path, what: str, tally: Tally) -> None:
    """Open, salvage and read a damaged copy as a consumer that has read nothing yet."""
    found = Quiet(state)
    try:
        anew = found.journal.before is not None
        found.salvage()
        reader = Follower(epoch=truth.epoch)
        try:
            reader.read(found)
        except sqlite3.DatabaseError as error:  # the writer does the same when a look-up says so
            found.renew(str(error))
            anew = True
            found.salvage()
            reader = Follower(epoch=truth.epoch)
            reader.read(found)
        wrong = check_records(truth, reader, anew=anew)
        wrong += check_blobs(truth, found)
    finally:
        found.journal.close()
    tally.wrong += [f"{what}: {each}" for each in wrong]
    served = len(truth.events.keys() & reader.seen.keys())
    tally.rows += len(truth.events)
    tally.hit += served < len(truth.events)
    tally.served += served
    told = "told" if reader.withheld or reader.lost else "whole"
    tally.outcomes[f"{'new epoch' if anew else 'same epoch'}, {told}"] += 1


def check_records(truth: Truth, reader: Follower, *, anew: bool) -> list[str]:
    wrong = []
    for id_, event in reader.seen.items():
        if event["type"] not in OWN and truth.events.get(id_) != event:
            wrong.append(f"record {id_} is served and was never written so")
    lost = {seq for _, first, last in reader.lost for seq in range(first, min(last, 10_000) + 1)}
    told = lost if anew else set(reader.withheld)
    for id_ in truth.events.keys() - reader.seen.keys():
        if int(id_.partition(":")[2]) not in told:
            wrong.append(f"record {id_} has vanished without a word")
    return wrong


def check_blobs(truth: Truth, found: Quiet) -> list[str]:
    wrong = []
    for sha, content in truth.blobs.items():
        row = find_blob(found.journal.connection, bytes.fromhex(sha))
        try:
            read = [found.blobs.read_chunk(row, n) for n in range(-(-row.size // CHUNK_BYTES))] if row else []
        except DamagedBlob:
            continue
        if row and b"".join(read) != content:
            wrong.append(f"blob {sha} is served with other bytes")
    return wrong


def files_of(state: Path) -> list[Path]:
    """Database, log, mark and blobs, each as often as it is to be hit."""
    journal, blobs = state / "journal", sorted((state / "blobs").rglob("*"))
    often = [journal / "station.db", journal / "station.db-wal"] * 4 + [state / "mark.bin"]
    return [*often, *(path for path in blobs if path.is_file())][:12]


def damaged(truth: Truth, into: Path, chance: random.Random, kind: str) -> str:
    """Make a damaged copy; return what was done."""
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(truth.state, into)
    path = chance.choice(files_of(into))
    content = bytearray(path.read_bytes())
    at = chance.randrange(len(content))
    if kind == "flip":
        content[at] ^= 1 << chance.randrange(8)
    elif kind == "truncated":
        del content[at:]
    else:
        size = min(chance.choice((512, 4096, 8192)), len(content) - at)
        content[at : at + size] = bytes(size) if kind == "zeroed" else chance.randbytes(size)
    path.write_bytes(content)
    return f"{kind} of {path.name} at {at}"


def harm(truth: Truth, fast: Path, kind: str, copies: int) -> Tally:
    chance, tally = random.Random(f"{kind} {copies}"), Tally()
    for _ in range(copies):
        what = damaged(truth, fast / "copy", chance, kind)
        judge(truth, fast / "copy", what, tally)
    print(kind, dict(tally.outcomes), f"{tally.ratio:.4f}")
    return tally


@pytest.mark.timeout(7200)
@pytest.mark.fault("F9")
def test_one_flipped_bit_is_never_served(truth: Truth, fast: Path, soak: bool) -> None:
    tally = harm(truth, fast, "flip", 10_000 if soak else 100)
    assert tally.wrong == []
    assert tally.ratio >= 0.99
    assert tally.outcomes["new epoch, whole"] > 0
    assert tally.outcomes["same epoch, told"] > 0


def test_a_row_under_the_number_of_another_is_not_served_there(truth: Truth, fast: Path) -> None:
    """One bit makes record 83 a second 82, which sorts behind the true one."""
    shutil.copytree(truth.state, fast / "copy")
    path = fast / "copy" / "journal" / "station.db"
    content = bytearray(path.read_bytes())
    # Its cell: row id, size of the header, no value for the key, a type of 24 letters; further on its data.
    rows = re.finditer(rb"\x53[\x0a-\x0d]\x00\x3d", content)
    number = next(row.start() for row in rows if b'"n":82,' in content[row.start() :][:300])
    content[number] ^= 1
    path.write_bytes(content)
    tally = Tally()
    judge(truth, fast / "copy", "record 83", tally)
    assert tally.wrong == []
    assert dict(tally.outcomes) == {"same epoch, told": 1}


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", ["torn", "zeroed", "truncated"])
@pytest.mark.fault("F3", "F9")
def test_what_a_broken_file_still_holds_is_served_and_the_rest_told(
    truth: Truth, fast: Path, soak: bool, kind: str
) -> None:
    tally = harm(truth, fast, kind, 1_000 if soak else 25)
    assert tally.wrong == []
    assert tally.outcomes["new epoch, told"] > 0
