"""The camera's listener over real sockets: curl as an independent sender, then our emulated camera."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from drivers.api import ConnectFailed, DriverContext
from drivers.camera.push import driver as driver_module
from drivers.camera.push.driver import MAX_CONNECTIONS, MAX_WAITING, HttpPush, HttpPushOptions
from drivers.camera.push.paint import jpeg
from drivers.camera.push.picture import plate, scene
from drivers.readings import CameraRead
from tests.support.ears import CLEAN, Ears, ears


def alert(plate_text: str = "R4K 7719", *, more: str = "", anpr: str = "") -> str:
    return (
        f"<EventNotificationAlert><eventType>ANPR</eventType>{more}"
        f"<ANPR><licensePlate>{plate_text}</licensePlate>{anpr}</ANPR></EventNotificationAlert>"
    )


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
