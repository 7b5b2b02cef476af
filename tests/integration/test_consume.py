"""``carril consume`` against stations that are gone, lie, begin anew or cut answers: all once, in order."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import resource
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.cli import consume
from station.cli.archive import Archive, Cursor
from station.cli.client import Server, ask
from station.cli.consume import Consumer
from station.cli.errors import UserError
from station.store.chain import genesis, link
from station.store.draft import BlobRef
from tests.support.journal import append, draft, put_blob
from tests.support.liar import STATION, Liar, cuts, hangs_up, lying, refuses, says_nothing
from tests.support.served import Served
from tests.support.station import CARRIL

NAME = "central"
EPOCH = "ab" * 16


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the consumer would have waited after each failure; it waits a thousandth."""
    waited: list[float] = []

    def short(seconds: float) -> None:
        waited.append(seconds)
        time.sleep(seconds / 1000)

    monkeypatch.setattr(consume, "sleep", short)
    return waited


def take(place: Server, into: Path | None, name: str = NAME) -> list[str]:
    """Consume once; return what it said."""
    said: list[str] = []
    archive = Archive(into) if into else None
    try:
        consumer = Consumer(place, name, archive, said.append)
        consumer.run(once=True)
        said.append(consumer.summary())
    finally:
        if archive:
            archive.close()
    return said


def lines(folder: Path) -> list[dict[str, Any]]:
    content = b"".join(path.read_bytes() for path in sorted(folder.glob("records-*.jsonl")))
    return [json.loads(line) for line in content.splitlines()]


def numbers(folder: Path) -> list[int]:
    """What the test wrote into each record, in the order in which they were kept."""
    return [
        line["event"]["data"]["n"] for line in lines(folder) if "n" in line.get("event", {"data": ()})["data"]
    ]


def filled(count: int, **settings: Any) -> Liar:
    liar = Liar(**settings)
    for n in range(1, count + 1):
        liar.append(n=n, text="é")
    return liar


# --- the ordinary way -----------------------------------------------------------------------------


def test_everything_is_kept_once_in_order_provable_and_acknowledged(tmp_path: Path) -> None:
    liar = filled(1200)
    picture = liar.put(os.urandom(200_000))
    liar.append(n=1201, blobs=[picture])
    with lying(liar) as place:
        said = take(place, tmp_path)
        assert numbers(tmp_path) == list(range(1, 1202))
        assert (liar.acks[-1], liar.acks) == (1201, sorted(liar.acks))
        assert liar.receipts == {picture["sha256"]: 200_000}
        assert said[-1] == f"taken: 1201 records up to 1201 of epoch {liar.epoch.hex()}, 1 blobs (0.2 MB)"
        blob = tmp_path / "blobs" / picture["sha256"][:2] / picture["sha256"]
        assert blob.read_bytes() == liar.blobs[picture["sha256"]]
        liar.append(n=1202)
        take(place, tmp_path)
        take(place, tmp_path)
    assert numbers(tmp_path) == list(range(1, 1203))
    hash_ = genesis(liar.epoch, None)
    (file,) = tmp_path.glob("records-*.jsonl")
    for line in file.read_bytes().splitlines():  # the file alone proves itself
        told = json.loads(line)
        body = line[line.index(b',"event":') + 9 : -1]
        hash_ = link(hash_, bytes.fromhex(told["epoch"]), told["seq"], body)
        assert hash_.hex() == told["hash"]


def test_what_is_only_printed_is_not_acknowledged(tmp_path: Path) -> None:
    liar = filled(3)
    liar.stubs[2] = "policy"
    with lying(liar) as place:
        said = take(place, None)
    assert said[1] == f"1  {liar.event(1)['time']}  carril.lane_mode.changed  lane"
    assert said[2:] == ["2  withheld: policy", *said[3:]]
    assert liar.acks == []


def test_a_station_that_takes_no_receipts_yet_is_followed_all_the_same(tmp_path: Path) -> None:
    liar = Liar(receipts=None)
    liar.append(n=1, blobs=[liar.put(b"bytes")])
    with lying(liar) as place:
        take(place, tmp_path)
    assert (numbers(tmp_path), liar.acks) == ([1], [1])


