"""A start on a disk that is full, read-only or not there: it says so, then the lane starts by itself."""

from __future__ import annotations

import errno
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from station.cli import opening
from station.store.errors import StoreUnavailable
from tests.support.full_disk import fill
from tests.support.station import CARRIL, Reply, Station, lane_file

RECOVERED_S = 20.0
"""A try each second, and a start on a busy computer."""


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    """A station that was not started yet."""
    found = Station(lane_file(tmp_path, "demo", 5.0), tmp_path / "state", tmp_path / "daemon.log")
    yield found
    found.end()


def until_waiting(station: Station) -> int:
    """Start the daemon and wait until it says that it waits; return where its log stood."""
    began = station.launch()

    def waits() -> list[str]:
        assert station.alive, station.said()
        return re.findall(r"http://127\.0\.0\.1:(\d+)/v1/health", station.said()[began:])

    station.port = int(station.until(waits, "it says that it waits")[0])
    station.until(lambda: answers(station), "it answers")
    return began


def answers(station: Station) -> bool:
    with socket.socket() as link:
        return link.connect_ex(("127.0.0.1", station.port)) == 0


def assert_out_of_service(station: Station, english: str, spanish: str) -> None:
    health = station.get("/v1/health")
    assert health.status == 200
    found = health.json()
    assert (found["lane"], found["reasons"]) == ("out_of_service", ["store_unavailable"])
    assert found["store"]["state"] == "closed"
    assert found["store"]["cause"]
    assert "Errno" not in found["store"]["cause"]
    page = station.get("/")
    assert page.status == 503
    for text in ("Lane out of service", "Carril fuera de servicio", english, spanish):
        assert text in page.body.decode()
    for reply in (
        station.get("/healthz"),
        station.get("/v1/feed?after=0"),
        station.post("/v1/lane/decisions", {}),
    ):
        assert_refused(reply)
    status = subprocess.run(
        [*CARRIL, "status", "--port", str(station.port)], capture_output=True, check=False
    )
    assert status.returncode == 1
    assert b"out_of_service" in status.stdout


def assert_refused(reply: Reply) -> None:
    assert reply.status == 503
    assert reply.json()["type"] == "urn:carril:problem:store-unavailable"
    headers = {name.lower(): value for name, value in reply.headers.items()}
    assert headers["content-type"] == "application/problem+json"
    assert headers["retry-after"] == "5"


def assert_recovers(station: Station, began: int, mode: str = "") -> None:
    before, began_s = station.process, time.monotonic()
    port = station.port
    station.until_served(began)
    assert time.monotonic() - began_s < RECOVERED_S
    assert station.port == port
    assert station.process is before
    assert station.get("/v1/lane").status == 200
    if mode:
        station.until(lambda: station.lane()["mode"] == mode, f"the lane is {mode}")
    assert station.stop() < 5


@pytest.mark.fault("F4", tier="T1")
def test_a_start_on_a_full_disk_waits_for_room(disk: Path, station: Station) -> None:
    station.state = disk / "state"
    fill(disk / "filler")
    began = until_waiting(station)
    assert_out_of_service(station, "The disk is full", "El disco está lleno")
    (disk / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,size=300m", str(disk)], check=True)  # room for the reserve, too
    assert_recovers(station, began, mode="open")


@pytest.mark.fault("F4", tier="T1")
def test_a_start_on_the_room_of_the_reserve_serves_what_is_there(disk: Path, station: Station) -> None:
    station.state = disk / "state"
    subprocess.run(["mount", "-o", "remount,size=300m", str(disk)], check=True)
    station.start()
    station.until(lambda: station.lane()["mode"] == "open", "the lane is open")
    station.stop()
    assert (disk / "state" / "ballast").exists()
    fill(disk / "filler")
    station.start()
    assert station.feed()
    assert not (disk / "state" / "ballast").exists()
    station.until(lambda: station.lane()["mode"] == "out_of_service", "the lane is out of service")
    (disk / "filler").unlink()
    station.until(lambda: station.lane()["mode"] == "open", "the lane is open again")
    assert station.stop() < 5


@pytest.mark.fault("F5", tier="T1")
def test_a_start_on_a_read_only_disk_waits_until_it_can_be_written(disk: Path, station: Station) -> None:
    station.state = disk / "state"
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    began = until_waiting(station)
    assert_out_of_service(station, "The disk is read-only", "El disco es de solo lectura")
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert_recovers(station, began)


def test_a_start_without_its_disk_waits_until_it_is_there(tmp_path: Path, station: Station) -> None:
    (tmp_path / "state").symlink_to(tmp_path / "later")
    began = until_waiting(station)
    assert_out_of_service(station, "is not there", "no está")
    (tmp_path / "later").mkdir()
    assert_recovers(station, began)


def test_a_station_that_waits_ends_when_it_is_told_to(tmp_path: Path, station: Station) -> None:
    (tmp_path / "state").symlink_to(tmp_path / "later")
    until_waiting(station)
    assert station.stop() < 3


@pytest.mark.parametrize(
    ("number", "terminal", "mistake"),
    [
        (errno.EACCES, True, True),
        (errno.EACCES, False, False),
        (errno.EROFS, True, False),
        (errno.ENOSPC, True, False),
        (errno.EIO, True, False),
        (errno.ENOTDIR, False, True),
    ],
)
def test_what_a_person_mistyped_ends_at_once(
    monkeypatch: pytest.MonkeyPatch, number: int, terminal: bool, mistake: bool
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    error = StoreUnavailable("The state folder cannot be used.")
    error.__cause__ = OSError(number, os.strerror(number))
    assert opening._is_mistake(error) == mistake
