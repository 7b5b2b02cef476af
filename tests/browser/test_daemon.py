"""The screen and the real daemon with its emulated lane: alarms, power cuts, double taps, the end."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from drivers.plant.rig import free_port
from tests.browser.screen import Screen
from tests.integration.test_real_photo import found_curl, push, some_photos
from tests.support.station import Station, lane_file, running_station

STALE_LIMIT_S = 3.0
LIVE_LIMIT_S = 6.0
STOP_LIMIT_S = 3.0
PASSAGE_LIMIT_S = 40.0
BOARD = "stale_after_s = 0.5\n"
"""Of the I/O board in the demonstration's lane file at rate 1; a busy computer is silent for longer."""

pytestmark = pytest.mark.timeout(150)  # starts lanes

TRUCK = """
title = "One truck of a browser test"
gap_s = {gap_s}

[[truck]]
name = "{name}"
plate = "HKV 9053"
region = "US-TX"
load = "pallets"
cab = "red"
speed_mps = 4.0
length_m = 9.0
suppression = 0.09
seed = 16
"""
NEUTRONS = """
[[truck.sources]]
at_m = 6.4
gamma_cps = 120.0
neutron_cps = 42.0
"""


def started(folder: Path, scenario: str) -> Any:
    """Give a lane on a port of its own, so that it comes back where the screens look for it.

    It lives in real time: at any other rate its time-outs would be shorter than a busy computer's pauses.
    """
    file = folder / "scenario.toml"
    file.write_text(scenario, encoding="utf-8")
    lane = lane_file(folder, "demo", 1.0)
    text = lane.read_text(encoding="utf-8")
    assert BOARD in text
    lane.write_text(text.replace(BOARD, "stale_after_s = 5.0\n"), encoding="utf-8")
    own = folder / "own"
    own.mkdir()
    options = ("--lane", str(lane), "--scenario", str(file), "--port", str(free_port()))
    return running_station(own, "demo", 1.0, options)


@pytest.fixture(scope="module")
def clean_lane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """Clean trucks, one after the other."""
    with started(tmp_path_factory.mktemp("clean"), TRUCK.format(name="clean", gap_s=3.0)) as station:
        yield station


def url(station: Station) -> str:
    return f"http://127.0.0.1:{station.port}/"


def releases(station: Station, **data: Any) -> list[Any]:
    """Return the recorded releases."""
    orders = station.records("decision.recorded", **data)
    return [order for order in orders if order["verdict"] == "release"]


def until(screen: Screen, station: Station, what: Any, sentence: str, limit_s: float = 30.0) -> Any:
    """Ask until true, letting the browser speak meanwhile."""
    ends_s = time.monotonic() + limit_s
    while not (answer := what()):
        assert time.monotonic() < ends_s, f"not within {limit_s} s: {sentence}\n{station.said()[-2000:]}"
        screen.page.wait_for_timeout(30)
    return answer


def test_a_neutron_alarm_takes_the_screen_and_no_force_releases(opened: Any, tmp_path: Path) -> None:
    with started(tmp_path, TRUCK.format(name="neutrons", gap_s=3.0) + NEUTRONS) as station:
        screen = opened(url(station))
        with station.officer_away():
            heard = screen.until("window.heard.find((each) => each.alarms.length > 0)?.at", PASSAGE_LIMIT_S)
            screen.until("document.querySelector('.alarm')")
            seen_ms = screen.js("performance.now()")
            assert seen_ms - heard < 1000  # the real one; forty are timed one by one elsewhere
            assert "NEUTRON" in screen.js("document.querySelector('.alarm').innerText")
            assert not screen.release_free
            inspection = station.until_state("awaiting_decision", limit_s=PASSAGE_LIMIT_S)
            assert not screen.release_free
            refused = station.decide("release", inspection)
            assert refused.status == 409
            assert refused.json()["type"].endswith("release-locked")
            screen.tap(".bar .release")  # and the locked button posts nothing

            def acknowledged() -> bool:
                # Each change of the alarms makes the buttons dead for a moment, and shows it.
                if screen.js(
                    "document.querySelector('.alarm .ack')?.getAttribute('aria-disabled') === 'false'"
                ):
                    screen.tap(".alarm .ack")
                alarms = [each for each in station.lane()["alarms"] if each["priority"] == 1]
                return all(each["state"] == "ack" for each in alarms)

            until(screen, station, acknowledged, "the tap on Acknowledge is recorded")
            assert screen.js("document.querySelector('.alarm') !== null"), "the band outlives the tap"
        assert releases(station) == []
        screen.page.context.close()  # before its station goes