async def test_a_real_station_is_emptied(central: Served, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    name = await put_blob(central.store, content, "image/png")
    told = [{"role": "raw", "sha256": name, "media": "image/png", "bytes": len(content)}]
    await append(central.store, [draft(n=1, blobs=(BlobRef("raw", name),))])
    with_blob = draft(n=2, simulated=True)
    await append(central.store, [with_blob, draft(n=3)])
    own = dict(draft().data) | {"n": 4, "blobs": told}
    made = draft()
    object.__setattr__(made, "data", own)
    await append(central.store, [made])
    into = tmp_path / "into"
    await asyncio.to_thread(take, Server("127.0.0.1", central.port), into)
    assert numbers(into) == [1, 2, 3, 4]
    assert central.store.acked == {NAME: 4}
    assert (into / "blobs" / name[:2] / name).read_bytes() == content


def carril(place: Server, into: Path, *more: str) -> subprocess.Popen[str]:
    command = [*CARRIL, "consume", place.url, "--name", NAME, "--into", str(into), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_it_follows_until_ctrl_c_and_says_what_was_taken(tmp_path: Path) -> None:
    liar = filled(2)
    with lying(liar) as place, carril(place, tmp_path / "into") as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(2)]
        assert said[1] == "2 records up to 2\n"
        liar.append(n=3)
        assert process.stdout.readline() == "1 records up to 3\n"
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=10)
    assert rest.splitlines()[-1].startswith("taken: 3 records up to 3 of epoch ")
    assert (process.returncode, errors) == (0, "")


# --- a station in trouble -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trick",
    [
        *(refuses(500, "internal"), refuses(502), refuses(200), refuses(404), refuses(302)),
        *(refuses(503, "store-unavailable"), refuses(429, "too-many"), hangs_up, cuts(0.5), cuts(0)),
        says_nothing,
    ],
    ids=["500", "502-html", "200-html", "404-html", "302", "503", "429", "hang-up", "half", "none", "json"],
)
@pytest.mark.parametrize("place_of_it", range(4), ids=["index", "cursor", "feed", "ack"])
def test_trouble_at_any_request_costs_nothing(tmp_path: Path, trick: Any, place_of_it: int) -> None:
    liar = filled(5)
    liar.next.extend([None] * place_of_it + [trick])
    with lying(liar) as place:
        said = take(place, tmp_path)
    assert "it goes on" in said, said
    assert numbers(tmp_path) == [1, 2, 3, 4, 5]
    assert (liar.acked[NAME], liar.next) == (5, type(liar.next)())


