"""When room is scarce the lane gives up the least first: background, raw images; then it says so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from station.cli.daemon import Daemon
from station.cli.report import LaneReport, store_reasons
from station.domain.device_events import PortalNoted
from station.lane.record import lane_view
from station.lane.vault import RAW_MEDIA, StoreVault
from station.store.errors import StoreFull
from station.store.journal import Store
from station.store.quota import Pressure
from tests.support.host_bench import SlowJournal, benched
from tests.support.journal import draft, open_small
from tests.support.lane_rig import Rig
from tests.support.served import serve
from tests.support.trimming import photo

QUOTA = 1_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_small(tmp_path / "state", blob_quota_bytes=QUOTA)
    yield store
    store.close()


def vault_of(store: Store, tmp_path: Path) -> StoreVault:
    (tmp_path / "scans").mkdir()
    return StoreVault(store, tmp_path / "scans")


def fill_to(store: Store, ratio: float) -> None:
    photo(store, b"x" * int(QUOTA * (ratio - store.blob_ratio)), "i1")


def scan_file(vault: StoreVault, name: str) -> None:
    written = []
    vault.write_lines(name, b"raw lines", lambda: written.append(1))


def test_raw_images_are_refused_and_previews_kept(store: Store, tmp_path: Path) -> None:
    vault = vault_of(store, tmp_path)
    scan_file(vault, "s1")
    kept = vault.keep_lines("s1")
    assert kept is not None
    assert kept.media == RAW_MEDIA
    vault.drop_lines("s1")
    fill_to(store, 0.91)
    scan_file(vault, "s2")
    with pytest.raises(OSError, match="room is scarce"):
        vault.keep_lines("s2")
    assert list((tmp_path / "scans").iterdir()) == [], "refused lines must not fill the disk elsewhere"
    with pytest.raises(OSError, match="room is scarce"):
        vault.keep(b"pixels", "application/x-npy")
    for media in ("image/jpeg", "application/json", "application/octet-stream"):
        assert vault.keep(b"small" + media.encode(), media).bytes


async def test_background_that_finds_no_room_is_let_go_and_the_lane_stays_open() -> None:
    def refuse(drafts: list[Any]) -> Exception | None:
        return StoreFull("90 %") if all(each.prio == 3 for each in drafts) else None

    with benched(SlowJournal()) as bench:
        await bench.written()
        bench.host.lane.core.emit(PortalNoted, device="rpm1", code="stalled", device_count=None)
        bench.board()
        assert bench.journal.waiting
        await bench.later(0.5, refuse)
        assert bench.host.lane.core.mode == "open"
        assert not bench.host._outbox
        bench.board(entry_loop=True)
        await bench.written(refuse)
        assert "inspection.opened" in bench.journal.types
        assert "portal.noted" not in bench.journal.types


def test_from_95_percent_on_the_lane_is_degraded_and_says_manual(store: Store) -> None:
    lane = Rig().lane
    watchdog: Any = SimpleNamespace(late=dict)
    daily: Any = SimpleNamespace(reasons=())
    report = LaneReport(lane, SimpleNamespace(), watchdog, store, daily)  # type: ignore[arg-type]
    daemon: Any = object.__new__(Daemon)
    daemon.store, daemon.daily, daemon.serving = store, daily, False
    daemon.scripted = SimpleNamespace(decides_utc_us=None)
    daemon.lane_file = SimpleNamespace(consumers=[SimpleNamespace(name="central", required=True)])
    for ratio, reasons in ((0.94, ()), (0.955, ("manual",))):
        fill_to(store, ratio)
        assert store_reasons(store) == reasons
        view = daemon._overlay(lane_view(lane.core))
        health = report.health()
        for told in (view.condition_reasons, health.reasons):
            assert ("manual" in told) == bool(reasons)
        if reasons:
            assert (view.condition, health.lane) == ("degraded", "degraded")
    assert store.pressure == Pressure.MANUAL


async def test_metrics_tell_of_room_and_of_what_went(tmp_path: Path) -> None:
    store = await asyncio.to_thread(open_small, tmp_path / "state", blob_quota_bytes=QUOTA)
    async with serve(store) as central:
        await asyncio.to_thread(fill_to, store, 0.5)
        await store.append([draft()])
        lines = (await central.client.get("/metrics")).text.splitlines()
    await asyncio.to_thread(store.close)
    assert "carril_store_blob_quota_ratio 0.5" in lines
    for what in ("records", "blobs", "orphans"):
        assert f"carril_store_trimmed_{what}_total 0.0" in lines


async def test_a_new_epoch_is_told_until_the_centre_has_taken_it(tmp_path: Path) -> None:
    store = await asyncio.to_thread(open_small, tmp_path / "state")
    await store.append([draft()])
    await asyncio.to_thread(store.close)
    (tmp_path / "state" / "mark.bin").unlink()
    store = await asyncio.to_thread(open_small, tmp_path / "state")
    try:
        assert store_reasons(store) == ("new_epoch",)
        await store.ack("central", store.epoch, store.first_seq - 1, [])
        assert store_reasons(store) == ("new_epoch",), "what was before is not its opening"
        await store.ack("central", store.epoch, store.first_seq, [])
        assert store_reasons(store) == ()
    finally:
        await asyncio.to_thread(store.close)
