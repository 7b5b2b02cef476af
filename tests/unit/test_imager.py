"""Scans in the imaging thread: what is kept and acknowledged, and that no trouble makes a whole image."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from drivers.formats.linestream.frames import FrameReader
from drivers.formats.linestream.messages import Describe, JournalHead
from drivers.readings import (
    LinesLost,
    ScanKind,
)
from imaging.radiograph.chain import ImageChain
from imaging.radiograph.kept import from_json
from imaging.radiograph.model import D16_NO_DATA
from station.lane import imager as module
from station.lane import scanrun
from station.lane.effects import CalibrationReady, FeedScan, ScanReady
from station.lane.image import as_npy, from_npy, reduced, reduced_flags
from tests.support.detector_column import beam_on, steel
from tests.support.imaging_lane import AT, KEY, MADE, PITCH_M, Lane


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    while MADE:
        MADE.pop().imager.close()


@pytest.fixture
def lane() -> Lane:
    return Lane()


# --- a scan in order --------------------------------------------------------------------------------


def test_a_whole_scan_is_complete_and_its_live_columns_are_those_of_the_stored_image(lane: Lane) -> None:
    lane.open("v")
    lane.feed("v", lane.truck[:200], beam_on(200))
    lane.settle()
    image = lane.imager.image("v")
    assert image is not None
    live = reduced(image.d16(), 0, 23, 3)
    assert (image.width, image.complete) == (191, False), "the last line ends where the next begins"
    lane.feed("v", lane.truck[200:], beam_on(200), first=200)
    lane.end("v", 400)
    ready = lane.ready()
    summary = ready.summary
    assert (summary.state, summary.cause, summary.lines, summary.lines_lost) == ("complete", None, 400, 0)
    assert (summary.col_nose, summary.col_tail, summary.calibration) == (100, 299, "provisional")
    assert (summary.px_mm_x, summary.px_mm_y, image.complete) == (8.0, 8.0, True)
    stored = from_npy(lane.shelf.blobs[ready.blobs["image"].sha256])
    np.testing.assert_array_equal(stored, image.d16())
    assert reduced(stored, 0, 23, 3) == live
    assert lane.grown[0] == (0, 63)
    assert [first for first, _ in lane.grown[1:]] == [last for _, last in lane.grown[:-1]]
    assert lane.acks == [(line, False) for line in range(50, 401, 50)] + [(400, True)]


def test_the_raw_file_says_whose_scan_it_is_and_what_the_scanner_is(lane: Lane) -> None:
    lane.scan("v", lane.truck)
    raw = lane.shelf.blobs[lane.ready().blobs["raw"].sha256]
    head, describe = FrameReader(journal=True).feed(raw)[:2]
    assert isinstance(head.message, JournalHead)
    assert b'"inspection_id":"i-1"' in head.message.text
    assert isinstance(describe.message, Describe)
    assert describe.message.text == b'{"format":"linestream"}'
    assert raw.endswith(b"B<0><50><100><150><200><250><300><350>E")


def test_lines_are_acknowledged_only_when_they_are_durable(lane: Lane) -> None:
    waiting: list[Callable[[], None]] = []
    lane.shelf.write_lines = lambda scan_id, wire, durable: waiting.append(durable)  # type: ignore[method-assign]
    lane.open("v")
    lane.feed("v", lane.truck[:100], beam_on(100))
    lane.settle()
    assert lane.acks == []
    for durable in waiting:
        durable()
    assert lane.acks == [(50, False), (100, False)]


def test_the_pitch_is_that_of_the_whole_scan_and_an_unknown_one_does_not_make_starved_area_vanish() -> None:
    lane = Lane()
    dense = lane.column.expose(steel(300), 400)
    lane.scan("v", dense, travel=False)
    summary = lane.ready().summary
    assert summary.px_mm_x == 0
    pixels = 400 * (lane.column.detectors - lane.column.references)
    assert summary.starved_m2 == pytest.approx(pixels * PITCH_M**2, abs=0.002)


# --- no trouble makes a whole image -----------------------------------------------------------------


def test_a_bug_while_columns_are_made_makes_the_image_incomplete(
    lane: Lane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    push = ImageChain.push

    def broken(chain: ImageChain, first: int, *rest: Any) -> Any:
        if first == 150:
            raise TypeError("a bug")
        return push(chain, first, *rest)

    monkeypatch.setattr(ImageChain, "push", broken)
    lane.scan("v", lane.truck)
    ready = lane.ready()
    assert (ready.summary.state, ready.summary.cause, ready.summary.lines) == ("incomplete", "fault", 150)
    assert ready.blobs.keys() == {"raw", "preview", "image", "flags", "calibration"}
    assert lane.acks[-2:] == [(400, False), (400, True)]  # the raw lines are safe
    assert "a bug in the imager" in caplog.text


@pytest.mark.parametrize("where", ["preview_jpeg", "summary_of", "as_npy"])
def test_a_bug_at_the_end_is_an_incomplete_image_and_one_report(
    lane: Lane, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    calls = iter([True])
    whole = getattr(module, where)

    def broken(*args: Any) -> Any:
        if next(calls, False):
            raise KeyError("a bug")
        return whole(*args)

    monkeypatch.setattr(module, where, broken)
    lane.scan("v", lane.truck)
    summary = lane.ready().summary
    assert (summary.state, summary.cause) == ("incomplete", "fault")
    lane.results.clear()
    lane.scan("w", lane.truck)  # the thread lives on
    assert lane.ready().summary.state == "complete"


def test_a_scan_longer_than_the_limit_is_cut_short_and_never_complete(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LINES", 310)
    lane.scan("v", lane.truck)
    ready = lane.ready()
    assert (ready.summary.state, ready.summary.cause) == ("incomplete", "partial")
    assert b"<300>" not in lane.shelf.blobs[ready.blobs["raw"].sha256]
    assert lane.acks == [(line, False) for line in range(50, 301, 50)]  # neither lines behind it nor the end


def test_an_image_longer_than_fits_is_cut_short_and_its_raw_lines_are_kept(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanrun, "MAX_PIXELS", 48 * 310)
    lane.scan("v", lane.truck)
    ready = lane.ready()
    assert (ready.summary.state, ready.summary.cause) == ("incomplete", "partial")
    assert ready.summary.width == 255, "whole blocks of lines that fit"
    assert b"<350>" in lane.shelf.blobs[ready.blobs["raw"].sha256]
    assert lane.acks[-1] == (400, True)


def test_a_gap_without_end_costs_no_memory(lane: Lane) -> None:
    lane.open("v")
    lane.feed("v", lane.truck[:100], beam_on(100))
    lane.imager.do(FeedScan("v", "s1", LinesLost(AT, KEY, 100, 2**60, "ring_overflow", b"G")))
    lane.end("v", 2**60)
    assert (lane.ready().summary.state, lane.ready().summary.cause) == ("incomplete", "partial")


def test_lines_that_never_came_are_no_data_and_partial_even_at_the_end(lane: Lane) -> None:
    lane.open("v")
    lane.feed("v", lane.truck[:380], beam_on(380))
    lane.end("v", 400)
    ready = lane.ready()
    assert (ready.summary.state, ready.summary.cause) == ("incomplete", "partial")
    assert (ready.summary.lines, ready.summary.lines_lost) == (380, 20)
    stored = from_npy(lane.shelf.blobs[ready.blobs["image"].sha256])
    assert (stored[380:] == D16_NO_DATA).all()
    assert (stored[:380] < D16_NO_DATA).all()


@pytest.mark.parametrize(
    ("off", "hidden"), [((0, 40), 0), ((60, 100), 40), ((150, 160), 10), ((300, 400), 100), ((350, 400), 0)]
)
def test_a_beam_that_was_off_along_the_vehicle_makes_the_image_partial(
    lane: Lane, off: tuple[int, int], hidden: int
) -> None:
    flags = beam_on(400)
    flags[slice(*off)] = 0
    lane.scan("v", lane.truck, flags=flags)
    summary = lane.ready().summary
    expected = ("incomplete", "partial", hidden) if hidden else ("complete", None, 0)
    assert (summary.state, summary.cause, summary.lines_lost) == expected


def test_without_a_calibration_there_is_no_image_and_it_is_said() -> None:
    lane = Lane(calibrated=False)
    lane.scan("v", lane.truck)
    ready = lane.ready()
    assert (ready.summary.cause, ready.summary.calibration) == ("not_calibrated", "none")
    assert ready.blobs.keys() == {"raw"}
    assert lane.imager.image("v").complete  # type: ignore[union-attr]


def test_the_cause_of_an_abort_is_kept(lane: Lane) -> None:
    lane.open("v")
    lane.feed("v", lane.truck[:200], beam_on(200))
    lane.end("v", None, "link")
    assert (lane.ready().summary.state, lane.ready().summary.cause) == ("incomplete", "link")
    assert (400, True) not in lane.acks


# --- the disk ---------------------------------------------------------------------------------------


def fail(what: bytes | str) -> Callable[[Any], None]:
    def check(this: Any) -> None:
        if this == what:
            raise OSError("the disk is full")

    return check


def test_lines_that_cannot_be_written_end_keeping_and_acknowledging(lane: Lane) -> None:
    lane.shelf.before_write = fail(b"<100>")
    lane.scan("v", lane.truck)
    ready = lane.ready()
    assert (ready.summary.state, ready.summary.cause) == ("incomplete", "storage")
    assert lane.acks == [(50, False), (100, False)]
    assert lane.shelf.blobs[ready.blobs["raw"].sha256].endswith(b"B<0><50>")
    assert lane.shelf.lines == {}  # nothing stays open


@pytest.mark.parametrize("media", ["raw", "image/jpeg", "application/x-npy"])
def test_blobs_that_cannot_be_kept_are_reported_and_lose_nothing_at_the_scanner(
    lane: Lane, media: str
) -> None:
    lane.shelf.before_keep = fail(media)
    lane.scan("v", lane.truck)
    ready = lane.ready()
    assert (ready.summary.state, ready.summary.cause) == ("incomplete", "storage")
    assert ((400, True) in lane.acks) == (media != "raw")


def test_where_only_the_preview_finds_room_it_shows_the_whole_vehicle(lane: Lane) -> None:
    def refuse(media: str) -> None:
        if media != "image/jpeg":
            raise OSError("room is scarce")

    lane.shelf.before_keep = refuse
    lane.scan("v", lane.truck)
    ready = lane.ready()
    assert set(ready.blobs) == {"preview", "calibration"}
    assert (ready.summary.state, ready.summary.cause) == ("incomplete", "storage")
    assert (ready.summary.lines, ready.summary.lines_lost) == (400, 0)


def test_lines_whose_sync_failed_are_not_claimed_by_the_end(lane: Lane) -> None:
    lane.shelf.forgets = b"<350>"
    lane.scan("v", lane.truck)
    assert (lane.ready().summary.state, lane.ready().summary.cause) == ("incomplete", "storage")
    assert lane.acks[-1] == (350, False)


# --- bounds -----------------------------------------------------------------------------------------


def test_lines_that_come_too_fast_are_dropped_unacknowledged(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING_BYTES", 30_000)  # six blocks of 50 x 48
    lane.imager._workers["s1"].end()
    lane.imager._workers.clear()
    go = threading.Event()
    lane.shelf.before_write = lambda wire: go.wait(10) and None
    lane.open("v")
    lane.feed("v", np.concatenate([lane.truck, lane.truck]), beam_on(800))
    go.set()
    lane.end("v", 800)
    ready = lane.ready()
    assert (ready.summary.state, ready.summary.cause) == ("incomplete", "partial")
    raw = lane.shelf.blobs[ready.blobs["raw"].sha256]
    assert b"<250>" in raw
    assert b"<400>" not in raw
    assert lane.acks == [(50 * n, False) for n in range(1, len(lane.acks) + 1)]
    assert len(lane.acks) <= 7


def test_closing_takes_a_bounded_time_although_the_disk_hangs(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_S", 0.3)
    go = threading.Event()
    lane.shelf.before_write = lambda wire: go.wait(10) and None
    lane.scan("v", lane.truck)
    began_s = time.monotonic()
    lane.imager.close()
    assert time.monotonic() - began_s < 2
    go.set()
    lane.imager._workers["s1"]._thread.join(5)
    assert not lane.imager._workers["s1"]._thread.is_alive()
    assert not [r for r in lane.results if isinstance(r, ScanReady)]  # what waited was dropped


def test_what_is_queued_is_done_before_the_close(lane: Lane) -> None:
    lane.scan("v", lane.truck)
    lane.imager.close()
    assert lane.ready(settle=False).summary.state == "complete"


def test_only_the_newest_images_stay_in_memory(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        lane.scan(f"v{number}", lane.truck)
    lane.settle()
    assert [n for n in range(6) if lane.imager.image(f"v{n}") is not None] == [2, 3, 4, 5]
    monkeypatch.setattr(module, "MAX_PIXELS", 48 * 450)
    lane.scan("v6", lane.truck)
    lane.settle()
    assert [n for n in range(7) if lane.imager.image(f"v{n}") is not None] == [5, 6]


# --- calibration ------------------------------------------------------------------------------------


def test_every_image_names_the_calibration_that_it_was_made_with(lane: Lane) -> None:
    (applied,) = [r for r in lane.results if isinstance(r, CalibrationReady)]
    assert applied.kept is not None
    lane.scan("v", lane.truck)
    ready = lane.ready()
    assert ready.blobs["calibration"] == applied.kept
    assert ready.summary.calibration_sha256 == applied.kept.sha256
    known = from_json(lane.shelf.blobs[applied.kept.sha256])
    assert (known.dark_lines, known.air_lines) == (1_000, 2_000)


def test_a_calibration_that_finds_no_room_is_used_all_the_same() -> None:
    lane = Lane(calibrated=False)

    def refuse(media: str) -> None:
        if media == "application/json":
            raise OSError("room is scarce")

    lane.shelf.before_keep = refuse
    lane.scan("d", lane.dark, ScanKind.DARK, np.zeros(1000, dtype=np.uint16))
    lane.scan("a", lane.air, ScanKind.AIR)
    lane.scan("v", lane.truck)
    ready = lane.ready()
    assert (ready.summary.state, ready.summary.calibration_sha256) == ("complete", None)


def test_a_calibration_that_fails_is_said_whatever_failed() -> None:
    lane = Lane(calibrated=False)
    lane.scan("a", lane.air, ScanKind.AIR)
    assert "not whole: fault" in (lane.calibration().failed or "")  # before any dark scan
    lane.scan("d", lane.dark[:500], ScanKind.DARK, np.zeros(500, dtype=np.uint16))
    assert "500 usable lines" in (lane.calibration().failed or "")
    assert lane.calibration().state is None


def test_a_bug_in_the_calibration_is_a_failed_calibration(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "compare", lambda new, old: 1 / 0)
    lane.scan("a2", lane.air, ScanKind.AIR)
    assert "division by zero" in (lane.calibration().failed or "")


def test_a_dark_scan_that_its_scanner_doubts_is_not_used() -> None:
    lane = Lane(calibrated=False)
    lane.open("d", ScanKind.DARK)
    lane.feed("d", lane.dark, np.zeros(1000, dtype=np.uint16))
    lane.end("d", 1000, "frozen")
    assert "not whole: frozen" in (lane.calibration().failed or "")
    lane.scan("a", lane.air, ScanKind.AIR)
    assert lane.calibration().state is None


def test_a_calibration_against_an_object_in_the_beam_is_refused_and_the_old_one_stays(lane: Lane) -> None:
    blocked = lane.air.copy()
    blocked[:, 30] = blocked[:, 30] * 0.7
    lane.scan("a2", blocked, ScanKind.AIR)
    assert "detector 30 changed its gain" in (lane.calibration().failed or "")
    lane.scan("v", lane.truck)
    assert lane.ready().summary.state == "complete"


# --- reduced columns --------------------------------------------------------------------------------


def test_a_reduced_pixel_is_the_mean_of_what_exists_and_has_data() -> None:
    d16 = np.array([[10, 20, 30], [30, 41, 50], [70, 80, D16_NO_DATA]], dtype=np.uint16)
    whole = np.frombuffer(reduced(d16, 0, 2, 1), dtype="<u2").reshape(2, 2)
    assert whole.tolist() == [[25, 40], [75, D16_NO_DATA]]
    assert reduced(d16, 1, 2, 0) == d16[1:2].tobytes()
    assert reduced(d16, 5, 9, 1) == b""


def test_a_reduced_flag_is_there_when_any_pixel_behind_it_has_it() -> None:
    flags = np.zeros((3, 5), dtype=np.uint8)
    flags[0, 0], flags[1, 1], flags[2, 4] = 1, 4, 64
    assert list(reduced_flags(flags, 0, 2, 1)) == [5, 0, 0, 0, 0, 64]
    assert reduced_flags(flags, 1, 2, 0) == flags[1:2].tobytes()
    assert reduced_flags(flags, 5, 9, 1) == b""


@pytest.mark.parametrize("kind", [np.uint16, np.uint8])
def test_an_array_is_stored_as_it_is(kind: type[np.uint16] | type[np.uint8]) -> None:
    array = np.arange(200, dtype=kind).reshape(10, 20)
    back = from_npy(as_npy(array))
    assert back.dtype == kind
    assert np.array_equal(back, array)
