"""The emulated portal: its documents say what the virtual truck was, and its faults are those of senders."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.formats.n42.document import Document, NotN42, Unfinished
from drivers.formats.n42.read import MAX_BYTES, read
from drivers.formats.n42.write import write
from drivers.plant.clock import PlantClock
from drivers.plant.rig import within
from drivers.plant.vehicle import Scenario, Source, Vehicle
from drivers.plant.world import Plant
from drivers.rpm.drop.codec import decode
from drivers.rpm.drop.driver import N42DropOptions
from drivers.rpm.drop.portal import FAULTS, DropPortal
from drivers.rpm.drop.sim import OF_FILES, DropEmulator
from tests.support.lane_facts import GEOMETRY
from tests.support.lane_rig import Rig
from tests.unit.test_reports import LANE

CLEAN = Vehicle(name="clean", plate="R4K 7719", container="YMLU3030933", speed_mps=5, length_m=8)
HOT = CLEAN.model_copy(update={"sources": (Source(at_m=4, gamma_cps=4_000, neutron_cps=200),)})
STEP_S = 0.1


class Virtual:
    """A portal on a lane whose time is moved by hand."""

    def __init__(self, truck: Vehicle = CLEAN) -> None:
        self.clock = PlantClock(rate=0)
        self.plant = Plant(GEOMETRY, Scenario(title="one", gap_s=600, truck=(truck,)), self.clock)
        self.plant.entry_green = self.plant.arm_wanted_up = True
        self.portal = DropPortal(self.plant, 1)

    def passage(self, *faults: str) -> Document:
        """Let the truck pass; return the document of it."""
        self.portal.faults |= set(faults)
        for _ in range(round(30 / STEP_S)):
            self.clock.advance(STEP_S)
            if documents := self.portal.step(self.clock.stamp()):
                (document,) = documents
                return document
        raise AssertionError("no document in 30 s")


@pytest.mark.parametrize(("truck", "alarms"), [(CLEAN, set()), (HOT, {"Gamma", "Neutron"})])
def test_a_passage_is_told_with_background_counts_and_alarms(truck: Vehicle, alarms: set[str]) -> None:
    document = Virtual(truck).passage()
    background, *samples = document.measurements
    assert (background.class_code, background.occupied) == ("Background", False)
    assert background.real_time_s > 5
    assert 15 < len(samples) < 30, "8 m at 5 m/s and 2 s of hold-in"
    assert {(each.real_time_s, each.occupied) for each in samples} == {(0.2, True)}
    assert {alarm.category for analysis in document.analyses for alarm in analysis.alarms} == alarms
    assert document.item == {"plate": "R4K 7719", "container": "YMLU3030933"}
    assert document.remarks[0].startswith("Simulated")


def test_the_document_of_a_virtual_truck_measures_it_in_the_lane() -> None:
    """Emulated portal, writer, reader, lane: with the clock of one computer."""
    virtual = Virtual(HOT)
    document = virtual.passage()
    rig = Rig(LANE)
    rig.board(entry_loop=True)
    stamp = virtual.clock.stamp()
    report = decode(write(document), "passage", stamp)
    assert report.span is not None
    ahead_ns = rig.stamp().utc_ns - stamp.utc_ns
    rig.wait(10)
    span = (report.span[0] + ahead_ns + 9_000_000_000, report.span[1] + ahead_ns + 9_000_000_000)
    rig.read("rpm1", replace(report, span=span))
    (ended,) = [event for event in rig.events if event.type_name() == "carril.occupancy.ended"]
    assert (ended.complete, ended.gamma_alarm, ended.neutron_alarm) == (True, True, True)
    assert {verdict.outcome for verdict in ended.verdicts} == {"alarm"}, "the station agrees"


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_every_fault_of_the_portal_shows_in_its_document(fault: str) -> None:
    sound, document = Virtual().passage(), Virtual().passage(fault)
    shows: dict[str, Callable[[], bool]] = {
        "clock_off": lambda: document.measurements[-1].start[:13] != sound.measurements[-1].start[:13],
        "no_background": lambda: all(each.occupied for each in document.measurements),
        "no_item": lambda: document.item == {},
        "partial": lambda: all(len(each.counts) == 6 for each in document.measurements),
        "tamper": lambda: bool(document.measurements[-1].faults),
    }
    assert shows[fault]()


async def left(folder: Path, *faults: str) -> DropEmulator:
    """Return an emulator that has left one truck's document in the folder, with faults."""
    virtual = Virtual()
    emulator = DropEmulator(N42DropOptions(folder=str(folder)), virtual.plant, virtual.clock, 1)
    for fault in faults:
        emulator.fault(fault, on=True)
    assert await emulator.start() == 0

    def moved() -> bool:
        virtual.clock.advance(STEP_S)
        return emulator.written > 0 or bool(emulator.state()["held"])

    assert await within(20, moved, 0.001)
    return emulator


def files(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.startswith(".")]


def sizes(folder: Path) -> list[tuple[int, int]]:
    """Length of each file, and the bytes that it takes from the disk."""
    return [(path.stat().st_size, path.stat().st_blocks * 512) for path in folder.iterdir()]


@pytest.mark.parametrize(
    ("fault", "sound"),
    [
        ("half_written", Unfinished),
        ("not_xml", NotN42),
        ("entity_bomb", NotN42),
        ("foreign_prefix", None),
        ("in_place", None),
    ],
)
async def test_faults_of_the_sender_are_what_they_say(
    tmp_path: Path, fault: str, sound: type[Exception] | None
) -> None:
    emulator = await left(tmp_path / "drop", fault)
    (body,) = files(tmp_path / "drop")
    if sound is None:
        assert read(body).item["plate"] == "R4K 7719"
    else:
        with pytest.raises(sound):
            read(body)
    assert (b"<n42:RadMeasurement" in body) == (fault == "foreign_prefix")
    await emulator.stop()
    await emulator.stop()


async def test_a_duplicate_is_the_same_document_under_another_name(tmp_path: Path) -> None:
    emulator = await left(tmp_path, "duplicate")
    first, second = files(tmp_path)
    assert first == second
    await emulator.stop()


async def test_a_file_that_is_too_large_is_one_and_costs_no_room(tmp_path: Path) -> None:
    emulator = await left(tmp_path, "too_large")
    ((size, used),) = sizes(tmp_path)
    assert size > MAX_BYTES
    assert used < 2**20
    await emulator.stop()


async def test_a_late_document_comes_when_the_fault_ends(tmp_path: Path) -> None:
    emulator = await left(tmp_path, "late")
    assert (files(tmp_path), emulator.state()["held"]) == ([], 1)
    emulator.fault("late", on=False)
    await asyncio.sleep(0)
    assert emulator.state()["faults"] == []
    await emulator.stop()


def test_an_unknown_fault_is_refused() -> None:
    virtual = Virtual()
    emulator = DropEmulator(N42DropOptions(), virtual.plant, virtual.clock, 1)
    with pytest.raises(ValueError, match="'x' is no fault of this portal; known are clock_off, duplicate"):
        emulator.fault("x", on=True)
    assert FAULTS | OF_FILES == emulator.FAULTS