SHOWN = """
(() => {
  const photo = document.querySelector(".lane .photo img");
  const box = photo?.getBoundingClientRect();
  if (!photo?.complete || !photo.src.endsWith("/v1/blobs/SHA256")) return null;
  const whole = box.top >= 0 && box.left >= 0 && box.bottom <= innerHeight && box.right <= innerWidth;
  return { width: photo.naturalWidth, height: photo.naturalHeight, box: [box.width, box.height],
    seen: whole && photo.checkVisibility({ opacityProperty: true, visibilityProperty: true })
      && document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2) === photo };
})()
"""
"""What the photograph of the vehicle is, once it is this one."""


def test_a_real_photograph_pushed_by_curl_is_shown(
    opened: Any, clean_lane: Station, shared_data: Path, tmp_path: Path
) -> None:
    """On the glass stand the pixels of the file: whole, in their size, with nothing before them."""
    curl, photos = found_curl(), some_photos(shared_data)
    screen = opened(url(clean_lane))
    with clean_lane.officer_away():
        screen.until_release_free(PASSAGE_LIMIT_S)
        for photo in photos[:2]:
            sent = photo.read_bytes()
            pixels = cv2.imdecode(np.frombuffer(sent, np.uint8), cv2.IMREAD_COLOR)
            assert push(curl, clean_lane, tmp_path, photo) == ("200", "Received.")
            shown = screen.until(SHOWN.replace("SHA256", hashlib.sha256(sent).hexdigest()))
            assert (shown["height"], shown["width"]) == pixels.shape[:2]
            assert shown["seen"], shown
            width, height = shown["box"]
            assert (width >= 240, height >= 150) == (True, True), "an officer must recognise the vehicle"
            glass = screen.page.locator(".lane .photo img").screenshot()
            there = cv2.imdecode(np.frombuffer(glass, np.uint8), cv2.IMREAD_COLOR)
            assert likeness(there, pixels) > 0.9
            others = [likeness(there, cv2.imread(str(other))) for other in photos if other != photo]
            assert max(others) < 0.9, "another photograph would have passed"


def likeness(glass: Any, photo: Any) -> float:
    """Return the correlation of what is shown with a photograph that fills the same box, -1 to 1."""
    rows, columns = glass.shape[:2]
    scale = max(rows / photo.shape[0], columns / photo.shape[1])
    size = (max(columns, round(photo.shape[1] * scale)), max(rows, round(photo.shape[0] * scale)))
    fitted = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    top, left = (fitted.shape[0] - rows) // 2, (fitted.shape[1] - columns) // 2
    part = fitted[top : top + rows, left : left + columns]
    return float(np.corrcoef(part.ravel(), glass.ravel())[0, 1])


def test_two_fingers_two_taps_and_a_replay_are_one_release(opened: Any, clean_lane: Station) -> None:
    station = clean_lane
    screen = opened(url(station))
    posts: list[Any] = []
    screen.page.on("request", lambda r: posts.append(r) if r.url.endswith("/decisions") else None)
    with station.officer_away():
        screen.until_release_free(PASSAGE_LIMIT_S)
        truck = station.lane()["inspection"]["inspection_id"]
        release, secondary = screen.middle(".bar .release"), screen.middle(".bar .secondary")
        screen.finger("Start", release)
        screen.finger("Start", secondary, 2)  # while one is down a second contact counts for nothing
        screen.finger("End", secondary, 2)
        screen.finger("End", release)
        screen.finger("Start", release)  # the second of two taps, or where Release stood until just now
        screen.finger("End", release)
        until(
            screen,
            station,
            lambda: station.records("decision.recorded", inspection_id=truck),
            "the release is recorded",
        )
        screen.page.wait_for_timeout(200)  # what the browser reports meanwhile is taken in here
        assert [json.loads(post.post_data)["verdict"] for post in posts] == ["release"]
        key, body = posts[0].headers["idempotency-key"], json.loads(posts[0].post_data)
        again = station.post("/v1/lane/decisions", body, key)
        assert again.status == 201, "a replay gets the first answer"
        assert station.post("/v1/lane/decisions", body, str(uuid.uuid4())).status == 409
        changed = station.post("/v1/lane/decisions", {**body, "verdict": "hold"}, key)
        assert (changed.status, changed.json()["type"].split(":")[-1]) == (409, "key-reused")
        assert len(releases(station, inspection_id=truck)) == 1, station.records("decision.recorded")


