"""The camera's listener over real sockets: curl as an independent sender, then our emulated camera."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from drivers.api import BadFrame, ConnectFailed, DeviceIdentity, DriverContext
from drivers.camera.push import driver as driver_module
from drivers.camera.push.driver import MAX_CONNECTIONS, MAX_WAITING, HttpPush, HttpPushOptions
from drivers.camera.push.paint import jpeg
from drivers.camera.push.picture import plate, scene
from drivers.camera.push.sim import PushCamera, PushCameraEmulator
from drivers.geometry import LaneGeometry
from drivers.plant.clock import PlantClock
from drivers.plant.rig import within
from drivers.plant.vehicle import Scenario, Vehicle
from drivers.plant.world import Plant
from drivers.readings import CameraRead

PLACES = LaneGeometry(
    entry_loop_m=-2.0, portal_m=4.0, portal_beams_m=(3.5, 4.5), lpr_m=5.0, scan_plane_m=8.0,
    booth_loop_m=19.0, stop_line_m=21.0, barrier_m=22.0, exit_loop_m=24.0,
)  # fmt: skip
CLEAN = Vehicle(name="clean", plate="R4K 7719", container="MXLU4021176", seed=1, speed_mps=10)
MUDDY = Vehicle(name="muddy", plate="48-AX-2P", region="MX", plate_readable=False, seed=2, speed_mps=10)
Item = CameraRead | BadFrame


def alert(plate_text: str = "R4K 7719", *, more: str = "", anpr: str = "") -> str:
    return (
        f"<EventNotificationAlert><eventType>ANPR</eventType>{more}"
        f"<ANPR><licensePlate>{plate_text}</licensePlate>{anpr}</ANPR></EventNotificationAlert>"
    )


class Ears:
    """A listening driver and everything that it has said."""

    def __init__(self, driver: HttpPush, clock: PlantClock) -> None:
        self.driver = driver
        self.clock = clock
        self.said: asyncio.Queue[Item] = asyncio.Queue()
        self.received = 0
        self.answered = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.driver.port}/any/path?channel=1"

    def tap(self, direction: str, data: bytes) -> None:
        self.received += len(data) if direction == "rx" else 0
        self.answered += data if direction == "tx" else b""

    async def listen(self) -> None:
        async for item in self.driver.readings():
            self.said.put_nowait(item)

    async def next(self) -> Item:
        return await asyncio.wait_for(self.said.get(), 10)

    async def read(self) -> CameraRead:
        item = await self.next()
        assert isinstance(item, CameraRead), item
        return item

    async def bad(self) -> str:
        item = await self.next()
        assert isinstance(item, BadFrame), item
        return item.kind


@contextlib.asynccontextmanager
async def ears(*, heard: bool = True, rate: float = 1.0, **options: Any) -> AsyncIterator[Ears]:
    clock = PlantClock(rate)
    taps: list[Ears] = []
    context = DriverContext("lpr1", clock, logging.getLogger("lpr1"), lambda d, b: taps[0].tap(d, b))
    driver = HttpPush(HttpPushOptions.model_validate({"port": 0, **options}), context)
    taps.append(Ears(driver, clock))
    assert await driver.open() == DeviceIdentity()
    listening = asyncio.create_task(taps[0].listen()) if heard else None
    try:
        yield taps[0]
    finally:
        await driver.close()
        if listening is not None:
            await asyncio.wait_for(listening, 1)


async def curl(url: str, *arguments: str) -> tuple[int, str]:
    """Return status and text of curl's request."""
    tool = shutil.which("curl")
    if tool is None:
        message = "curl is not installed (Debian: apt-get install curl)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    process = await asyncio.create_subprocess_exec(
        *(tool, "--silent", "--show-error", "--max-time", "20", "--write-out", "%{http_code}"),
        *(*arguments, url),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    text = output.decode()
    return int(text[-3:]), text[:-3].strip()


