"""``carril consume`` of stations that are well, gone, lie or cut answers: all once, in order."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from station.cli import consumer
from station.cli.archive import Archive
from station.cli.client import Server, ask
from station.cli.consumer import Consumer
from station.cli.errors import UserError
from station.store.chain import genesis, link
from station.store.draft import BlobRef, Draft
from tests.support.consumer import NAME, filled, lines, numbers, take
from tests.support.journal import append, draft, put_blob
from tests.support.liar import Liar, cuts, hangs_up, lying, refuses, says_nothing
from tests.support.served import Served
from tests.support.station import CARRIL

pytestmark = pytest.mark.usefixtures("pauses")


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


def telling(n: int, name: str, size: int) -> Draft:
    """A record that tells of a blob, as those of the lane do."""
    told = [{"role": "raw", "sha256": name, "media": "image/png", "bytes": size}]
    made = draft(blobs=(BlobRef("raw", name),))
    return replace(made, data=dict(made.data) | {"n": n, "blobs": told})


async def test_a_real_station_is_emptied(central: Served, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    name = await put_blob(central.store, content, "image/png")
    await append(central.store, [draft(n=1, blobs=(BlobRef("raw", name),))])
    with_blob = draft(n=2, simulated=True)
    await append(central.store, [with_blob, draft(n=3)])
    await append(central.store, [telling(4, name, len(content))])
    into = tmp_path / "into"
    await asyncio.to_thread(take, Server("127.0.0.1", central.port), into)
    assert numbers(into) == [1, 2, 3, 4]
    assert central.store.acked == {NAME: 4}
    assert (into / "blobs" / name[:2] / name).read_bytes() == content


async def test_a_record_whose_blob_is_damaged_there_is_refused_and_is_no_success(
    central: Served, tmp_path: Path
) -> None:
    name = await put_blob(central.store, bytes(3_000_000), "image/png")
    await append(central.store, [telling(1, name, 3_000_000), draft(n=2)])
    (path,) = (tmp_path / "state").rglob(name)
    path.write_bytes(b"x" + bytes(2_999_999))
    into = tmp_path / "into"

    def follow() -> tuple[int, str]:
        with carril(Server("127.0.0.1", central.port), into, "--once") as process:
            said, _ = process.communicate(timeout=30)
        return process.returncode, said

    code, said = await asyncio.to_thread(follow)
    assert "ALARM: evidence of record 1 is damaged there. Tell a person" in said
    assert code == 1
    assert (numbers(into), central.store.acked) == ([1, 2], {NAME: 2})
    refused = (await central.client.get(f"/v1/consumers/{NAME}/quarantine")).json()["items"]
    reason = f"blob {name}: it is damaged at the station"
    assert [(each["seq"], each["reason"]) for each in refused] == [(1, reason)]
    news = central.store.news()
    assert news is not None
    assert news.blobs == (name,)


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
    short = consumer.sleep

    def until_the_end(seconds: float) -> None:
        if ended.is_set():
            raise SystemExit
        short(seconds)

    monkeypatch.setattr(consumer, "sleep", until_the_end)
    archive = Archive(tmp_path)
    follower = Consumer(place, NAME, archive, lambda _: None)

    def follow() -> None:
        with suppress(SystemExit):
            follower.run(once=False)

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
    with lying(other) as place, pytest.raises(UserError, match=r"ALARM: .* which was received before"):
        take(place, tmp_path)
    assert numbers(tmp_path) == [1, 2, 3]


def test_a_damaged_record_is_a_stub_and_the_chain_goes_on_behind_it(tmp_path: Path) -> None:
    liar = filled(6)
    liar.stubs[3] = "damaged"
    liar.hashes[3] = bytes(32)
    with lying(liar) as place:
        said = take(place, tmp_path)
    assert f"ALARM: record 3 of epoch {liar.epoch.hex()} is damaged there. Tell a person" in said
    assert [line.get("withheld") for line in lines(tmp_path)] == [None, None, "damaged", None, None, None]


@pytest.mark.parametrize("name", [NAME, "port"])
def test_trimmed_records_are_a_gap_that_is_booked_and_an_alarm_of_a_required_consumer(
    tmp_path: Path, name: str
) -> None:
    liar = filled(9, acked={NAME: 0, "port": 0})
    with lying(liar) as place:
        take(place, tmp_path, name)
        for n in range(10, 20):
            liar.append(n=n)
        liar.oldest = 15
        said = take(place, tmp_path, name)
    gap = "a gap: records 10 to 14 were removed before they came here"
    alarm = f"ALARM: {gap}, though {NAME} is required. Tell a person"
    assert (alarm if name == NAME else gap) in said
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
