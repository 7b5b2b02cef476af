"""A full disk is refused loudly at once, what was stored stays readable, and room brings everything back."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from station.store import chore, inherit, salvage
from station.store.ballast import Ballast
from station.store.errors import StoreError, StoreFull
from station.store.feed import read_after
from station.store.journal import Store
from station.store.ops import Ack
from station.store.verify import verify
from station.store.waiting import Waiter
from station.store.writer import Writer
from tests.support.epochs import Follower, distrusted, salvage_ends
from tests.support.full_disk import fill
from tests.support.host_bench import Bench, benched
from tests.support.journal import draft, open_small
from tests.support.trimming import anchor

BALLAST_BYTES = 1024 * 1024


def count(store: Store) -> int:
    return len(store._readers.look(lambda view: read_after(view, 0, 100_000)))


def ack(store: Store, seq: int) -> int:
    acked: int = store._submitted(lambda: Ack("central", store.epoch, seq)).result(10).acked
    return acked


def until_full(store: Store) -> tuple[int, float]:
    """Append until it is refused; how many were stored, and how long the refusal took."""
    stored = 0
    while True:
        began = time.monotonic()
        error = store.append_soon([draft(text="x" * 20_000)]).exception(10)
        if error is not None:
            assert isinstance(error, StoreFull), error
            return stored, time.monotonic() - began
        stored += 1


@pytest.mark.fault("F4")
def test_a_full_quota_refuses_records_but_nothing_else(tmp_path: Path) -> None:
    store = open_small(tmp_path / "state", quota_bytes=1_000_000)
    stored, refused_s = until_full(store)
    assert 20 < stored < 60
    assert refused_s < 1
    assert count(store) == stored
    assert ack(store, 5) == 5
    assert store.state == "open"
    assert 0.5 < store.quota_ratio <= 1.05
    store.close()
    # A larger quota is all it takes.
    store = open_small(tmp_path / "state")
    assert store.append_soon([draft()]).result(10).first == stored + 1
    store.close()
    assert verify(tmp_path / "state").ok


@pytest.mark.fault("F4")
def test_what_must_be_kept_does_not_fall_with_what_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_small(tmp_path / "state", quota_bytes=1_000_000)
    stored, _ = until_full(store)
    inside, go_on = threading.Event(), threading.Event()
    affordable = Writer._affordable

    def held(writer: Writer, group: list[Waiter]) -> list[Waiter]:
        inside.set()
        go_on.wait(20)
        return affordable(writer, group)

    monkeypatch.setattr(Writer, "_affordable", held)
    first = store._submitted(lambda: Ack("central", store.epoch, 1))
    inside.wait(20)
    large = store.append_soon([draft(text="x" * 60_000)])  # these two share a group
    acked = store._submitted(lambda: Ack("central", store.epoch, 5))
    go_on.set()
    assert first.result(10).acked == 1
    assert isinstance(large.exception(10), StoreFull)
    assert acked.result(10).acked == 5
    assert store.published == stored
    store.close()


def full_then_acknowledged(store: Store) -> None:
    """Refused within a second, read meanwhile, and as before once what is there was acknowledged."""
    _, refused_s = until_full(store)
    assert refused_s < 1
    assert count(store) == store.published - anchor(store) > 50
    assert ack(store, store.published) == store.published
    began = time.monotonic()
    while store.append_soon([draft(text="x" * 20_000)]).exception(10) is not None:
        assert time.monotonic() - began < 5, "it does not recover"
    assert store.stats.trimmed_records > 0
    assert store.state == "open"
    assert store.append_soon([draft(prio=3)]).exception(10) is None


@pytest.mark.fault("F4")
def test_after_an_acknowledgement_a_full_quota_takes_everything_again(tmp_path: Path) -> None:
    store = open_small(tmp_path / "state", quota_bytes=3_000_000)
    for _ in range(2):
        full_then_acknowledged(store)
        ack(store, store.published)
        while store.quota_ratio > 0.75:
            time.sleep(0.01)
    store.close()
    report = verify(tmp_path / "state")
    assert report.ok, report.faults


@pytest.mark.fault("F4", tier="T1")
def test_after_an_acknowledgement_a_small_disk_takes_everything_again(disk: Path) -> None:
    store = open_small(disk / "state", ballast_bytes=BALLAST_BYTES, quota_bytes=4_000_000)
    full_then_acknowledged(store)
    store.close()
    report = verify(disk / "state")
    assert report.ok, report.faults


def test_a_reserve_on_a_disk_that_fails_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    reserve = Ballast(tmp_path / "ballast", 4096)
    reserve.hold()
    assert reserve.path.exists()
    monkeypatch.setattr("station.store.ballast.is_full", lambda _: True)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", fail)
        patch.setattr(Path, "stat", fail)
        assert not reserve.release()
        reserve.hold()
    assert not reserve.spent
    assert reserve.release()
    assert reserve.spent
    assert not reserve.release()


@pytest.mark.fault("F4", tier="T1")
def test_a_full_disk_is_said_at_once_and_leaves_room_for_alarms(disk: Path) -> None:
    store = open_small(disk / "state", ballast_bytes=BALLAST_BYTES)
    assert (disk / "state" / "ballast").stat().st_size == BALLAST_BYTES
    for n in range(20):
        store.append_soon([draft(n=n)]).result(10)
    fill(disk / "filler")
    before = count(store)

    _, refused_s = until_full(store)
    assert refused_s < 1
    stored = count(store)
    assert stored >= before
    with pytest.raises(StoreFull):
        store.keep_blob(b"x" * 3_000_000, "image/jpeg")

    # The ballast is given up for what must be kept.
    fill(disk / "filler2")
    alarm = store.append_soon([draft("rpm1", prio=0, type="carril.radiation_alarm.raised")]).result(10)
    assert alarm.last == stored + 1
    assert not (disk / "state" / "ballast").exists()
    assert ack(store, alarm.last) == alarm.last
    assert count(store) == stored + 1
    assert store.state == "open"
    # And for nothing else, or the next alarm would find no room.
    ordinary = store.append_soon([draft()]).exception(10)
    assert isinstance(ordinary, StoreFull)
    assert "only alarms" in str(ordinary)

    # Space returns.
    (disk / "filler").unlink()
    (disk / "filler2").unlink(missing_ok=True)
    began = time.monotonic()
    assert store.append_soon([draft("back")]).result(10).first == stored + 2
    assert time.monotonic() - began < 5
    while not (disk / "state" / "ballast").exists():
        assert time.monotonic() - began < 5, "the reserve is not made again"
        time.sleep(0.05)
    epoch = store.epoch
    store.close()
    again = open_small(disk / "state", ballast_bytes=BALLAST_BYTES)
    assert (again.epoch, again.published) == (epoch, stored + 2)
    again.close()
    report = verify(disk / "state")
    assert report.ok, report.faults


@pytest.mark.fault("F4", tier="T1")
async def test_an_alarm_on_a_full_disk_stands_behind_the_vehicle_that_it_is_about(disk: Path) -> None:
    store = await asyncio.to_thread(open_small, disk / "state", ballast_bytes=BALLAST_BYTES)
    with contextlib.closing(store), benched(store) as bench:
        while bench.host._outbox:
            await asyncio.sleep(0.01)
        fill(disk / "filler")
        until_full(store)
        while store.append_soon([draft()]).exception(10) is None:
            pass
        bench.board(entry_loop=True)
        bench.alarm()
        async with bench.ticking():
            await until(bench, lambda types: "radiation_alarm.raised" in types, store)
            types = await until(bench, lambda types: True, store)
            assert types[-3:] == ["inspection.opened", "occupancy.started", "radiation_alarm.raised"]
            assert bench.host.lane.core.mode == "out_of_service"
            (disk / "filler").unlink()
            types = await until(bench, lambda types: bench.host.lane.core.mode == "open", store)
            assert types.count("radiation_alarm.raised") == types.count("inspection.opened") == 1


async def until(bench: Bench, holds: Callable[[list[str]], bool], store: Store) -> list[str]:
    """Let the lane tick until the types of all records are so."""
    async with asyncio.timeout(20):
        while True:
            types = [row.type.removeprefix("carril.") for row in await store.records_after(0, 10_000)]
            if holds(types) and not bench.host._flying:
                return types
            await bench.clock.advance(0.1)
            await asyncio.sleep(0.01)


@pytest.mark.fault("F4", tier="T1")
def test_a_station_starts_on_a_full_disk(disk: Path) -> None:
    store = open_small(disk / "state", ballast_bytes=BALLAST_BYTES)
    for n in range(200):
        store.append_soon([draft(n=n, text="x" * 2000)]).result(10)
    epoch = store.epoch
    store.close()
    fill(disk / "filler")
    # A new consumer must be written down, and there is room for that only where the ballast was.
    store = open_small(
        disk / "state", ballast_bytes=BALLAST_BYTES, consumers=[("central", True), ("port", True)]
    )
    assert (store.epoch, store.published) == (epoch, 200)
    assert store.acked["port"] == 0
    assert count(store) == 200
    (disk / "filler").unlink()
    assert store.append_soon([draft()]).result(10).first == 201
    store.close()


@pytest.mark.fault("F4", tier="T1")
def test_a_new_station_on_a_full_disk_is_one_sentence(disk: Path) -> None:
    fill(disk / "filler")
    with pytest.raises(StoreError, match=r"full|No space left"):
        open_small(disk / "state", ballast_bytes=BALLAST_BYTES)
    (disk / "filler").unlink()
    store = open_small(disk / "state", ballast_bytes=BALLAST_BYTES)
    assert (store.first_seq, store.before) == (1, None)
    store.close()


@pytest.mark.parametrize("is_damaged", [False, True])
@pytest.mark.parametrize("ballast_bytes", [0, BALLAST_BYTES])
@pytest.mark.fault("F4")
def test_a_restart_on_a_full_disk_loses_nothing(
    disk: Path, monkeypatch: pytest.MonkeyPatch, is_damaged: bool, ballast_bytes: int
) -> None:
    """Also where a new epoch must begin; with a reserve at once, without one when there is room again."""
    monkeypatch.setattr(chore, "REST_S", 0.1)
    monkeypatch.setattr(salvage, "AGAIN_S", 0.1)
    monkeypatch.setattr(inherit, "TAIL", 5)
    state = disk / "state"
    store = open_small(state, ballast_bytes=ballast_bytes)
    store.append_soon([draft(n=n, text="x" * 5000) for n in range(100)]).result(10)
    reader = Follower(epoch=store.epoch)
    store.close()
    if is_damaged:
        distrusted(state)
    fill(disk / "filler")
    if ballast_bytes:
        store = open_small(state, ballast_bytes=ballast_bytes)
        assert store.append_soon([draft("rpm1", prio=0)]).result(10)
        (disk / "filler").unlink()
    else:
        for _ in range(3):
            with pytest.raises(StoreFull, match="is full"):
                open_small(state)
        (disk / "filler").unlink()
        store = open_small(state)
    if is_damaged:
        salvage_ends(store, 1)
    reader.read(store)
    store.close()
    assert {event["data"].get("n") for event in reader.seen.values()} >= set(range(100))
    assert reader.lost == []
    assert len(list(state.glob("quarantine/*/journal"))) == is_damaged
    assert verify(state).ok
