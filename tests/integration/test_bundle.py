"""A bundle carries records without a network, proves itself elsewhere, and its receipt counts here."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import random
import shutil
import sqlite3
import threading
from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from station.cli.main import main
from station.store import bundle as bundle_module
from station.store.bundle import Bundle, BundleError, write_bundle
from station.store.bundle_proof import read_receipt, verify_bundle, write_receipt
from station.store.chain import link
from station.store.draft import BlobRef, Draft
from station.store.heads import HeadKey, public_file
from tests.support.journal import STATION, append, draft, of_inspection, open_small, put_blob
from tests.support.served import Served

LAST = 12
PHOTO = bytes(range(256)) * 5000  # more than one MiB


def with_photos(record: Draft, *digests: str) -> Draft:
    """A record that names blobs, as the lane's records do."""
    uses = [{"role": "photo", "sha256": digest, "media": "image/jpeg"} for digest in digests]
    refs = tuple(BlobRef("photo", digest) for digest in digests)
    return dataclasses.replace(record, data=dict(record.data) | {"blobs": uses}, blobs=refs)


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped station with 12 records, two blobs, and signed heads of 6 and 12."""
    state = tmp_path_factory.mktemp("bundle") / "state"
    for _ in range(2):
        store = open_small(state)
        for n in range(5):
            store.append_soon([draft(n=n, text='say "Olé" \\ \n')]).result(10)
        digest = store.keep_blob(PHOTO + bytes([store.published]), "image/jpeg")
        store.append_soon([with_photos(draft(), digest)]).result(10)
        store.close()
    return state


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


def change(state: Path, statement: str) -> None:
    connection = sqlite3.connect(state / "journal" / "station.db")
    with connection:
        connection.execute(statement)
    connection.close()


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


# --- proving one ----------------------------------------------------------------------------------


def fault_of(folder: Path, key: str | None) -> str:
    with pytest.raises(BundleError) as caught:
        verify_bundle(folder, key)
    return str(caught.value)


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_any_flipped_byte_of_any_file_is_named(folder: Path, key: str, soak: bool) -> None:
    chance = random.Random(3)
    assert len(files_of(folder)) == 6
    for path in files_of(folder):
        sound = path.read_bytes()
        # Each file whole, but for the photographs and the longest ones.
        places = (
            range(len(sound)) if soak and len(sound) < 20_000 else chance.choices(range(len(sound)), k=40)
        )
        for at in [0, len(sound) - 1, *places]:
            path.write_bytes(sound[:at] + bytes([sound[at] ^ 1 << chance.randrange(8)]) + sound[at + 1 :])
            said = fault_of(folder, key)
            named = {"records.jsonl": "record", "heads.jsonl": "head"}.get(path.name, path.name)
            assert named in said, f"byte {at} of {path.name}: {said}"
        path.write_bytes(sound)
    verify_bundle(folder, key)


def test_every_missing_file_is_named(folder: Path, key: str) -> None:
    for path in files_of(folder):
        sound = path.read_bytes()
        path.unlink()
        assert fault_of(folder, key).startswith(f"{path.relative_to(folder)} is missing")
        path.write_bytes(sound)


@pytest.mark.parametrize("name", ["letter", "blobs/letter", "blobs/ab/" + "ab" * 32, "records.jsonl.new"])
def test_an_added_file_is_named(folder: Path, key: str, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("x")
    assert fault_of(folder, key) == f"{name} does not belong to it"
    manifest = json.loads((folder / "manifest.json").read_bytes())
    file = {"name": name, "bytes": 1, "sha256": sha256(b"x").hexdigest()}
    manifest["files"] = sorted([*manifest["files"], file], key=lambda each: str(each["name"]))
    (folder / "manifest.json").write_text(json.dumps(manifest, separators=(",", ":"), sort_keys=True))
    assert fault_of(folder, key).startswith(name)


def test_a_link_is_not_followed(folder: Path, tmp_path: Path, key: str) -> None:
    (folder / "records.jsonl").rename(tmp_path / "records.jsonl")
    (folder / "records.jsonl").symlink_to(tmp_path / "records.jsonl")
    assert fault_of(folder, key) == "records.jsonl is missing, which manifest.json names"


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def put_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    path.write_text(text)


def swap(lines: list[dict[str, Any]]) -> None:
    lines[2], lines[3] = lines[3], lines[2]


@pytest.mark.parametrize(
    ("name", "forge", "said"),
    [
        ("records.jsonl", lambda lines: lines.pop(), "the signed head of record 12 stands beside no record"),
        (
            "records.jsonl",
            lambda lines: lines.pop(0),
            "manifest.json is not what the folder holds: after, .*prev",
        ),
        ("records.jsonl", lambda lines: lines.pop(4), "record 7 is missing: 8 follows 6"),
        ("records.jsonl", lambda lines: lines.clear(), "the signed head of record 6 stands beside no record"),
        ("records.jsonl", swap, "record 5 is missing: 6 follows 4"),
        ("records.jsonl", lambda lines: lines[1].update(body=[]), "record 4 is not what was written"),
        ("records.jsonl", lambda lines: lines[1].update(body="{}"), "record 4 is not what was written"),
        ("records.jsonl", lambda lines: lines[1].update(prev="00" * 32), "record 4 is not what was written"),
        ("records.jsonl", lambda lines: lines[1].update(seq=True), "records.jsonl is not .*: line 2"),
        ("records.jsonl", lambda lines: lines[1].update(more=1), "records.jsonl is not .*: line 2"),
        ("heads.jsonl", lambda lines: lines.pop(), "record 12 is the last, and no signed head covers it"),
        ("heads.jsonl", lambda lines: lines.clear(), "heads.jsonl holds no signed head"),
        ("heads.jsonl", lambda lines: lines.reverse(), "the signed head of record 6 stands .* out of order"),
        (
            "heads.jsonl",
            lambda lines: lines[0].update(note="x"),
            "the signed head of record 6 is no signed head",
        ),
        ("heads.jsonl", lambda lines: lines[0].update(note=lines[1]["note"]), "record 6 is that of another"),
    ],
)
def test_what_was_forged_is_named(
    folder: Path, key: str, name: str, forge: Callable[[list[dict[str, Any]]], object], said: str
) -> None:
    lines = lines_of(folder / name)
    forge(lines)
    put_lines(folder / name, lines)
    with pytest.raises(BundleError, match=said):
        verify_bundle(folder, key)


@pytest.mark.parametrize("name", ["records.jsonl", "heads.jsonl"])
def test_there_is_one_way_to_write_a_line(folder: Path, key: str, name: str) -> None:
    lines = lines_of(folder / name)
    (folder / name).write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    assert fault_of(folder, key) == f"{name} is not what was written: line 1"


def test_a_chain_that_was_computed_anew_fails_at_its_signed_head(folder: Path, key: str) -> None:
    lines = lines_of(folder / "records.jsonl")
    epoch = bytes.fromhex(json.loads(lines[0]["body"])["id"][:32])
    prev = lines[0]["prev"]
    lines[0]["body"] = lines[0]["body"].replace("Olé", "Ola")
    for line in lines:
        digest = link(bytes.fromhex(prev), epoch, line["seq"], line["body"].encode())
        line["prev"], line["hash"] = prev, digest.hex()
        prev = line["hash"]
    put_lines(folder / "records.jsonl", lines)
    assert fault_of(folder, key) == "the signed head of record 6 is that of another: the record was rewritten"


def test_the_key_of_somebody_else_proves_nothing(folder: Path) -> None:
    stranger = HeadKey(STATION, Ed25519PrivateKey.generate())
    assert "the signed head of record 6 is signed with a key that is not known here" in fault_of(
        folder, stranger.line
    )
    assert fault_of(folder, "nothing") == "the key 'nothing' … is no public key"


def test_a_blob_that_was_taken_out_of_the_manifest_too_is_told_of(folder: Path, key: str) -> None:
    """Who removes a blob and says so in the manifest hides nothing: the record names it."""
    (name, *_) = verify_bundle(folder, key).blobs
    (path,) = folder.rglob(name)
    path.unlink()
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"] = [file for file in manifest["files"] if not file["name"].endswith(name)]
    (folder / "manifest.json").write_text(json.dumps(manifest, separators=(",", ":"), sort_keys=True))
    assert fault_of(folder, key) == "manifest.json is not what the folder holds: missing"
    manifest["missing"] = [name]
    (folder / "manifest.json").write_text(json.dumps(manifest, separators=(",", ":"), sort_keys=True))
    assert verify_bundle(folder, key).missing == (name,)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format":"carril.bundle:2"}', b"[" * 100_000])
def test_a_manifest_that_is_none_is_named(folder: Path, key: str, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    assert fault_of(folder, key).startswith("manifest.json is not what was written")


# --- the receipt, and the whole way ---------------------------------------------------------------


def test_a_receipt_is_good_beside_its_manifest_alone(folder: Path, made: Path, key: str) -> None:
    proven = verify_bundle(folder, key)
    path = write_receipt(folder, proven)
    receipt = json.loads(path.read_bytes())
    assert (receipt["epoch"], receipt["seq"]) == (proven.epoch, LAST)
    assert len(receipt["manifest_sha256"]) == 64
    assert verify_bundle(folder, key) == proven, "it does not disturb the next proof"
    assert dataclasses.replace(proven, note="") == read_receipt(path)
    for name, value in {"seq": 11, "epoch": "00" * 16, "manifest_sha256": "00" * 32, "station": "X"}.items():
        path.write_text(json.dumps(receipt | {name: value}, separators=(",", ":"), sort_keys=True))
        with pytest.raises(
            BundleError, match=r"receipt\.json is not the receipt of the manifest\.json beside"
        ):
            read_receipt(path)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[], tuple[str, str]]:
    def read() -> tuple[str, str]:
        out, err = capsys.readouterr()
        return out, err

    return read


async def test_from_the_station_over_a_stick_to_the_cursor(
    central: Served, tmp_path: Path, said: Callable[[], tuple[str, str]]
) -> None:
    store, state = central.store, central.store._place.state
    digest = await put_blob(store, PHOTO, "image/jpeg")
    await append(store, [draft(), draft()])
    await append(store, [with_photos(of_inspection("i1", "carril.inspection.sealed"), digest)])
    while (await central.client.get("/v1/checkpoints")).json()["items"] == []:
        await asyncio.sleep(0.01)

    async def carril(*arguments: str, code: int = 0) -> tuple[str, str]:
        assert await asyncio.to_thread(main, arguments) == code
        return said()

    def receive(folder: Path, *more: str) -> tuple[str, ...]:
        port = ("--port", str(central.port))
        return ("bundle", "receipt", str(folder / "receipt.json"), "--name", "central", *port, *more)

    stick, elsewhere = tmp_path / "stick", tmp_path / "elsewhere"
    making = ("bundle", "--state", str(state), "--to", str(stick))
    out, _ = await carril(*making, "--since", "0")
    assert out == f"{stick}: records 1 to 3, 1 blobs (1.3 MB)\n"
    # Elsewhere: only the stick and the key, which came another way.
    shutil.copytree(stick, elsewhere)
    line = (await central.client.get("/v1")).json()["head_key"]
    (tmp_path / "key").write_text(line)
    proving = ("bundle", "verify", str(elsewhere), "--key", str(tmp_path / "key"))
    out, _ = await carril(*proving)
    assert "records 1 to 3, none missing, none changed\n" in out
    assert out.endswith(f"receipt: {elsewhere / 'receipt.json'}\nnothing is wrong\n")
    out, _ = await carril(*proving[:3])
    assert "whose key that is, it cannot prove" in out
    # Back at the station.
    assert store.acked == {"central": 0}
    out, _ = await carril(*receive(elsewhere))
    assert out == "central has acknowledged record 3, 1 blobs received\n"
    assert store.acked == {"central": 3}
    received = await store.read(
        lambda view: view.connection.execute("SELECT consumer, sha256 FROM blob_receipt").fetchall()
    )
    assert received == [("central", bytes.fromhex(digest))]
    out, _ = await carril(*receive(elsewhere))  # twice is once
    assert out == "central has acknowledged record 3, 1 blobs received\n"
    # What was damaged on the way gets no receipt.
    shutil.copytree(stick, tmp_path / "damaged")
    records = tmp_path / "damaged" / "records.jsonl"
    records.write_bytes(records.read_bytes()[:-5])
    out, _ = await carril("bundle", "verify", str(tmp_path / "damaged"), code=1)
    assert out.endswith("something is wrong: take the bundle for nothing, and keep it as it is\n")
    assert not (tmp_path / "damaged" / "receipt.json").exists()


async def test_a_receipt_acknowledges_only_what_the_bundle_held(
    central: Served, tmp_path: Path, said: Callable[[], tuple[str, str]], folder: Path, key: str
) -> None:
    store, state = central.store, central.store._place.state

    async def refused(where: Path, name: str = "central") -> str:
        port = ("--port", str(central.port))
        command = ("bundle", "receipt", str(where / "receipt.json"), "--name", name, *port)
        assert await asyncio.to_thread(main, command) == 2
        assert store.acked == {"central": 0}
        return said()[1]

    await append(store, [draft(), draft()])
    await append(store, [of_inspection("i1", "carril.inspection.sealed")])
    while (await central.client.get("/v1/checkpoints")).json()["items"] == []:
        await asyncio.sleep(0.01)
    part: Bundle = await asyncio.to_thread(write_bundle, state, 1, tmp_path / "part")
    write_receipt(tmp_path / "part", part)
    assert await refused(tmp_path / "part") == (
        "carril: the bundle begins after record 1, but central has only those up to 0: "
        "nothing was acknowledged; make a bundle --since 0\n"
    )
    assert "There is no consumer 'other'" in await refused(tmp_path / "part", "other")
    write_receipt(folder, verify_bundle(folder, key))
    assert "the receipt is for station LAR-04, epoch " in await refused(folder)
    # Of this station and epoch, but of a record that it has not written so.
    whole = await asyncio.to_thread(write_bundle, state, 0, tmp_path / "whole")
    false = dataclasses.replace(whole, hash="00" * 32)
    (tmp_path / "whole" / "manifest.json").write_bytes(false.manifest())
    write_receipt(tmp_path / "whole", false)
    assert "record 3 of this station is not the one that the bundle held" in await refused(tmp_path / "whole")
    (tmp_path / "whole" / "receipt.json").unlink()
    assert "receipt.json cannot be read (No such file or directory)" in await refused(tmp_path / "whole")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "x"], "a bundle needs --since SEQ and --to DIR"),
        (["--since", "0"], "a bundle needs --since SEQ and --to DIR"),
        (["--since", "0", "--to", "x", "--state", "nowhere"], "does not exist: nowhere holds no journal"),
        (
            ["receipt", "nowhere/receipt.json", "--name", "central"],
            "cannot be read (No such file or directory)",
        ),
    ],
)
def test_what_is_missing_is_a_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: Callable[[], tuple[str, str]],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bundle", *arguments]) == 2
    assert message in said()[1]


@pytest.mark.parametrize("since", ["-1", "x", "9007199254740992", "1.5"])
def test_a_wrong_number_is_refused(said: Callable[[], tuple[str, str]], since: str) -> None:
    with pytest.raises(SystemExit):
        main(["bundle", f"--since={since}", "--to", "x"])
    assert "the number of a record, or 0" in said()[1]
