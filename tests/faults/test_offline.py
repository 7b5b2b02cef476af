"""Three days without the central system, in virtual time, with restarts between; then everything in one go.

Records are those of a real passage, told by the lane's own logic, once for each truck. The clock that stamps
them is moved by hand; the disk, the journal, the interface and the consumer are real.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from station.domain.values import Verdict
from station.lane.commands import Decide
from station.lane.drafts import draft as drafted
from station.store.draft import BlobRef, Draft
from station.store.journal import Store
from station.store.open import open_store
from station.store.verify import verify
from tests.support.history import Alarm, Confirmed, History, Page, faults
from tests.support.journal import STATION, draft
from tests.support.lane_rig import Rig
from tests.support.manual_clock import ManualClock
from tests.support.served import serve

HOURS = 72.0
TRUCKS, SOAK_TRUCKS = 216, 6_480
"""Over the three days; the greater number is a busy lane's."""
LIVE_EVERY_S = 0.01
PHOTO = b"\xff\xd8" + b"x" * 4000
"""Instead of 20 MB: what a blob holds changes nothing of what is kept for whom."""


def passage() -> list[Draft]:
    """Return the records of one truck, from its arrival to its seal."""
    rig = Rig()
    rig.background()
    before = len(rig.appends)
    rig.arrive(gamma="alarm")
    inspection = rig.lane.core.inspection
    assert inspection is not None
    rig.order(Decide(inspection.inspection_id, inspection.version, Verdict.SECONDARY, "O-1"))
    rig.leave()
    told = [drafted(event, append) for append in rig.appends[before:] for event in append.events]
    mine = [replace(each, blobs=()) for each in told if each.subject == inspection.inspection_id]
    assert mine[0].opens
    assert any(each.seals for each in mine)
    return mine


def of_truck(told: list[Draft], number: int, clock: ManualClock, photo: str) -> Iterator[Draft]:
    """Return the same records of another truck, now."""
    subject, now_us = f"01900000-0000-7000-8000-{number:012}", clock.stamp().utc_ns // 1000
    for each in told:
        stamp = {**each.data["stamp"], "utc_us": now_us, "mono_us": clock.stamp().mono_ns // 1000}
        data = {**each.data, "inspection_id": subject, "stamp": stamp}
        blobs = (BlobRef("photo", photo, "image/jpeg"),) if each.seals else ()
        if "blobs" in data:  # of its own, not those of the passage that was told
            data["blobs"] = [{"role": blob.role, "sha256": blob.sha256} for blob in blobs]
        yield replace(each, subject=subject, data=data, time_us=now_us, blobs=blobs)


def opened(state: Path, clock: ManualClock) -> Store:
    return open_store(state, STATION, clock, consumers=[("central", True)], ballast_bytes=0)


def drain(port: int, epoch: str, pages: Any) -> None:
    """Be the central system, in a process of its own: read and acknowledge until there is no more."""
    link, after = http.client.HTTPConnection("127.0.0.1", port, timeout=30), 0
    while True:
        link.request("GET", f"/v1/feed?after={after}&epoch={epoch}&limit=500&include=simulated")
        page = json.loads(link.getresponse().read())
        pages.send(page)
        after = page["next"]
        body = json.dumps({"epoch": epoch, "seq": after})
        link.request("POST", "/v1/consumers/central/ack", body, {"Content-Type": "application/json"})
        pages.send(json.loads(link.getresponse().read())["acked"])
        if not page["more"]:
            pages.send(None)
            return


async def live(store: Store, seconds: float, until: asyncio.Event) -> list[float]:
    """Append as a lane does, until the time is over or the event comes; return how long each took."""
    taken_s = []
    ends_s = time.monotonic() + seconds
    while time.monotonic() < ends_s and not until.is_set():
        began_s = time.monotonic()
        await store.append([draft("live", n=len(taken_s))])
        taken_s.append(time.monotonic() - began_s)
        await asyncio.sleep(LIVE_EVERY_S)
    return taken_s


@pytest.mark.fault("F23")
@pytest.mark.timeout(1200)
async def test_three_days_offline_lose_nothing_and_drain_beside_the_lane(tmp_path: Path, soak: bool) -> None:
    trucks, told = SOAK_TRUCKS if soak else TRUCKS, passage()
    clock, history, state = ManualClock(), History(), tmp_path / "state"
    store = opened(state, clock)
    photos = {}
    (alarm,) = [each.data for each in told if each.type == "carril.radiation_alarm.raised"]
    history.emitted += [Alarm(alarm["device"], alarm["channel"], tuple(alarm["counts"]))] * trucks
    for number in range(trucks):
        await clock.advance(HOURS * 3600 / trucks)
        if number in (trucks // 3, trucks // 2):
            await asyncio.to_thread(store.close)
            store = opened(state, clock)
        if number % 24 == 0:  # every truck has photographs, not every one its own
            photo = await asyncio.to_thread(store.keep_blob, PHOTO + b"%d" % number, "image/jpeg")
            photos[photo] = None
        drafts = list(of_truck(told, number, clock, photo))
        receipt = await store.append(drafts)
        history.confirmed += [
            Confirmed(f"{receipt.epoch}:{seq}", each.type) for seq, each in enumerate(drafts, receipt.first)
        ]
    assert store.acked["central"] == 0
    waiting = store.published

    never = asyncio.Event()
    async with serve(store) as served:
        quiet_s = await live(store, 10.0 if soak else 1.0, never)
        context = multiprocessing.get_context("forkserver")
        received, sent = context.Pipe(duplex=False)
        central = context.Process(target=drain, args=(served.port, store.epoch, sent))
        began_s = time.monotonic()
        central.start()
        sent.close()
        drained = asyncio.Event()

        async def hear() -> None:
            after = 0
            while (said := await asyncio.to_thread(received.recv)) is not None:
                if isinstance(said, int):
                    history.acked.append((store.epoch, said))
                    continue
                items = tuple({**item["event"], "seq": item["seq"]} for item in said["items"])
                history.pages.append(Page(said["epoch"], after, said["next"], items))
                after = said["next"]
            drained.set()

        hearing = asyncio.create_task(hear())
        beside_s = await live(store, 600, drained)
        await hearing
        took_s = time.monotonic() - began_s
        central.join()
        for photo in photos:  # nothing expired
            assert (await served.client.head(f"/v1/blobs/{photo}")).status_code == 200
    assert faults(history) == []
    assert len(history.received()) >= waiting
    assert store.acked["central"] >= waiting
    assert took_s < HOURS * 3600 / 10, "it drains at ten times real time, at least"
    p99 = [statistics.quantiles(each, n=100)[-1] * 1000 for each in (quiet_s, beside_s)]
    print(f"{waiting} records in {took_s:.1f} s; live p99 {p99[0]:.1f} ms alone, {p99[1]:.1f} beside it")
    await asyncio.to_thread(store.close)
    assert verify(state).ok
