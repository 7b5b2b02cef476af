"""Photographs pushed by curl, as a camera would, to the camera listener of a running lane."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.station import Station, running_station

PHOTOS = 3


def some_photos(shared_data: Path) -> list[Path]:
    """Return a few photographs of trucks and containers, small ones first; skip where there are none."""
    found = sorted((shared_data / "containers").glob("*.jpg"), key=lambda path: path.stat().st_size)
    if len(found) < PHOTOS:
        pytest.skip("the photographs of ../shared/data/containers are not on this machine")
    step = len(found) // PHOTOS
    return found[::step][:PHOTOS]


def found_curl() -> str:
    """Return the independent sender; skip where it is not installed."""
    tool = shutil.which("curl")
    if tool is None:
        pytest.skip("curl is not installed (Debian: apt-get install curl)")
    return tool


@pytest.fixture(scope="module")
def photos(shared_data: Path) -> list[Path]:
    """Photographs to push."""
    return some_photos(shared_data)


@pytest.fixture(scope="module")
def curl() -> str:
    """What pushes them."""
    return found_curl()


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    with running_station(tmp_path) as running, running.officer_away():
        yield running


def push(curl: str, station: Station, folder: Path, photo: Path) -> tuple[str, str]:
    """Send one event with a photograph; return status and text of the answer."""
    event = folder / "anpr.xml"
    event.write_text(
        '<EventNotificationAlert version="2.0" xmlns="http://www.isapi.org/ver20/XMLSchema">'
        f"<eventType>ANPR</eventType><UUID>{uuid.uuid4()}</UUID><ANPR><licensePlate>unknown</licensePlate>"
        "</ANPR></EventNotificationAlert>"
    )
    parts = [
        "-F", f"anpr.xml=@{event};type=application/xml",
        "-F", f"detectionPicture=@{photo};filename=detectionPicture.jpg;type=image/jpeg",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{station.ports['lpr1']}/carril/anpr"
    done = subprocess.run(
        [curl, "-sS", "-m", "10", "-w", "\n%{http_code}", *parts, url],
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    text, _, status = done.stdout.rpartition("\n")
    return status, text.strip()


def test_photographs_come_back_byte_identical_and_are_the_one_shown(
    station: Station, photos: list[Path], curl: str, tmp_path: Path
) -> None:
    seen = station.until_state("awaiting_decision")
    for photo in photos:
        sent = photo.read_bytes()
        sha256 = hashlib.sha256(sent).hexdigest()
        assert push(curl, station, tmp_path, photo) == ("200", "Received.")

        def shown(sha256: str = sha256) -> bool:
            return bool(station.lane()["inspection"]["photo"] == sha256)

        station.until(shown, f"the snapshot names {photo.name}", 10)
        reply = station.get(f"/v1/blobs/{sha256}")
        assert reply.status == 200
        assert reply.headers["content-type"] == "image/jpeg"
        assert reply.body == sent
        (read,) = station.records("plate.read", photo=sha256)
        assert read["inspection_id"] == seen["inspection_id"]
        assert read["status"] == "unverified", "an unread plate is no identity"

    now = station.until_state("awaiting_decision")
    assert now["identity"] == seen["identity"], "reads without text are no rivals"


def test_a_photograph_of_no_vehicle_is_kept_and_not_used(
    station: Station, photos: list[Path], curl: str, tmp_path: Path
) -> None:
    assert station.lane()["inspection"] is None, "the first truck comes later"
    sent = photos[0].read_bytes()
    sha256 = hashlib.sha256(sent).hexdigest()
    assert push(curl, station, tmp_path, photos[0])[0] == "200"
    station.until(lambda: station.records("read.unattributed", photo=sha256), "the read is recorded", 10)
    assert station.get(f"/v1/blobs/{sha256}").body == sent
    assert station.until_state("awaiting_decision")["photo"] != sha256


def test_half_a_photograph_is_answered_and_the_lane_lives(
    station: Station, photos: list[Path], curl: str, tmp_path: Path
) -> None:
    half = tmp_path / "half.jpg"
    half.write_bytes(photos[0].read_bytes()[: photos[0].stat().st_size // 2])
    station.until_state("awaiting_decision")
    before = station.lane()["inspection"]["photo"]
    push(curl, station, tmp_path, half)
    assert push(curl, station, tmp_path, photos[0])[0] == "200"
    whole = hashlib.sha256(photos[0].read_bytes()).hexdigest()
    station.until(lambda: station.lane()["inspection"]["photo"] == whole, "the whole picture is shown", 10)
    shown = {read["photo"] for read in station.records("plate.read")}
    assert shown - {None} == {before, whole}, "half a picture is never evidence"
