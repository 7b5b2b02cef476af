"""A bundle carries records without a network: what it holds, and what is not bundled."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.store import bundle as bundle_module
from station.store.bundle import BundleError, write_bundle
from station.store.bundle_proof import verify_bundle
from station.store.chain import MOST_WRAPPED, REOFFERED, SALVAGED, link, named_blobs, unwrapped
from station.store.heads import public_file
from tests.support.bundles import LAST, PHOTO, bundled_station, with_photos
from tests.support.forgery import change
from tests.support.journal import STATION, draft, of_inspection, open_small


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundled_station(tmp_path_factory.mktemp("bundle") / "state")


@pytest.fixture
def state(master: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(master, tmp_path / "state"))


@pytest.fixture(scope="module")
def made(master: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "bundle"
    write_bundle(master, 2, folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A bundle of the records 3 to 12 on another machine."""
    return Path(shutil.copytree(made, tmp_path / "elsewhere"))


@pytest.fixture
def key(master: Path) -> str:
    return public_file(master).read_text()


# --- making one -----------------------------------------------------------------------------------


def test_a_bundle_holds_the_records_and_blobs_as_they_are(master: Path, folder: Path, key: str) -> None:
    found = verify_bundle(folder, key)
    assert (found.station, found.after, found.last, found.missing) == (STATION, 2, LAST, ())
    connection = sqlite3.connect(master / "journal" / "station.db")
    rows = connection.execute(
        "SELECT seq, prev, hash, body FROM record WHERE seq > 2 ORDER BY seq"
    ).fetchall()
    notes = connection.execute("SELECT seq, note FROM signed_head ORDER BY seq").fetchall()
    blobs = {sha.hex(): size for sha, size in connection.execute("SELECT sha256, bytes FROM blob")}
    connection.close()
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_bytes().splitlines()]
    assert [(one["seq"], one["prev"], one["hash"], one["body"]) for one in lines] == [
        (seq, prev.hex(), hash_.hex(), body) for seq, prev, hash_, body in rows
    ]
    heads = [json.loads(line) for line in (folder / "heads.jsonl").read_bytes().splitlines()]
    assert [(one["seq"], one["note"]) for one in heads] == notes
    assert found.blobs == blobs
    assert len(blobs) == 2
    assert found.note == notes[-1][1]


def test_a_bundle_reaches_as_far_as_a_signed_head(state: Path, tmp_path: Path, key: str) -> None:
    change(state, "DELETE FROM signed_head WHERE seq > 6")
    assert write_bundle(state, 0, tmp_path / "bundle").last == 6
    assert verify_bundle(tmp_path / "bundle", key).last == 6


@pytest.mark.parametrize(
    ("after", "statement", "said"),
    [
        (LAST, "", r"no signed head covers a record after 12: the newest is that of record 12"),
        (99, "", r"no signed head covers a record after 99"),
        (0, "DELETE FROM signed_head", r"state has no signed head yet: start its station once"),
        (
            0,
            "UPDATE signed_head SET note = replace(note, 'c', 'd')",
            r"the newest signed head of .* says more",
        ),
        (2, "UPDATE record SET body = body || ' ' WHERE seq = 4", r"record 4 is not what was written"),
        (
            2,
            "DELETE FROM record WHERE seq = 7",
            r"record 7 is not what was written, or was removed meanwhile",
        ),
        (2, "UPDATE record SET prev = zeroblob(32) WHERE seq = 3", r"record 3 is not what was written"),
        (2, "UPDATE head SET anchor_seq = 3", r"records up to 3 were removed: begin after 3 or later"),
    ],
)
def test_what_cannot_be_proven_is_not_bundled(
    state: Path, tmp_path: Path, after: int, statement: str, said: str
) -> None:
    if statement:
        change(state, statement)
    with pytest.raises(BundleError, match=said):
        write_bundle(state, after, tmp_path / "bundle")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state"]


def test_a_record_with_a_hash_of_its_own_is_not_bundled(state: Path, tmp_path: Path) -> None:
    connection = sqlite3.connect(state / "journal" / "station.db")
    (epoch,) = connection.execute("SELECT epoch FROM store").fetchone()
    body, prev = connection.execute("SELECT body, prev FROM record WHERE seq = 4").fetchone()
    forged = (body.replace("Ol", "ol"), link(prev, epoch, 4, body.replace("Ol", "ol").encode()))
    with connection:
        connection.execute("UPDATE record SET body = ?, hash = ? WHERE seq = 4", forged)
    connection.close()
    with pytest.raises(BundleError, match="record 5 is not what was written"):
        write_bundle(state, 2, tmp_path / "bundle")


def test_a_bundle_may_begin_behind_a_damaged_record(state: Path, tmp_path: Path, key: str) -> None:
    change(state, "UPDATE record SET body = body || ' ' WHERE seq = 4")
    write_bundle(state, 4, tmp_path / "bundle")
    assert verify_bundle(tmp_path / "bundle", key).after == 4


@pytest.mark.parametrize("how", ["removed", "gone", "damaged"])
def test_a_blob_that_the_station_has_not_is_named_and_stops_nothing(
    state: Path, tmp_path: Path, key: str, how: str
) -> None:
    path = sorted(path for path in (state / "blobs").rglob("*") if path.is_file())[0]
    if how == "removed":
        change(state, f"UPDATE blob SET state = 1 WHERE sha256 = x'{path.name}'")  # noqa: S608 - our own file
        path.unlink()
    elif how == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"!")  # its first MiB is sound
    write_bundle(state, 0, tmp_path / "bundle")
    found = verify_bundle(tmp_path / "bundle", key)
    assert found.missing == (path.name,)
    assert len(found.blobs) == 1