def test_the_pauses_double_to_half_a_minute_and_are_as_long_as_the_station_asks(
    tmp_path: Path, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    liar, ended = filled(1), threading.Event()
    with lying(liar) as place:
        take(place, tmp_path)
    short = consume.sleep

    def until_the_end(seconds: float) -> None:
        if ended.is_set():
            raise SystemExit
        short(seconds)

    monkeypatch.setattr(consume, "sleep", until_the_end)
    archive = Archive(tmp_path)
    consumer = Consumer(place, NAME, archive, lambda _: None)

    def follow() -> None:
        with suppress(SystemExit):
            consumer.run(once=False)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        while len(pauses) < 9:
            time.sleep(0.01)
        for pause, wanted in zip(pauses, [0.5, 1, 2, 4, 8, 16, 30, 30, 30], strict=False):
            assert 0.8 * wanted <= pause <= 1.2 * wanted
        assert len(set(pauses[6:9])) > 1, "no jitter"
        pauses.clear()
        liar.next.append(refuses(429, "too-many", **{"Retry-After": "77"}))
        liar.append(n=2)
        with lying(liar, place.port):
            while liar.acked[NAME] < 2:
                time.sleep(0.01)
        assert 60 in pauses, "at most a minute"
    finally:
        ended.set()
        thread.join()
        archive.close()


@pytest.mark.parametrize("lie", ["dense", "chain"])
def test_a_page_that_does_not_prove_itself_is_neither_kept_nor_acknowledged(tmp_path: Path, lie: str) -> None:
    liar = filled(9, lie=lie)
    with lying(liar) as place, pytest.raises(UserError, match="nothing is taken: ") as ended:
        take(place, tmp_path)
    assert ended.value.exit_code == 1
    assert (lines(tmp_path), liar.acked[NAME]) == ([], 0)


def test_a_page_that_follows_another_record_is_not_taken(tmp_path: Path) -> None:
    liar = filled(3)
    with lying(liar) as place:
        take(place, tmp_path)
        other = filled(3, epoch=liar.epoch)
        other.bodies, other.hashes = [], other.hashes[:1]
        for n in range(1, 5):
            other.append(n=-n)
    with lying(other) as place, pytest.raises(UserError, match="which was received before"):
        take(place, tmp_path)
    assert numbers(tmp_path) == [1, 2, 3]


def test_a_damaged_record_is_a_stub_and_the_chain_goes_on_behind_it(tmp_path: Path) -> None:
    liar = filled(6)
    liar.stubs[3] = "damaged"
    liar.hashes[3] = bytes(32)
    with lying(liar) as place:
        take(place, tmp_path)
    assert [line.get("withheld") for line in lines(tmp_path)] == [None, None, "damaged", None, None, None]


def test_trimmed_records_are_a_gap_that_is_booked(tmp_path: Path) -> None:
    liar = filled(9)
    with lying(liar) as place:
        take(place, tmp_path)
        for n in range(10, 20):
            liar.append(n=n)
        liar.oldest = 15
        take(place, tmp_path)
    assert lines(tmp_path)[9] == {"epoch": liar.epoch.hex(), "gap": {"first": 10, "last": 14}}
    assert numbers(tmp_path) == [*range(1, 10), *range(15, 20)]


def test_a_station_that_holds_less_than_came_is_a_matter_for_a_person(tmp_path: Path) -> None:
    liar = filled(9)
    with lying(liar) as place:
        take(place, tmp_path)
        del liar.bodies[5:], liar.hashes[6:]
        liar.acked[NAME] = 0
        with pytest.raises(UserError, match="data were lost there") as ended:
            take(place, tmp_path)
    assert ended.value.exit_code == 1


def test_an_unknown_consumer_is_told_what_to_write_into_the_lane_file(tmp_path: Path) -> None:
    with lying(Liar()) as place, pytest.raises(UserError, match=r'\[\[consumer\]\] name = "port"') as ended:
        take(place, tmp_path, "port")
    assert ended.value.exit_code == 2


def test_a_server_that_sends_a_byte_now_and_then_does_not_hold_us() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            link_, _ = server.accept()
            with link_:
                link_.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                for _ in range(100):
                    try:
                        link_.sendall(b" ")
                    except OSError:
                        return
                    threading.Event().wait(0.05)

        thread = threading.Thread(target=drip)
        thread.start()
        began_s = time.monotonic()
        with pytest.raises(Exception, match="IncompleteRead"):
            ask(Server("127.0.0.1", server.getsockname()[1]), "GET", "/", timeout_s=0.2)
        assert time.monotonic() - began_s < 2
        thread.join()


# --- a journal that begins anew -------------------------------------------------------------------


def salvaged(liar: Liar, *events: dict[str, Any], kind: str = "salvaged") -> None:
    for event in events:
        liar.append(f"carril.record.{kind}", original=event)


def originals(folder: Path) -> list[int]:
    """The test's numbers of all events that are kept, wherever they stand."""
    events = [line["event"] for line in lines(folder) if "event" in line]
    return [event["data"].get("original", event)["data"].get("n") for event in events]


def test_a_new_epoch_is_followed_and_what_was_salvaged_is_kept_once(tmp_path: Path) -> None:
    liar = filled(10)
    picture = liar.put(b"picture")
    with lying(liar) as place:
        take(place, tmp_path)
        liar.append(n=11, blobs=[picture])
        liar.append(n=12)
        old = [liar.event(seq) for seq in range(8, 13)]
        liar.begin_anew()
        salvaged(liar, *old)
        liar.append(n=13)
        said = take(place, tmp_path)
        assert any("the journal began anew" in line for line in said)
        assert originals(tmp_path) == [*range(1, 11), None, 11, 12, 13]
        assert [line["seq"] for line in lines(tmp_path)] == [*range(1, 11), *range(13, 20)], "dense"
        assert [line.get("duplicate") for line in lines(tmp_path)][11:14] == [
            event["id"] for event in old[:3]
        ]
        assert liar.receipts == {picture["sha256"]: 7}
        # Once more: what was salvaged is unwrapped and salvaged again; nacked records may be offered again.
        liar.begin_anew()
        salvaged(liar, *old)
        salvaged(liar, old[4], kind="reoffered")
        liar.append(n=14)
        take(place, tmp_path)
    assert originals(tmp_path) == [*range(1, 11), None, 11, 12, 13, None, 14]


def test_a_new_epoch_that_does_not_follow_from_the_old_one_is_not_taken(tmp_path: Path) -> None:
    liar = filled(4)
    with lying(liar) as place:
        take(place, tmp_path)
        liar.begin_anew()
        liar.before["previous_hash"] = "00" * 32
        said: list[str] = []
        archive = Archive(tmp_path)
        with pytest.raises(UserError, match="nothing is taken"):
            Consumer(place, NAME, archive, said.append).run(once=True)
        archive.close()
    assert any(line.startswith("ALARM: record 4 was another one") for line in said)
    assert numbers(tmp_path) == [1, 2, 3, 4]


def test_an_old_copy_put_back_brings_nothing_twice(tmp_path: Path) -> None:
    liar = filled(4)
    with lying(liar) as place:
        take(place, tmp_path)
        epoch, bodies, hashes = liar.epoch, liar.bodies, liar.hashes
        liar.begin_anew()
        take(place, tmp_path)
        liar.epoch, liar.bodies, liar.hashes, liar.first_seq, liar.oldest = epoch, bodies, hashes, 1, 1
        liar.acked, liar.before = {NAME: 0}, {}
        liar.append(n=5)
        take(place, tmp_path)
    assert numbers(tmp_path) == [1, 2, 3, 4, 5]


@given(st.lists(st.integers(1, 40)))
def test_what_was_taken_is_known_whatever_the_order(seqs: list[int]) -> None:
    cursor = Cursor(STATION, NAME, EPOCH, 0)
    for seq in seqs:
        cursor.take(f"{EPOCH}:{seq}")
    assert {seq for seq in range(1, 42) if cursor.has(f"{EPOCH}:{seq}")} == set(seqs)
    spans = cursor.taken.get(EPOCH, [])
    assert all(left[1] + 1 < right[0] for left, right in pairwise(spans)), "spans merge"
    assert not cursor.has(f"{'cd' * 16}:1")
    assert not cursor.has(None)


# --- blobs ----------------------------------------------------------------------------------------


def blob_requests(liar: Liar) -> list[str]:
    return [path for path in liar.asked if path.startswith("GET /v1/blobs/")]


def with_blob(content: bytes) -> Liar:
    liar = Liar()
    liar.append(n=1, blobs=[liar.put(content)])
    return liar


def test_a_download_that_is_cut_goes_on_where_it_was(tmp_path: Path) -> None:
    liar = with_blob(os.urandom(1_000_000))
    ranges: list[str] = []

    def noted(handler: Any) -> bool:
        ranges.append(handler.headers.get("Range", ""))
        return False

    # The index, the cursor, the page, the blob; then the page again, and the blob.
    liar.next.extend([None, None, None, cuts(0.5), None, noted])
    with lying(liar) as place:
        take(place, tmp_path)
    assert len(blob_requests(liar)) == 2
    assert [int(each.removeprefix("bytes=").removesuffix("-")) > 100_000 for each in ranges] == [True]
    (blob,) = (tmp_path / "blobs").rglob("[0-9a-f]" * 64)
    assert blob.read_bytes() == next(iter(liar.blobs.values()))
    assert (numbers(tmp_path), list((tmp_path / "part").iterdir())) == ([1], [])


@pytest.mark.parametrize(("lie", "reason"), [("bytes", "not those of its name"), ("gone", "404 not-found")])
def test_a_blob_that_cannot_be_had_is_booked_and_blocks_nothing(
    tmp_path: Path, lie: str, reason: str
) -> None:
    liar = with_blob(b"picture")
    liar.append(n=2)
    (name,) = liar.blobs
    if lie == "gone":
        liar.blobs.clear()
    else:
        liar.blobs[name] = b"another"
    with lying(liar) as place:
        take(place, tmp_path)
    (missing,) = [line for line in lines(tmp_path) if "blob" in line]
    assert (missing["seq"], missing["blob"]) == (1, name)
    assert reason in missing["missing"]
    assert (numbers(tmp_path), liar.acked[NAME], liar.receipts) == ([1, 2], 2, {})
    assert len(blob_requests(liar)) == (1 if lie == "gone" else 3)
    assert not list((tmp_path / "blobs").rglob("[0-9a-f]" * 64))


# --- its own disk ---------------------------------------------------------------------------------


def test_a_full_disk_ends_it_and_nothing_is_acknowledged_that_is_not_kept(tmp_path: Path) -> None:
    liar = filled(1500)
    into = tmp_path / "into"

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    with lying(liar) as place:
        command = [*CARRIL, "consume", place.url, "--name", NAME, "--into", str(into), "--once"]
        ended = subprocess.run(
            command, capture_output=True, text=True, preexec_fn=little_room, timeout=30, check=False
        )
        assert ended.returncode == 2
        assert "cannot be written (file too large); nothing was acknowledged that is not kept" in ended.stderr
        kept = json.loads((into / "cursor.json").read_bytes())
        assert 0 < liar.acked[NAME] == kept["seq"] < 1500
        take(place, into)
    assert numbers(into) == list(range(1, 1501))


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[tuple[Path, Server, Liar]]:
    """A folder with ten records, and their station."""
    liar = filled(10)
    with lying(liar) as place:
        take(place, tmp_path)
        yield tmp_path, place, liar


def test_a_folder_belongs_to_one_station_and_one_name(kept: tuple[Path, Server, Liar]) -> None:
    folder, place, _ = kept
    with pytest.raises(UserError, match="records of LIAR-01 for central, not of LIAR-01 for conformance"):
        take(place, folder, "conformance")
    holder = Archive(folder)
    with pytest.raises(UserError, match="in use by another"):
        Archive(folder)
    holder.close()


def test_a_folder_that_lost_something_is_refused(kept: tuple[Path, Server, Liar]) -> None:
    folder, place, _ = kept
    (file,) = folder.glob("records-*.jsonl")
    whole = file.read_bytes()
    os.truncate(file, len(whole) - 1)
    with pytest.raises(UserError, match="something was lost after it was acknowledged"):
        take(place, folder)
    cursor = folder / "cursor.json"
    cursor.write_bytes(cursor.read_bytes()[:-5])
    with pytest.raises(UserError, match=r"cursor\.json is damaged"):
        take(place, folder)
    cursor.unlink()
    with pytest.raises(UserError, match=r"has records but no cursor\.json"):
        take(place, folder)


def test_what_no_cursor_covers_is_cut_off_and_files_may_be_moved_away(
    kept: tuple[Path, Server, Liar],
) -> None:
    folder, place, liar = kept
    (file,) = folder.glob("records-*.jsonl")
    with file.open("ab") as unfinished:
        unfinished.write(b'{"half a li')
    (folder / "records-2999-01-01.jsonl").write_bytes(b"of a process that was killed at midnight\n")
    liar.append(n=11)
    take(place, folder)
    assert numbers(folder) == list(range(1, 12))
    file.rename(folder.parent / "taken away")
    liar.append(n=12)
    take(place, folder)
    assert numbers(folder) == [12]


# --- kill -9 --------------------------------------------------------------------------------------


def follow_for_ever(place: Server, folder: str, report: Connection) -> None:
    Consumer(place, NAME, Archive(Path(folder)), lambda _: report.send_bytes(b".")).run(once=False)


@contextmanager
def busy(liar: Liar) -> Iterator[None]:
    """Write records, every tenth with a blob, until the block ends."""
    ended = threading.Event()

    def write() -> None:
        while not ended.wait(0.001):
            n = liar.head + 1
            blobs = [liar.put(os.urandom(30_000))] if n % 10 == 0 else []
            liar.append(n=n, blobs=blobs)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_kills_at_any_moment_lose_nothing_and_double_nothing(tmp_path: Path, soak: bool) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.integration.test_consume"])
    chance, liar = random.Random(4), Liar()
    with lying(liar) as place:
        for _ in range(400 if soak else 15):
            received, sent = context.Pipe(duplex=False)
            child = context.Process(target=follow_for_ever, args=(place, str(tmp_path), sent))
            child.start()
            sent.close()
            with busy(liar):
                if received.poll(10):
                    received.recv_bytes()
                time.sleep(chance.uniform(0, 0.08))
                child.kill()
                child.join()
            received.close()
            cursor = json.loads((tmp_path / "cursor.json").read_bytes())
            assert liar.acked[NAME] <= cursor["seq"], "acknowledged before it was kept"
        take(place, tmp_path)
    assert numbers(tmp_path) == list(range(1, liar.head + 1))
    assert liar.acked[NAME] == liar.head > 100
    assert liar.receipts is not None
    assert liar.receipts.keys() == liar.blobs.keys()
    for name, content in liar.blobs.items():
        assert (tmp_path / "blobs" / name[:2] / name).read_bytes() == content