async def raw(port: int, data: bytes, *, end: bool = False) -> bytes:
    """Send bytes, perhaps end, and return everything that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    if end:
        writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "detectionPicture.jpg").write_bytes(jpeg(scene(CLEAN), quality=98))
    (folder / "licensePlatePicture.jpg").write_bytes(jpeg(plate(CLEAN)))
    (folder / "anpr.xml").write_text(alert())
    return folder


def form(folder: Path, *names: str) -> list[str]:
    return [argument for name in names for argument in ("-F", f"{name}=@{folder / name}")]


# --- curl sends -----------------------------------------------------------------------------------


async def test_curl_sends_two_pictures_and_they_come_byte_identical(pictures: Path) -> None:
    names = ("anpr.xml", "detectionPicture.jpg", "licensePlatePicture.jpg")
    async with ears() as lane:
        before = lane.clock.stamp()
        assert await curl(lane.url, *form(pictures, *names)) == (200, "Received.")
        read = await lane.read()
        assert (read.kind, read.text, read.confidence, read.late) == ("plate", "R4K 7719", None, False)
        assert {picture.role: picture.jpeg for picture in read.pictures} == {
            "scene": (pictures / names[1]).read_bytes(),
            "plate": (pictures / names[2]).read_bytes(),
        }
        for name in names:
            assert (pictures / name).read_bytes() in read.body
        assert before.mono_ns < read.stamp.mono_ns < lane.clock.stamp().mono_ns
        assert lane.received > len(read.body)


async def test_curl_sends_a_body_so_large_that_it_asks_for_leave(pictures: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1200, 1600, 3), np.uint8)
    (tmp_path / "photo.jpg").write_bytes(jpeg(noise, quality=95))
    (tmp_path / "anpr.xml").write_text(alert())
    assert (tmp_path / "photo.jpg").stat().st_size > 1_500_000
    async with ears() as lane:
        begun_s = time.monotonic()
        status, _ = await curl(
            lane.url, *form(tmp_path, "anpr.xml", "photo.jpg"), "-H", "Expect: 100-continue"
        )
        assert (status, time.monotonic() - begun_s < 0.9) == (200, True), "curl waits a second without leave"
        assert (await lane.read()).pictures[0].jpeg == (tmp_path / "photo.jpg").read_bytes()


async def test_curl_sends_xml_alone_and_a_chunked_form(pictures: Path) -> None:
    async with ears() as lane:
        xml = ("-H", "Content-Type: application/xml", "--data-binary", alert("AB1"))
        assert (await curl(lane.url, *xml))[0] == 200
        assert (await lane.read()).text == "AB1"
        chunked = [*form(pictures, "anpr.xml", "detectionPicture.jpg"), "-H", "Transfer-Encoding: chunked"]
        assert (await curl(lane.url, *chunked))[0] == 200
        assert len((await lane.read()).pictures) == 1


async def test_curl_reads_why_its_request_is_refused(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "large.bin").write_bytes(bytes(17 * 1024 * 1024))
    async with ears() as lane:
        assert await curl(lane.url) == (405, "Camera events come by POST.")
        assert await curl(lane.url, "-d", "x=1") == (
            415,
            "Send multipart/form-data with one XML part and JPEG parts, or the XML alone.",
        )
        assert await lane.bad() == "no_multipart"
        assert (await curl(lane.url, *form(pictures, "detectionPicture.jpg")))[0] == 400
        assert await lane.bad() == "no_event"
        status, sentence = await curl(lane.url, *form(tmp_path, "large.bin"), "-H", "Expect: 100-continue")
        assert (status, sentence) == (413, "The body is larger than 16 MiB.")
        assert await lane.bad() == "body_too_large"
        assert (await curl(lane.url, *form(pictures, "anpr.xml")))[0] == 200, "the listener lives"


# --- one event, once ------------------------------------------------------------------------------


async def post(lane: Ears, xml: str) -> tuple[int, str]:
    body = xml.encode()
    head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = await raw(lane.driver.port, head.encode() + body)
    return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2].decode().strip()


async def test_a_connection_that_comes_with_the_end_is_closed_at_once() -> None:
    async with ears() as heard:
        await heard.driver.close()
        async with await asyncio.start_server(heard.driver._serve, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            assert await asyncio.wait_for(reader.read(), 5) == b"", "nobody waits for its request"
            writer.close()


async def test_an_event_that_comes_twice_is_read_once() -> None:
    async with ears() as lane:
        for uuid in ("1", "1", "2", "1"):
            assert (await post(lane, alert(uuid, more=f"<UUID>{uuid}</UUID>")))[0] == 200
        assert [(await lane.read()).event_id, (await lane.read()).event_id] == ["1", "2"]
        assert lane.said.empty()
        assert (await post(lane, alert(more="<UUID>2</UUID>")))[1] == "This event is known already."


async def test_the_memory_for_repetitions_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "REMEMBERED", 2)
    async with ears() as lane:
        for uuid in ("1", "2", "3", "2", "1"):
            await post(lane, alert(more=f"<UUID>{uuid}</UUID>"))
        assert [(await lane.read()).event_id for _ in range(4)] == ["1", "2", "3", "1"]
        assert lane.said.empty()


async def test_a_preliminary_event_does_not_hide_the_full_one() -> None:
    async with ears() as lane:
        await post(lane, alert("", more="<UUID>7</UUID>", anpr="<hasMoreData>true</hasMoreData>"))
        await post(lane, alert("AB1", more="<UUID>7</UUID>"))
        await post(lane, alert("AB1", more="<UUID>7</UUID>"))
        assert [(await lane.read()).text, (await lane.read()).text] == ["", "AB1"]
        assert lane.said.empty()


@pytest.mark.parametrize(
    ("more", "late"),
    [
        ("<isDataRetransmission>true</isDataRetransmission>", True),
        ("<dateTime>{old}</dateTime>", True),
        ("<dateTime>{new}</dateTime>", False),
        ("<dateTime>2001-01-01T00:00:00</dateTime>", False),  # no zone, so no age
    ],
)
async def test_a_late_event_says_so(more: str, late: bool) -> None:
    now = datetime.now(UTC)
    times = {
        "old": (now - timedelta(seconds=61)).isoformat(),
        "new": (now - timedelta(seconds=50)).isoformat(),
    }
    async with ears() as lane:
        await post(lane, alert(more=more.format(**times)))
        assert (await lane.read()).late is late


async def test_half_a_picture_is_counted_and_the_text_is_kept(pictures: Path, tmp_path: Path) -> None:
    whole = (pictures / "detectionPicture.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "anpr.xml").write_text(alert())
    async with ears() as lane:
        assert (await curl(lane.url, *form(tmp_path, "anpr.xml", "half.jpg")))[0] == 200
        read = await lane.read()
        assert (read.text, read.pictures) == ("R4K 7719", ())
        assert (tmp_path / "half.jpg").read_bytes() in read.body
        assert await lane.bad() == "broken_image"


async def test_a_heartbeat_is_neither_an_event_nor_a_fault() -> None:
    async with ears() as lane:
        heartbeat = "<EventNotificationAlert><eventType>videoloss</eventType></EventNotificationAlert>"
        assert (await post(lane, heartbeat))[0] == 200
        await post(lane, alert("AB1"))
        assert (await lane.read()).text == "AB1"


async def test_when_nobody_listens_the_camera_is_told_to_come_again() -> None:
    async with ears(heard=False) as lane:
        for number in range(MAX_WAITING):
            assert (await post(lane, alert(str(number))))[0] == 200
        assert await post(lane, alert("X")) == (503, "Too many events are waiting; send this one again.")
        assert (await post(lane, "<junk"))[0] == 400
        readings = lane.driver.readings()
        first = [await anext(readings) for _ in range(MAX_WAITING)]
        assert all(isinstance(item, CameraRead) for item in first), "junk does not fill the queue either"
        assert (await post(lane, alert("X")))[0] == 200, "a refused event is not taken for a repetition"
        last = await anext(readings)
        assert isinstance(last, CameraRead)
        assert last.text == "X"


async def test_a_few_large_events_fill_the_queue_too(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen events with their pictures may have half a gigabyte."""
    event = form(pictures, "anpr.xml", "licensePlatePicture.jpg")
    size = (pictures / "licensePlatePicture.jpg").stat().st_size
    monkeypatch.setattr(driver_module, "MAX_WAITING_BYTES", 5 * size)  # each event has its picture twice
    async with ears(heard=False) as lane:
        answers = [(await curl(lane.url, *event))[0] for _ in range(3)]
        assert answers == [200, 200, 503]
        readings = lane.driver.readings()
        await anext(readings)
        assert (await curl(lane.url, *event))[0] == 200