def test_nothing_is_overwritten(state: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "letter").touch()
    (tmp_path / "link").symlink_to(full)
    for place in (full, tmp_path / "link", full / "letter"):
        with pytest.raises(BundleError, match="is not empty: nothing is overwritten; give a new folder"):
            write_bundle(state, 0, place)
    with pytest.raises(BundleError, match="none is no folder"):
        write_bundle(state, 0, tmp_path / "none" / "bundle")
    if os.path.ismount("/proc"):
        with pytest.raises(BundleError, match="is not empty"):
            write_bundle(state, 0, Path("/proc"))
    assert [path.name for path in full.iterdir()] == ["letter"]


def test_an_empty_folder_is_taken_and_what_a_killed_run_left_is_removed(
    state: Path, tmp_path: Path, key: str
) -> None:
    (tmp_path / "bundle").mkdir()
    part = tmp_path / ".bundle.carril-part"
    part.mkdir()
    (part / "records.jsonl").write_text("half")
    write_bundle(state, 0, tmp_path / "bundle")
    assert verify_bundle(tmp_path / "bundle", key).last == LAST
    assert not part.exists()


def test_a_disk_that_fails_leaves_nothing(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, left = os.fsync, []

    def fails_at_last(file: int) -> None:
        left.append(sorted(path.name for path in tmp_path.iterdir()))
        if len(left) == 5:
            raise OSError(28, "No space left on device")
        sync(file)

    monkeypatch.setattr(os, "fsync", fails_at_last)
    with pytest.raises(OSError, match="No space left"):
        write_bundle(state, 0, tmp_path / "bundle")
    assert left[-1] == [".bundle.carril-part", "state"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state"]


def test_too_little_room_is_said_before_it_starts(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(state, 0, tmp_path / "first")
    size = sum(path.stat().st_size for path in (tmp_path / "first").rglob("*") if path.is_file())
    monkeypatch.setattr(bundle_module, "free_bytes", lambda _: size)
    with pytest.raises(BundleError, match=r"too little room in .*: [0-9.]+ MB are needed, 2\.6 MB are free"):
        write_bundle(state, 0, tmp_path / "second")
    assert not (tmp_path / "second").exists()
    monkeypatch.setattr(bundle_module, "free_bytes", lambda _: size + (30 << 20))
    write_bundle(state, 0, tmp_path / "second")


def test_a_bundle_of_a_running_store_is_whole(tmp_path: Path) -> None:
    state = tmp_path / "state"
    store = open_small(state)
    store.append_soon([of_inspection("i0", "carril.inspection.sealed")]).result(10)
    digest = store.keep_blob(PHOTO, "image/jpeg")
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            store.append_soon([with_photos(draft(), digest), draft(text="x" * 500)]).result(10)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        after, bundles = 0, []
        for number in range(6):
            while (
                store._readers.look(
                    lambda view: (
                        view.connection.execute("SELECT max(seq) FROM signed_head").fetchone()[0] or 0
                    )
                )
                <= after
            ):
                stop.wait(0.01)
            bundles.append(write_bundle(state, after, tmp_path / f"bundle{number}"))
            after = bundles[-1].last
    finally:
        stop.set()
        worker.join()
        store.close()
    key = public_file(state).read_text()
    proven = [verify_bundle(tmp_path / f"bundle{number}", key) for number in range(6)]
    assert proven == bundles
    for one, next_one in pairwise(proven):
        assert (one.last, one.hash) == (next_one.after, next_one.prev), "they follow one another"


# --- what a record brings once more ---------------------------------------------------------------


def wrapped(event: dict[str, Any], kinds: list[str]) -> dict[str, Any]:
    for kind in kinds:
        event = {"type": kind, "id": kind, "data": {"original": event}}
    return event


def test_the_blobs_of_an_offer_that_was_salvaged_are_those_of_its_first_event() -> None:
    uses = [{"sha256": "ab" * 32}, {"sha256": "cd" * 32}, {"sha256": "ab" * 32}, {"sha256": 1}, None]
    event = {"type": "carril.x", "id": "x", "data": {"blobs": uses}}
    for kinds in ([], [SALVAGED], [REOFFERED, SALVAGED], [SALVAGED, REOFFERED, SALVAGED]):
        assert named_blobs(wrapped(event, kinds)) == ["ab" * 32, "cd" * 32]
        assert [each["id"] for each in unwrapped(wrapped(event, kinds))] == [*reversed(kinds), "x"]
    assert len(list(unwrapped(wrapped(event, [SALVAGED] * 100)))) == MOST_WRAPPED
    assert named_blobs({"type": "carril.other", "data": {"original": event}}) == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from([SALVAGED, "ab" * 32]),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["type", "data", "original", "blobs", "sha256"]), inner)
    ),
)


@given(st.dictionaries(st.sampled_from(["type", "data"]), json_values))
def test_what_is_no_event_brings_nothing(event: dict[str, Any]) -> None:
    assert next(iter(unwrapped(event))) is event
    assert all(len(name) == 64 for name in named_blobs(event))
