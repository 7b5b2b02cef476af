"""The emulated camera: over real sockets to our own listener, and in virtual time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import cv2
import numpy as np
import pytest

from drivers.camera.push.driver import HttpPushOptions
from drivers.camera.push.sim import PushCamera, PushCameraEmulator
from drivers.plant.clock import PlantClock
from drivers.plant.rig import within
from drivers.plant.vehicle import Scenario, Vehicle
from drivers.plant.world import Plant
from tests.support.ears import CLEAN, MUDDY, PLACES, Ears, ears

# --- the emulated camera --------------------------------------------------------------------------


def traffic(clock: PlantClock, *trucks: Vehicle) -> Plant:
    plant = Plant(PLACES, Scenario(title="traffic", gap_s=0, truck=trucks), clock)
    plant.entry_green = plant.arm_wanted_up = True
    return plant


@contextlib.asynccontextmanager
async def camera(lane: Ears, *trucks: Vehicle, **options: Any) -> AsyncIterator[PushCameraEmulator]:
    emulator = PushCameraEmulator(
        HttpPushOptions.model_validate(options), traffic(lane.clock, *trucks), lane.clock, seed=5
    )
    assert await emulator.start(lane.driver.port) == lane.driver.port
    try:
        yield emulator
    finally:
        await emulator.stop()


async def test_the_camera_reads_each_truck_once_with_two_pictures() -> None:
    async with ears(rate=10) as lane, camera(lane, CLEAN, MUDDY) as emulator:
        first, second, third = await lane.read(), await lane.read(), await lane.read()
        assert (first.text, first.region, first.confidence) == ("R4K 7719", "US-TX", 0.97)
        assert (second.text, second.region, second.confidence) == ("", "MX", None)
        assert third.text == first.text
        assert len({first.event_id, second.event_id, third.event_id}) == 3
        assert [picture.role for picture in first.pictures] == ["plate", "scene"]
        shapes = [cv2.imdecode(np.frombuffer(p.jpeg, np.uint8), 1).shape for p in first.pictures]
        assert shapes == [(240, 560, 3), (800, 1280, 3)]
        assert emulator.state()["accepted"] >= 2


async def test_the_camera_gives_its_credentials() -> None:
    secret = {"username": "lpr", "password": "s3cret"}
    async with ears(rate=10, **secret) as lane, camera(lane, CLEAN, **secret):
        assert (await lane.read()).text == "R4K 7719"


async def test_the_camera_sends_again_what_the_station_did_not_take() -> None:
    async with ears(rate=10) as lane, camera(lane, CLEAN) as emulator:
        port = lane.driver.port
        await lane.driver.close()
        assert await within(10, lambda: emulator.state()["last_answer"].startswith("no answer"))
        async with ears(rate=10, port=port) as back:
            assert (await back.read()).text == "R4K 7719"


async def test_camera_faults_over_the_wire() -> None:
    async with ears(rate=10) as lane, camera(lane, CLEAN, MUDDY) as emulator:
        for fault in ("duplicate", "half_image"):
            emulator.fault(fault, on=True)
        assert (await lane.read()).pictures[0].role == "plate"
        assert await lane.bad() == "broken_image"
        assert (await lane.read()).text == "", "the repetition of the first event is dropped"
        with pytest.raises(ValueError, match="the camera has no fault 'fog'; it has clock_skew, duplicate"):
            emulator.fault("fog", on=True)


async def test_a_frozen_camera_sends_its_last_pictures_under_new_ids_and_no_others_are_alike() -> None:
    async with ears(rate=10) as lane, camera(lane, CLEAN) as emulator:
        first = await lane.read()
        emulator.fault("frozen", on=True)
        second = await lane.read()
        assert (second.text, second.pictures) == (first.text, first.pictures)
        assert second.event_id != first.event_id
        emulator.fault("frozen", on=False)
        while (healthy := await lane.read()).pictures == first.pictures:
            pass
        assert healthy.text == first.text, "the same truck"
        assert {p.jpeg for p in healthy.pictures}.isdisjoint(p.jpeg for p in first.pictures)


async def test_a_camera_that_dials_needs_a_port() -> None:
    clock = PlantClock()
    with pytest.raises(ValueError, match="needs the port of the station's listener"):
        await PushCameraEmulator(HttpPushOptions(), traffic(clock, CLEAN), clock, seed=1).start()


# --- the camera in virtual time: no socket, no waiting --------------------------------------------


class Roadside:
    """A camera beside endless traffic, looked through every 50 ms of virtual time."""

    def __init__(self, *faults: str) -> None:
        self.clock = PlantClock(rate=0)
        self.camera = PushCamera(traffic(self.clock, CLEAN, MUDDY), HttpPushOptions(), seed=5)
        self.camera.faults |= set(faults)

    def shots(self, seconds: float) -> list[Any]:
        taken = []
        for _ in range(round(seconds / 0.05)):
            self.clock.advance(0.05)
            taken += self.camera.watch(self.clock.stamp())
        return taken


def test_one_event_a_truck_as_its_nose_passes() -> None:
    road = Roadside()
    taken = road.shots(60)
    assert road.camera.plant.passage - 1 <= len(taken) <= road.camera.plant.passage
    assert all(shot.event_id != taken[0].event_id for shot in taken[1:])
    assert [shot.vehicle.plate for shot in taken[:3]] == ["R4K 7719", "48-AX-2P", "R4K 7719"]


def test_a_camera_without_events_and_one_that_repeats_the_last_for_ever() -> None:
    assert Roadside("no_event").shots(30) == []
    road = Roadside("replay")
    taken = road.shots(60)
    assert len(taken) > road.camera.plant.passage + 4
    assert len({shot.event_id for shot in taken}) <= road.camera.plant.passage


def test_late_skewed_and_frozen() -> None:
    (late, *_), (skewed, *_) = Roadside("late").shots(12), Roadside("clock_skew").shots(12)
    now = datetime.now(UTC)
    assert late.retransmitted
    assert now - late.camera_time > timedelta(seconds=90)
    assert skewed.camera_time - now > timedelta(minutes=50)
    frozen = Roadside("frozen").shots(30)
    assert {shot.vehicle.plate for shot in frozen} == {"R4K 7719"}
    assert len({shot.event_id for shot in frozen}) == len(frozen) > 2
    assert len({shot.taken for shot in frozen}) == 1


def test_the_same_seed_gives_the_same_events_and_another_seed_does_not() -> None:
    def names(seed: int) -> list[str]:
        road = Roadside()
        road.camera = PushCamera(road.camera.plant, HttpPushOptions(), seed)
        return [shot.event_id for shot in road.shots(30)]

    assert len(names(5)) > 2
    assert names(5) == names(5) != names(6)


def test_a_step_gives_the_bytes_of_a_request() -> None:
    road = Roadside()
    requests: list[bytes] = []
    while not requests:
        road.clock.advance(0.05)
        requests = road.camera.step(road.clock.stamp())
    (request,) = requests
    assert request.startswith(b"POST /carril/anpr HTTP/1.1\r\n")
    assert b"<licensePlate>R4K 7719</licensePlate>" in request


def test_a_passage_costs_little() -> None:
    road = Roadside()
    (shot,) = road.shots(8)[:1]
    road.camera.request(shot)
    begun_s = time.process_time()
    road.camera.request(shot)
    assert time.process_time() - begun_s < 0.3, "drawing a truck takes about 0.05 s of one core"
