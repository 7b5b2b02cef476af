"""Between lane and journal: screens see what is stored, all of it, and learn what cannot be stored."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator

import pytest

from drivers.readings import CameraRead, Picture
from station.domain.events import ScanCompleted
from station.domain.values import ScanSummary
from station.domain.view import DeviceView
from station.lane.core import blob_uses
from station.lane.effects import Append, BlobKept
from station.store.draft import Draft
from station.store.errors import (
    NotStored,
    RecordRejected,
    Repeated,
    StoredResponse,
    StoreFull,
    StoreUnavailable,
    Unknown,
)
from tests.support.host_bench import Bench, NoVault, SlowJournal, benched
from tests.support.lane_rig import Rig


def gone(drafts: list[Draft]) -> Exception:
    return NotStored("the disk is gone")


def full(drafts: list[Draft]) -> Exception | None:
    """A full disk has room for an alarm and what comes with it."""
    return None if any(draft.prio == 0 for draft in drafts) else StoreFull("no room")


@pytest.fixture
async def bench() -> Iterator[Bench]:
    with benched(SlowJournal()) as bench:
        await bench.written()
        yield bench


async def test_a_change_without_a_record_is_shown_once_the_journal_has_caught_up(bench: Bench) -> None:
    """Shown before, it would hint at unstored facts; forgotten, the screen would be wrong for ever."""
    bench.board(entry_loop=True)
    await bench.written()
    bench.host.health(
        DeviceView(name="lpr1", role="Camera", mode="emulated", required=True, state="degraded"), "online"
    )
    bench.board(entry_loop=False, booth_loop=True)  # no record, yet locks change
    assert bench.journal.waiting
    inspection = bench.host.lane.core.inspection
    assert inspection is not None
    assert bench.host.view.inspection is not None
    assert bench.host.view.inspection.version < inspection.version
    await bench.written()
    assert bench.host.view.inspection.version == inspection.version


async def test_screens_see_a_fact_when_it_is_stored_and_not_before(bench: Bench) -> None:
    before = len(bench.seen("record"))
    bench.board(entry_loop=True)
    assert bench.host.view.inspection is None
    assert len(bench.seen("record")) == before
    await bench.written()
    assert bench.host.view.inspection is not None
    assert bench.seen("record")[-1].id == f"{bench.journal.epoch}:{bench.journal.published}"


async def test_an_alarm_that_is_not_stored_in_time_is_shown_as_such(bench: Bench) -> None:
    bench.alarm()
    await asyncio.sleep(0.15)
    (raw,) = bench.seen("alarm_raw")
    assert (raw.data["alarm"]["code"], raw.data["alarm"]["stored"]) == ("gamma_alarm", False)
    await bench.written()
    assert bench.host.view.alarms[0].stored


@pytest.mark.parametrize("error", [NotStored("the disk is gone"), RecordRejected("not a record")])
async def test_facts_that_cannot_be_kept_put_the_lane_out_of_service(bench: Bench, error: Exception) -> None:
    assert bench.outputs["entry_green"]
    bench.board(entry_loop=True)
    await bench.written(lambda _: error)
    assert bench.host.lane.core.mode == "out_of_service"
    assert not bench.outputs["entry_green"]
    codes = {alarm.code: alarm.stored for alarm in bench.host.view.alarms}
    assert codes == {"cannot_record": False}


async def test_facts_that_a_broken_disk_refused_are_written_first_when_it_works_again(bench: Bench) -> None:
    bench.board(entry_loop=True)
    await bench.written(gone)
    await bench.later(2.0)
    types = bench.journal.types
    opened = types.index("inspection.opened")
    reopened = max(n for n, kind in enumerate(types) if kind == "lane_mode.changed")
    assert opened < reopened
    assert bench.host.lane.core.mode == "open"
    assert types.count("inspection.opened") == 1


async def test_nothing_is_stored_before_the_facts_that_it_follows(bench: Bench) -> None:
    """Least of all an alarm, for which a full disk has room where it has none for what it is about."""
    bench.board(entry_loop=True)
    await bench.written(full)
    bench.alarm()
    assert not bench.journal.waiting
    await bench.later(1.5, full)
    types = bench.journal.types
    assert types.index("inspection.opened") < types.index("radiation_alarm.raised")
    assert bench.host.lane.core.mode == "out_of_service"  # alarms are not all that must be kept
    await bench.later(2.0)
    assert bench.host.lane.core.mode == "open"


async def test_what_is_still_on_its_way_is_not_overtaken(bench: Bench) -> None:
    bench.board(entry_loop=True)
    bench.alarm()
    await bench.written(full)
    assert "radiation_alarm.raised" not in bench.journal.types
    await bench.later(1.5, full)
    types = bench.journal.types
    assert types.index("inspection.opened") < types.index("radiation_alarm.raised")


async def test_an_alarm_behind_unstored_facts_is_shown_at_once_and_as_unstored(bench: Bench) -> None:
    bench.board(entry_loop=True)
    await bench.written(gone)
    bench.alarm()
    await asyncio.sleep(0.01)
    assert [message.data["alarm"]["code"] for message in bench.seen("alarm_raw")] == ["gamma_alarm"]
    assert {a.code: a.stored for a in bench.host.view.alarms} == {
        "gamma_alarm": False,
        "cannot_record": False,
    }
    await bench.later(2.0)
    assert {a.code: a.stored for a in bench.host.view.alarms}["gamma_alarm"]


async def test_asking_whether_the_disk_works_again_fills_no_memory(bench: Bench) -> None:
    bench.board(entry_loop=True)
    await bench.written(gone)
    await bench.later(50.0, gone)
    # Fifty questions are not among them.
    kinds = [event.type_name() for append in bench.host._outbox for event in append.events]
    assert kinds == ["carril.inspection.opened", "carril.inspection.sealed"]


@pytest.mark.fault("F8")
async def test_a_disk_that_does_not_answer_puts_the_lane_out_of_service(bench: Bench) -> None:
    async with bench.ticking():
        bench.board(entry_loop=True)
        await bench.clock.advance(4.0)
        assert bench.host.lane.core.mode == "open"
        await bench.clock.advance(2.0)
        assert bench.host.lane.core.mode == "out_of_service"
        assert bench.host.view.mode == "out_of_service"
        for _ in range(30):
            await bench.written()
            await bench.clock.advance(0.1)
        assert bench.host.lane.core.mode == "open"


async def test_what_waits_for_the_journal_at_the_end_is_handed_over(bench: Bench) -> None:
    bench.board(entry_loop=True)
    bench.alarm()
    bench.host.close()
    bench.journal.write()
    told = ["occupancy.started", "radiation_alarm.raised", "occupancy.ended", "hour.counted"]
    assert bench.journal.types[-4:] == told  # the stop cut off an occupancy, and the hour counts it
    assert bench.journal.types.count("inspection.opened") == 1


# --- records that are refused, or of which nobody knows ---------------------------------------------


@pytest.mark.parametrize("stored", [False, True])
async def test_a_fact_of_which_nobody_knows_is_looked_up_and_kept_once(bench: Bench, stored: bool) -> None:
    def nobody_knows(drafts: list[Draft]) -> Exception:
        if stored:
            bench.journal.keep(drafts)
        return Unknown("the disk hangs")

    bench.board(entry_loop=True)
    await bench.written(nobody_knows)
    bench.board(entry_loop=False, cabinet_closed=False)
    await bench.later(1.0, gone)  # what is in doubt stays in doubt
    await bench.later(3.0)
    assert bench.journal.types.count("inspection.opened") == 1
    assert bench.journal.types.index("inspection.opened") < bench.journal.types.index("tamper.opened")
    assert bench.host.lane.core.mode == "open"


def plate(bench: Bench) -> None:
    picture = (Picture("scene", b"\xff\xd8"),)
    read = CameraRead(bench.clock.stamp(), "plate", "R4K7719", "", 0.97, "e1", "", False, picture, b"body")
    bench.host.reading("lpr1", read)


def without_blobs(drafts: list[Draft]) -> Exception | None:
    return RecordRejected("FOREIGN KEY") if any(draft.blobs for draft in drafts) else None


async def test_a_record_whose_blobs_the_journal_refuses_is_kept_without_them(bench: Bench) -> None:
    bench.board(entry_loop=True)
    await bench.written()
    bench.board(cabinet_closed=False)  # on its way: the next two go as one
    plate(bench)
    while not any(append.events[0].type_name() == "carril.plate.read" for append in bench.host._outbox):
        await asyncio.sleep(0.005)
    bench.board(cabinet_closed=True)
    await bench.written(without_blobs)
    types = bench.journal.types
    assert types.index("tamper.opened") < types.index("plate.read") < types.index("tamper.closed")
    assert bench.journal.stored[types.index("plate.read")].blobs == ()
    assert bench.host.lane.core.mode == "open"


@pytest.mark.parametrize("is_amended", [False, True])
async def test_the_raw_lines_of_a_scan_go_once_the_record_that_names_them_is_durable(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, is_amended: bool
) -> None:
    dropped: queue.SimpleQueue[str] = queue.SimpleQueue()
    monkeypatch.setattr(NoVault, "drop_lines", lambda _, scan_id: dropped.put(scan_id))
    bench.board(entry_loop=True)
    await bench.written()
    core = bench.host.lane.core
    raw = blob_uses({"raw": BlobKept("ab" * 32, "text/plain", 5)})
    for name, blobs in (("without", ()), ("with", raw)):
        if is_amended:
            core.amend("i-1", "scan", fields={"scan_id": name}, blobs=blobs)
        else:
            summary = ScanSummary(scan_id=name, device="scanner1", state="complete")
            core.tell(ScanCompleted, **summary.model_dump(), blobs=blobs)
    bench.board(cabinet_closed=False)
    await bench.written(gone)
    assert dropped.empty()
    await bench.later(2.0)
    assert await asyncio.to_thread(dropped.get, True, 5) == "with"


async def test_a_fact_that_the_journal_takes_in_no_form_keeps_the_lane_out_of_service(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    def no_vehicle(drafts: list[Draft]) -> Exception | None:
        opened = any(draft.type == "carril.inspection.opened" for draft in drafts)
        return RecordRejected("not a record") if opened else None

    bench.board(cabinet_closed=False)  # on its way: the others go as one
    bench.board(entry_loop=True)
    bench.board(cabinet_closed=True)
    await bench.later(5.0, no_vehicle)
    assert bench.host.lane.core.mode == "out_of_service"
    assert "cannot_record" in [alarm.code for alarm in bench.host.view.alarms]
    assert bench.host.view.mode == "out_of_service"
    assert "tamper.closed" in bench.journal.types
    (lost,) = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert "carril.inspection.opened" in lost.getMessage()
    assert "'opened_by': 'entry_loop'" in lost.getMessage()


def test_what_rides_on_the_question_whether_the_disk_works_is_no_question() -> None:
    rig = Rig()
    rig.board(entry_loop=True)
    inspection = rig.lane.core.inspection
    assert inspection is not None
    inspection.abort("vehicle_gone")
    effects = rig.lane.try_recording(rig.stamp())
    appends = [effect for effect in effects if isinstance(effect, Append)]
    assert [
        (append.probe, [event.type_name().removeprefix("carril.") for event in append.events])
        for append in appends
    ] == [(False, ["inspection.sealed"]), (True, ["lane_mode.changed"])]


# --- commands -----------------------------------------------------------------------------------------


async def test_a_repeat_while_the_first_is_on_its_way_gets_its_answer(bench: Bench) -> None:
    """A screen without a receipt sends again with the same key: it must not hear that nothing was done."""
    bench.board(entry_loop=True)
    await bench.written()
    command = bench.decide("secondary")
    first = asyncio.create_task(bench.host.command(command, "screen", "key-1", "00" * 32))
    await asyncio.sleep(0.01)
    again = asyncio.create_task(bench.host.command(command, "screen", "key-1", "00" * 32))
    await asyncio.sleep(0.01)
    await bench.written()
    assert await first == await again
    assert bench.journal.types.count("decision.recorded") == 1


async def permitted(bench: Bench) -> None:
    """A vehicle at the booth that may go to the secondary area."""
    bench.board(entry_loop=True)
    bench.board(entry_loop=False, booth_loop=True)
    order = bench.decide("secondary")
    ordering = asyncio.create_task(bench.host.command(order, "screen", "key-1", "00" * 32))
    await asyncio.sleep(0.01)
    await bench.written()
    await ordering
    assert bench.outputs["raise_permit"]


async def test_a_hold_waits_for_no_look_up(bench: Bench) -> None:
    await permitted(bench)
    bench.journal.answers = asyncio.Event().wait
    holding = asyncio.create_task(bench.host.command(bench.decide(), "screen", "key-2", "00" * 32))
    await asyncio.sleep(0)
    assert not bench.outputs["raise_permit"]
    await bench.written()
    assert (await asyncio.wait_for(holding, 1)).first == bench.journal.published


async def test_a_hold_works_although_nothing_can_be_recorded(bench: Bench) -> None:
    async def closed() -> None:
        raise StoreUnavailable("the journal is not open")

    await permitted(bench)
    bench.journal.answers = closed
    holding = asyncio.create_task(bench.host.command(bench.decide(), "screen", "key-2", "00" * 32))
    await asyncio.sleep(0)
    assert not bench.outputs["raise_permit"]
    await bench.written(gone)
    with pytest.raises(NotStored):
        await holding
    inspection = bench.host.lane.core.inspection
    assert inspection is not None
    assert inspection.held
    with pytest.raises(StoreUnavailable):  # again, now that nothing works
        await bench.host.command(bench.decide(), "screen", "key-3", "00" * 32)
    await bench.later(2.0)
    assert bench.journal.keys == ["key-1", "key-2"]
    # Both have worked: both are facts.
    verdicts = [draft.data["verdict"] for draft in bench.journal.stored if "decision" in draft.type]
    assert verdicts == ["secondary", "hold", "hold"]
    assert [str(decision.verdict) for decision in inspection.decisions] == verdicts


async def test_the_answer_to_a_repeated_hold_is_the_first_one(bench: Bench) -> None:
    await permitted(bench)
    answer = bench.journal.answered = StoredResponse(bytes(32), 201, "the first answer")
    again = asyncio.create_task(bench.host.command(bench.decide(), "screen", "key-2", "00" * 32))
    await asyncio.sleep(0)
    assert not bench.outputs["raise_permit"]
    await bench.written(lambda _: Repeated(answer))
    with pytest.raises(Repeated):
        await again
    assert bench.host.lane.core.mode == "open"


async def test_a_repeated_hold_without_a_vehicle_gets_the_first_answer(bench: Bench) -> None:
    await permitted(bench)
    command = bench.decide()
    bench.host.lane.core.passage = None
    bench.journal.answered = StoredResponse(bytes(32), 201, "the first answer")
    with pytest.raises(Repeated):
        await bench.host.command(command, "screen", "key-2", "00" * 32)


async def test_a_hanging_disk_costs_pictures_and_never_a_plate(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = threading.Event()
    kept = NoVault().keep

    def hang(_: NoVault, data: bytes, media: str) -> BlobKept:
        works.wait(10)
        return kept(data, media)

    def reads() -> list[str]:
        drafts = [draft for draft in bench.journal.stored if draft.type == "carril.plate.read"]
        return [f"{draft.data['text']} {len(draft.blobs)}" for draft in drafts]

    async def until(count: int) -> None:
        async with asyncio.timeout(5):
            while len(reads()) < count:
                await asyncio.sleep(0.01)
                await bench.written()

    monkeypatch.setattr(NoVault, "keep", hang)
    bench.board(entry_loop=True)
    await bench.written()
    for text in ("AB1", "CD2"):
        body = bytes(40 * 1024 * 1024)
        event = CameraRead(bench.clock.stamp(), "plate", text, "", 0.9, text, "", False, (), body)
        bench.host.reading("lpr1", event)
    await until(1)
    assert reads() == ["CD2 0"]
    works.set()
    await until(2)
    assert reads()[1] == "AB1 1"
