"""Which lines of a camera are a scan, and what is said of those that are lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from drivers.formats.gige.gvsp import CHUNK_TAIL, Block
from drivers.formats.linestream.codes import LineFlag
from drivers.formats.linestream.describe import parse
from drivers.formats.linestream.frames import Frame, FrameReader, crc32c
from drivers.formats.linestream.messages import Gap, Lines, ScanAbort, ScanBegin, ScanEnd
from drivers.readings import (
    DeviceIdentity,
    LineBlock,
    LinesLost,
    ScanClosed,
    ScannerReading,
    ScanOpened,
    SourceStatus,
    Stamp,
)
from drivers.scanner.gige import session as module
from drivers.scanner.gige.session import ScanSession
from tests.support.gige_lane import COLUMN, PLAIN, WITH_INPUTS, options

SMALL = {"detectors": 4, "lines": 3, "column": {**COLUMN, "reference_detectors": ()}}
IMAGE = np.arange(12, dtype="<u2").reshape(3, 4) + 1
BEAM, CALIBRATION = 1, 2
FRAME_MS = 6


class Camera:
    """A session with a clock of its own, and everything that it has said."""

    def __init__(self, setup: dict[str, Any] = PLAIN, ticks_per_s: int = 1_000, **more: Any) -> None:
        self.options = options(setup=setup, **{**SMALL, **more})
        self.session = ScanSession(7)
        self.ms = 0
        self.blocks = 0
        self.said: list[ScannerReading] = []
        self.begin(ticks_per_s)

    @property
    def now(self) -> Stamp:
        return Stamp(self.ms * 1_000_000, self.ms * 1_000_000, "test")

    def begin(self, ticks_per_s: int = 1_000) -> None:
        self.session.begin(self.options, DeviceIdentity("M", "O", "S", "F"), ticks_per_s, self.now)
        self.said += self.session.greeting(self.now)
        self.ms += 5_000

    def frame(
        self, bits: int | None = None, *, missing: tuple[tuple[int, int], ...] = (), ticks: int = -1
    ) -> None:
        chunk = b"" if bits is None else bits.to_bytes(4, "big") + CHUNK_TAIL.pack(0x1000, 4)
        payload = IMAGE.tobytes() + chunk
        self.take(Block(self.blocks, self.ms if ticks < 0 else ticks, payload, missing))

    def lost(self) -> None:
        self.take(Block(self.blocks))

    def take(self, block: Block) -> None:
        self.said += self.session.take(block, self.now)
        self.blocks += 1
        self.ms += FRAME_MS

    def rest(self, ms: int = 2_000) -> None:
        self.ms += ms
        self.said += self.session.idle(self.now)

    def of(self, kind: type) -> list[Any]:
        return [reading for reading in self.said if isinstance(reading, kind)]

    def wire(self) -> list[Any]:
        """The raw file, read as a journal."""
        reader = FrameReader(journal=True)
        frames = reader.feed(b"".join(getattr(reading, "wire", b"") for reading in self.said))
        assert reader.pending == 0
        assert all(isinstance(frame, Frame) for frame in frames)
        return [frame.message for frame in frames if isinstance(frame, Frame)]


def test_a_scan_is_what_comes_without_a_gap() -> None:
    camera = Camera()
    camera.frame()
    camera.frame()
    camera.rest(100)
    assert not camera.of(ScanClosed)
    camera.rest()
    camera.frame()
    camera.rest()
    opened, closed = camera.of(ScanOpened), camera.of(ScanClosed)
    assert [(scan.key.boot_id, scan.key.scan_id, scan.kind) for scan in opened] == [
        (7, 1, "vehicle"),
        (7, 2, "vehicle"),
    ]
    assert [(scan.lines_total, scan.lines_lost, scan.aborted) for scan in closed] == [
        (6, 0, None),
        (3, 0, None),
    ]
    assert [block.first_line for block in camera.of(LineBlock)] == [0, 3, 0]
    assert not any(scan.resent for scan in opened)


def test_the_gap_is_that_of_the_cameras_clock() -> None:
    """Blocks that waited for a busy station are no gap, and two vehicles that came in one burst are two."""
    camera = Camera()
    camera.frame(ticks=10_000)
    camera.ms += 3_000
    camera.frame(ticks=10_006)
    camera.frame(ticks=11_006)
    assert [block.first_line for block in camera.of(LineBlock)] == [0, 3, 0]
    without = Camera(ticks_per_s=0)
    without.frame(ticks=10_000)
    without.ms += 3_000
    without.frame(ticks=10_006)
    assert [block.first_line for block in without.of(LineBlock)] == [0, 0]


def test_lines_are_the_cameras_samples_at_their_places() -> None:
    camera = Camera()
    camera.frame()
    camera.frame()
    block = camera.of(LineBlock)[1]
    assert block.samples.tolist() == IMAGE[:, np.newaxis, :].tolist()
    assert block.samples.flags.c_contiguous
    assert block.x_m.tolist() == pytest.approx([0.024, 0.032, 0.040])
    assert block.t_ns.tolist() == [5_006_000_000, 5_008_000_000, 5_010_000_000]
    assert block.flags.tolist() == [LineFlag.ENCODER_VALID] * 3
    assert camera.of(ScanOpened)[0].encoder_triggered


def test_lines_by_the_clock_have_no_place() -> None:
    camera = Camera(line_pitch_mm=0.0)
    camera.frame()
    assert camera.of(LineBlock)[0].x_m is None
    assert camera.of(LineBlock)[0].flags.tolist() == [0, 0, 0]
    assert not camera.of(ScanOpened)[0].encoder_triggered


def test_a_camera_that_stands_on_its_head_is_turned() -> None:
    camera = Camera(column={**SMALL["column"], "first_pixel": "bottom"})
    camera.frame()
    assert camera.of(LineBlock)[0].samples[:, 0, :].tolist() == IMAGE[:, ::-1].tolist()


def test_samples_at_full_scale_are_flagged() -> None:
    camera = Camera(column={**SMALL["column"], "full_scale": 9})
    camera.frame()
    flags = camera.of(LineBlock)[0].flags & LineFlag.SATURATED
    assert flags.tolist() == [0, 0, LineFlag.SATURATED]


def test_a_missing_packet_costs_the_lines_that_it_touches() -> None:
    camera = Camera()
    camera.frame(missing=((7, 9),))
    camera.lost()
    camera.frame()
    camera.rest()
    assert [(lost.first_line, lost.count) for lost in camera.of(LinesLost)] == [(0, 2), (3, 3)]
    assert [(block.first_line, len(block.samples)) for block in camera.of(LineBlock)] == [(2, 1), (6, 3)]
    assert camera.of(LineBlock)[0].samples[0, 0].tolist() == IMAGE[2].tolist()
    assert camera.of(ScanClosed)[0].lines_lost == 5


def test_time_that_goes_back_is_flagged() -> None:
    camera = Camera()
    camera.frame(ticks=10_000)
    camera.frame(ticks=9_000)
    jumps = [bool(block.flags[0] & LineFlag.TIME_JUMP) for block in camera.of(LineBlock)]
    assert jumps == [False, True]


def test_inputs_say_what_is_scanned() -> None:
    camera = Camera(WITH_INPUTS)
    for bits in (CALIBRATION, CALIBRATION | BEAM, BEAM):
        camera.frame(bits)
        camera.frame(bits)
    camera.rest()
    assert [scan.kind for scan in camera.of(ScanOpened)] == ["dark", "air", "vehicle"]
    assert [(scan.lines_total, scan.aborted) for scan in camera.of(ScanClosed)] == [(6, None)] * 3
    beam = [bool(block.flags[0] & LineFlag.BEAM_ON) for block in camera.of(LineBlock)]
    assert beam == [False, False, True, True, True, True]


def test_a_vehicle_without_a_beam_is_not_whole() -> None:
    camera = Camera(WITH_INPUTS)
    camera.frame(BEAM)
    camera.frame(0)
    camera.rest()
    assert camera.of(ScanClosed)[0].aborted == "beam_off"


def test_inputs_that_are_missing_say_nothing() -> None:
    """The scan goes on as it is, and its lines are not told to be exposed."""
    camera = Camera(WITH_INPUTS)
    camera.frame(BEAM | CALIBRATION)
    camera.frame()
    camera.frame(0, missing=((30, 36),))
    camera.lost()
    camera.rest()
    assert [scan.kind for scan in camera.of(ScanOpened)] == ["air"]
    assert camera.of(ScanClosed)[0].aborted is None
    assert [bool(block.flags[0] & LineFlag.BEAM_ON) for block in camera.of(LineBlock)] == [True, False, False]


def test_a_lost_frame_before_a_scan_is_no_vehicle() -> None:
    """What it showed is known with the next one, at whose beginning it is lost."""
    camera = Camera(WITH_INPUTS)
    camera.lost()
    camera.lost()
    camera.frame(CALIBRATION)
    camera.rest()
    assert [scan.kind for scan in camera.of(ScanOpened)] == ["dark"]
    assert [(lost.first_line, lost.count) for lost in camera.of(LinesLost)] == [(0, 6)]
    assert [(scan.lines_total, scan.lines_lost) for scan in camera.of(ScanClosed)] == [(9, 6)]
    without = Camera()
    without.lost()
    assert [scan.kind for scan in without.of(ScanOpened)] == ["vehicle"]


def test_the_source_counts_as_on_while_lines_come() -> None:
    camera = Camera(WITH_INPUTS)
    camera.frame(CALIBRATION)
    camera.frame(BEAM)
    camera.rest()
    assert [status.beam_on for status in camera.of(SourceStatus)] == [False, False, False, True, False]


def test_a_scan_ends_with_its_link() -> None:
    camera = Camera()
    camera.frame()
    camera.begin()
    assert camera.of(ScanClosed)[0].aborted == "link"
    assert isinstance(camera.wire()[-1], ScanAbort)


def test_frames_right_behind_the_start_began_unseen() -> None:
    camera = Camera()
    camera.ms -= 4_500
    camera.frame()
    camera.rest()
    camera.frame()
    assert [scan.resent for scan in camera.of(ScanOpened)] == [True, False]


def test_a_scan_without_an_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LINES", 8)
    camera = Camera()
    for _ in range(3):
        camera.frame()
    assert [(scan.lines_total, scan.aborted) for scan in camera.of(ScanClosed)] == [(6, "limit")]
    long = Camera()
    monkeypatch.setattr(module, "MAX_SCAN_S", 0.01)
    for _ in range(3):
        long.frame()
    assert [scan.aborted for scan in long.of(ScanClosed)] == ["limit"]


def test_the_raw_file_is_a_journal_of_linestream() -> None:
    camera = Camera(lines=100)
    payload = np.arange(400, dtype="<u2")
    camera.take(Block(0, camera.ms, payload.tobytes()))
    camera.take(Block(1))
    camera.take(Block(2, camera.ms, payload.tobytes()))
    camera.rest()
    begin, *lines, end = camera.wire()
    assert isinstance(begin, ScanBegin)
    assert begin.geometry_crc == camera.of(ScanOpened)[0].geometry.crc
    assert [type(message) for message in lines] == [Lines, Lines, Gap, Lines, Lines]
    assert [message.first_line for message in lines] == [0, 64, 100, 200, 264]
    assert lines[3].records["encoder"].tolist() == list(range(200, 264))
    assert isinstance(end, ScanEnd)
    assert (end.lines_total, end.lines_lost, end.samples_crc) == (300, 100, 0)
    whole = Camera()
    whole.frame()
    whole.rest()
    assert whole.wire()[-1].samples_crc == crc32c(IMAGE.tobytes())


def test_the_description_says_what_the_options_say() -> None:
    camera = Camera()
    identity, geometry = parse(camera.options.describe(DeviceIdentity("M", "O", "S", "F")))
    assert identity == DeviceIdentity("M", "O", "S", "F")
    assert geometry.detectors == 4
    assert (geometry.pitch_m, geometry.bottom_m) == pytest.approx((0.0384, -0.412))
    assert (geometry.plane_distance_m, geometry.detector_distance_m) == pytest.approx((18.0, 21.6))
    assert geometry.m_per_tick == pytest.approx(0.008)
    assert geometry.source == "Co-60"


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"inputs": WITH_INPUTS["inputs"]}, "registers.payload_size is needed"),
        ({"column": {**COLUMN, "detector_distance_m": 17.0}}, "nearer to the source than the lane plane"),
        ({"column": {**COLUMN, "reference_detectors": (0, 0)}}, "each once and between 0 and 127"),
        ({"column": {**COLUMN, "reference_detectors": (128,)}}, "each once and between 0 and 127"),
        ({"registers": {**PLAIN["registers"], "width": 0x101}}, "multiple of 4"),
    ],
)
def test_options_that_cannot_be_are_refused(more: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        options(**more)