# --- who may send ---------------------------------------------------------------------------------


async def test_credentials_are_asked_for_only_if_the_options_name_them(pictures: Path) -> None:
    async with ears(username="lpr", password="s3cret:ñ") as lane:
        event = form(pictures, "anpr.xml")
        refused = (401, "Give the user name and password of the lane file.")
        assert await curl(lane.url, *event) == refused
        assert await curl(lane.url, *event, "-u", "lpr:wrong") == refused
        assert await curl(lane.url, *event, "-H", "Authorization: Bearer abc") == refused
        assert await curl(lane.url, *event, "-H", "Authorization: Basic ä") == refused
        assert await curl(lane.url, *event, "-u", "lpr:s3cret:ñ") == (200, "Received.")
        assert (await lane.read()).text == "R4K 7719"
        assert lane.said.empty(), "a stranger is no bad frame of the camera"
    assert "s3cret" not in repr(HttpPushOptions.model_validate({"username": "lpr", "password": "s3cret"}))


async def test_only_listed_addresses_are_heard(pictures: Path) -> None:
    async with ears(allow=["192.0.2.0/24", "::1"]) as lane:
        status, sentence = await curl(lane.url, *form(pictures, "anpr.xml"))
        assert (status, sentence) == (403, "The address 127.0.0.1 is not on the list of cameras.")
        assert lane.said.empty()
    async with ears(allow=["192.0.2.0/24", "127.0.0.0/8"]) as lane:
        assert (await curl(lane.url, *form(pictures, "anpr.xml")))[0] == 200


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"username": "lpr"}, "username and password belong together"),
        ({"password": "x"}, "username and password belong together"),
        ({"username": "a:b", "password": "x"}, "must not contain a colon"),
        ({"allow": ["10.0.0.0/33"]}, "not a valid IPv4 or IPv6 network"),
        ({"profile": "axis"}, "Input should be 'hikvision'"),
        ({"port": 65_536}, "less than or equal to 65535"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        HttpPushOptions.model_validate(options)


# --- bad senders ----------------------------------------------------------------------------------


async def test_a_sender_that_is_cut_off_is_counted_and_one_that_says_nothing_is_not() -> None:
    async with ears() as lane:
        assert await raw(lane.driver.port, b"", end=True) == b""
        answer = await raw(lane.driver.port, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Le", end=True)
        assert answer.startswith(b"HTTP/1.1 400 Bad Request")
        assert await lane.bad() == "cut"
        assert lane.said.empty()


async def test_a_slow_sender_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "REQUEST_S", 0.2)
    async with ears() as lane:
        answer = await raw(lane.driver.port, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
        assert answer.endswith(b"The request was not complete within 10 s.\n")
        assert await lane.bad() == "too_slow"


async def test_too_many_connections_are_turned_away_and_the_others_live() -> None:
    async with ears() as lane:
        idle = [await asyncio.open_connection("127.0.0.1", lane.driver.port) for _ in range(MAX_CONNECTIONS)]
        await asyncio.sleep(0.05)
        busy = await raw(lane.driver.port, b"")
        assert busy.startswith(b"HTTP/1.1 503")
        assert lane.answered == busy, "what is said stands in the recording"
        for _, writer in idle:
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(5):
            while (await post(lane, alert("AB1")))[0] != 200:
                pass
        assert (await lane.read()).text == "AB1"


async def test_close_ends_open_connections_at_once() -> None:
    async with ears() as lane:
        reader, writer = await asyncio.open_connection("127.0.0.1", lane.driver.port)
        writer.write(b"POST / HTTP/1.1\r\n")
        await asyncio.sleep(0.05)
        begun_s = time.monotonic()
        await lane.driver.close()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert time.monotonic() - begun_s < 0.5
        assert lane.driver.port == 0
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_taken_port_is_named() -> None:
    async with ears() as lane:
        context = DriverContext("lpr2", lane.clock, logging.getLogger("lpr2"), lane.tap)
        other = HttpPush(HttpPushOptions(port=lane.driver.port), context)
        with pytest.raises(ConnectFailed, match=f"cannot use 127.0.0.1:{lane.driver.port} .*end the program"):
            await other.open()
        await other.close()


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