def test_a_killed_station_is_seen_and_comes_back_without_a_reload(opened: Any, clean_lane: Station) -> None:
    station = clean_lane
    screen = opened(url(station))
    screen.js("window.sameDocument = true")
    screen.until("window.heard.some((each) => each.name === 'record')", PASSAGE_LIMIT_S)
    screen.outage = True
    began_s = time.monotonic()
    station.kill()
    assert LOG_OF_JOURNAL <= names(station.state), "nothing was cleaned up: an orderly stop looks different"
    screen.until("document.querySelector('.band') && document.body.classList.contains('stale')")
    assert not screen.release_free
    stale_s = time.monotonic() - began_s
    assert stale_s <= STALE_LIMIT_S, f"stale after {stale_s:.1f} s"
    assert screen.js("document.querySelector('.bar .hold').getAttribute('aria-disabled')") == "false"
    before = screen.js("window.streams")
    station.start()
    began_s = time.monotonic()
    screen.until(f"window.streams > {before} && !document.querySelector('.band')")
    live_s = time.monotonic() - began_s
    assert live_s <= LIVE_LIMIT_S, f"live after {live_s:.1f} s"
    assert screen.js("window.sameDocument") is True
    screen.outage = False
    screen.until(f"window.heard.some((e) => e.stream > {before} && e.name === 'record')", PASSAGE_LIMIT_S)
    heard = screen.js("window.heard.filter((each) => each.name === 'record')")
    ids = [each["id"] for each in heard]
    assert len(ids) == len(set(ids)), "a record came twice"
    for stream in {each["stream"] for each in heard}:
        mine = [each for each in heard if each["stream"] == stream]
        epoch, _, after = mine[0]["after"].partition(":")
        assert [each["id"] for each in mine] == [f"{epoch}:{int(after) + 1 + i}" for i in range(len(mine))]


def test_the_station_stops_at_once_with_two_screens_open(opened: Any, clean_lane: Station) -> None:
    """Must stand last: it ends the lane."""
    screens: list[Screen] = [opened(url(clean_lane)) for _ in range(2)]
    for screen in screens:
        screen.until("window.streams > 0")
        screen.outage = True
    assert clean_lane.process is not None
    group, state = clean_lane.process.pid, clean_lane.state
    control = json.loads((state / "simulation.json").read_text(encoding="utf-8"))["control"]
    socket.create_connection(("127.0.0.1", control), 5).close()  # the simulation lives
    assert not lock_is_free(state)
    assert LOG_OF_JOURNAL <= names(state), "the journal is open"
    took_s = clean_lane.stop()  # status 0, or it says why not
    assert took_s <= STOP_LIMIT_S, f"stopped after {took_s:.1f} s"
    for screen in screens:
        screen.until("window.heard.some((each) => each.name === 'bye')", 2.0)
        screen.until("document.querySelector('.band')", 2.0)
    # The daemon's own clean-up ran: after SIGKILL the log of the journal would stand there still.
    assert not LOG_OF_JOURNAL & names(state), "the journal was not closed"
    assert lock_is_free(state)
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)  # the simulation was its child, in its session
    verified = clean_lane.carril("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "nothing is wrong" in verified.stdout


LOG_OF_JOURNAL = {"station.db-wal", "station.db-shm"}


def names(state: Path) -> set[str]:
    """Return the files beside the database."""
    return {path.name for path in (state / "journal").iterdir()}


def lock_is_free(state: Path) -> bool:
    """Whether another station could take the state folder."""
    with (state / "lock").open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
