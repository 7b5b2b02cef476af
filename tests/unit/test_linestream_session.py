"""The station's side of linestream, frame by frame: what comes twice, never, wrong or after a restart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from drivers.formats.linestream.codes import (
    AbortReason,
    EndReason,
    ErrorCode,
    GapReason,
    HeaderFlag,
    LineFlag,
    SourceState,
)
from drivers.formats.linestream.frames import Frame, FrameReader, crc32c, encode
from drivers.formats.linestream.messages import (
    LINE_RECORD,
    Ack,
    Attach,
    Describe,
    Gap,
    Hello,
    Lines,
    Message,
    Pong,
    ScanAbort,
    ScanEnd,
    Status,
)
from drivers.readings import (
    BadFrame,
    LineBlock,
    LinesLost,
    ScanClosed,
    ScanKey,
    ScanKind,
    ScanOpened,
    SourceStatus,
    Stamp,
)
from drivers.scanner.linestream.session import MAX_LINES, Refusal, StationSession
from tests.support.scanner_lane import (
    GEOMETRY_CRC,
    GEOMETRY_JSON,
    begin,
)

NOW = Stamp(5, 6, "boot")
BOOT = 99
KEY = ScanKey(BOOT, 7)
SEEN = LineFlag.VEHICLE
ENCODED = LineFlag.ENCODER_VALID | LineFlag.MONITOR_VALID | LineFlag.BEAM_ON


def hello(boot: int = BOOT, open_scan: int = 0, versions: tuple[int, int] = (1, 1)) -> Hello:
    return Hello(*versions, 1 << 22, boot, 0, 0, 30_000, 7, open_scan, 0, 0)


def lines(first: int, count: int, *, seed: int = 0, flags: object = ENCODED, **records: object) -> Lines:
    """Lines of two detectors whose samples tell their number, 2 ms and 16 ticks apart."""
    number = np.arange(first, first + count)
    record = np.zeros(count, LINE_RECORD)
    record["t_ns"] = number * 2_000_000 + 1
    record["encoder"] = 1_000 + 16 * number
    record["monitor"][:, 0] = 500
    record["flags"] = flags
    for name, values in records.items():
        record[name] = values
    samples = np.stack([number % 4000 + seed, number % 4000 + 1], axis=1).astype(np.uint16)
    return Lines(first, GEOMETRY_CRC, 0, record, samples[:, None, :])


def end(total: int, *, lost: int = 0, crc: int | None = None, reason: int = EndReason.NORMAL) -> ScanEnd:
    """The end of a scan of ``lines(0, total)``; ``crc`` is the true sum unless another is given."""
    true_crc = crc32c(lines(0, total).samples.tobytes()) if crc is None and total < 1_000 else 0
    return ScanEnd(total, lost, 0, 0, true_crc if crc is None else crc, 0, reason)


class Device:
    """Speaks to a session as a device would, frame by frame."""

    def __init__(self, session: StationSession | None = None, boot: int = BOOT, open_scan: int = 0) -> None:
        self.session = session or StationSession()
        self.attach = self.session.greet(hello(boot, open_scan), NOW)
        self.session.describe(Describe(GEOMETRY_JSON))

    def says(self, message: Message, scan: int = KEY.scan_id, flags: int = 0) -> list:
        [frame] = FrameReader().feed(encode(message, seq=0, scan_id=scan, flags=flags))
        assert isinstance(frame, Frame)
        return list(self.session.take(frame, NOW))


@pytest.fixture
def device() -> Device:
    """A device that has begun scan 7."""
    device = Device()
    device.says(begin())
    return device


# --- opening --------------------------------------------------------------------------------------


def test_a_new_station_asks_for_the_open_scan_from_its_first_line():
    assert Device().attach == Attach(1, 1, 1 << 22, BOOT, 0, 0, NOW.mono_ns)
    attach = Device(open_scan=7).attach
    assert (attach.expected_boot, attach.resume_scan, attach.resume_line) == (BOOT, 7, 0)


def test_no_common_version_is_refused_in_words():
    with pytest.raises(Refusal, match="linestream 2 to 3, this station speaks 1") as refused:
        StationSession().greet(hello(versions=(2, 3)), NOW)
    assert refused.value.code is ErrorCode.VERSION
    StationSession().greet(hello(versions=(1, 3)), NOW)


def test_a_description_that_cannot_be_used_is_refused():
    session = StationSession()
    with pytest.raises(Refusal, match="NaN") as refused:
        session.describe(Describe(b'{"v": NaN}'))
    assert refused.value.code is ErrorCode.GEOMETRY


def test_a_scan_opens_with_what_the_device_said():
    device = Device()
    [opened] = device.says(begin(), flags=HeaderFlag.SIMULATED)
    assert isinstance(opened, ScanOpened)
    assert (opened.key, opened.kind, opened.resent) == (KEY, ScanKind.VEHICLE, False)
    assert opened.invented
    assert (opened.detectors, opened.channels, opened.full_scale) == (2, 1, 4095)
    assert (opened.line_period_s, opened.encoder_triggered) == (0.002, True)
    assert opened.geometry.crc == GEOMETRY_CRC
    assert opened.wire == encode(begin(), seq=0, scan_id=7, flags=HeaderFlag.SIMULATED)
    assert Device().says(begin(kind=2, trigger=1))[0].encoder_triggered is False


@pytest.mark.parametrize(
    ("fields", "code", "says"),
    [
        ({"geometry_crc": 1}, ErrorCode.GEOMETRY, "another geometry"),
        ({"detectors": 3}, ErrorCode.GEOMETRY, "another geometry"),
        ({"kind": 0}, ErrorCode.MALFORMED, "kind 0"),
        ({"kind": 6}, ErrorCode.MALFORMED, "kind 6"),
        ({"channels": 3}, ErrorCode.MALFORMED, "3 channels"),
        ({"sample_format": 2}, ErrorCode.MALFORMED, "set the scanner to 16-bit samples"),
        ({"line_period_ns": 49_999}, ErrorCode.LIMIT, "49999 ns"),
    ],
)
def test_a_scan_that_cannot_be_read_is_refused_before_its_lines(
    fields: dict[str, int], code: ErrorCode, says: str
):
    with pytest.raises(Refusal, match=says) as refused:
        Device().says(begin(**fields))
    assert refused.value.code is code


# --- lines ----------------------------------------------------------------------------------------


def test_lines_become_a_block(device: Device):
    sent = lines(0, 3)
    [block] = device.says(sent)
    assert isinstance(block, LineBlock)
    assert (block.key, block.first_line, block.next_line) == (KEY, 0, 3)
    assert (block.samples.shape, block.samples.dtype) == ((3, 1, 2), np.uint16)
    np.testing.assert_array_equal(block.samples, sent.samples)
    np.testing.assert_array_equal(block.t_ns, [1, 2_000_001, 4_000_001])
    assert block.x_m is not None
    np.testing.assert_allclose(block.x_m, [0, -0.008, -0.016], err_msg="16 ticks of 0.5 mm, sign −1")
    assert block.monitor is not None
    np.testing.assert_array_equal(block.monitor, [500] * 3)
    assert block.flags.tolist() == [ENCODED] * 3
    assert block.wire == encode(sent, seq=0, scan_id=7)


def test_travel_goes_on_from_block_to_block_and_is_turned_in_reverse():
    device = Device()
    device.says(begin(direction=2))
    device.says(lines(0, 2))
    [block] = device.says(lines(2, 2))
    np.testing.assert_allclose(block.x_m, [0.016, 0.024])


def test_without_encoder_or_monitor_there_is_no_number(device: Device):
    [block] = device.says(lines(0, 2, flags=LineFlag.BEAM_ON))
    assert block.x_m is None
    assert block.monitor is None
    [partly] = device.says(lines(2, 2, flags=[ENCODED, LineFlag.BEAM_ON]))
    assert partly.x_m is None
    assert partly.monitor is None


def test_two_channels_are_kept_apart():
    device = Device()
    device.says(begin(channels=2))
    plain = lines(0, 2)
    [block] = device.says(replace(plain, samples=np.concatenate([plain.samples, plain.samples + 9], axis=1)))
    assert block.samples.shape == (2, 2, 2)
    np.testing.assert_array_equal(block.samples[:, 1], plain.samples[:, 0] + 9)


@pytest.mark.parametrize(
    "change",
    [
        lambda sent: replace(sent, geometry_crc=1),
        lambda sent: replace(sent, samples=sent.samples[:, :, :1]),
        lambda sent: replace(sent, samples=np.concatenate([sent.samples] * 2, axis=1)),
        lambda sent: replace(sent, samples=sent.samples.astype(np.uint32)),
    ],
)
def test_lines_of_another_form_are_refused(device: Device, change: Callable[[Lines], Lines]):
    with pytest.raises(Refusal, match="another form"):
        device.says(change(lines(0, 2)))


def test_lines_of_a_scan_that_did_not_begin_are_refused(device: Device):
    for message in (lines(0, 1), Gap(0, 1, 1), end(0)):
        with pytest.raises(Refusal, match="of scan 8, which did not begin") as refused:
            device.says(message, scan=8)
        assert refused.value.code is ErrorCode.SEQUENCE


def test_a_hole_is_said_to_be_lost(device: Device):
    device.says(lines(0, 2))
    lost, block = device.says(lines(5, 2))
    assert lost == LinesLost(NOW, KEY, 2, 3, "undeclared_gap")
    assert block.first_line == 5


def test_identical_lines_again_are_dropped(device: Device):
    device.says(lines(0, 4))
    assert device.says(lines(0, 4)) == []
    assert device.says(lines(1, 2)) == []


def test_of_a_block_that_overlaps_only_the_new_part_passes(device: Device):
    device.says(lines(0, 4))
    [block] = device.says(lines(2, 4), flags=HeaderFlag.RESENT)
    assert (block.first_line, block.next_line) == (4, 6)
    np.testing.assert_array_equal(block.samples, lines(4, 2).samples)
    assert block.x_m is not None
    np.testing.assert_allclose(block.x_m, [-0.032, -0.04])
    [again] = FrameReader().feed(block.wire)
    assert isinstance(again, Frame)
    assert isinstance(again.message, Lines)
    assert (again.message.first_line, again.flags, again.scan_id) == (4, HeaderFlag.RESENT, 7)
    np.testing.assert_array_equal(again.message.samples, block.samples)


def test_different_lines_again_keep_the_first_and_are_reported(device: Device):
    device.says(lines(0, 4))
    [conflict] = device.says(lines(2, 2, seed=1))
    assert isinstance(conflict, BadFrame)
    assert (conflict.kind, len(conflict.head)) == ("conflict", 64)
    conflict, block = device.says(lines(2, 3, seed=1))
    assert conflict.kind == "conflict"
    assert block.first_line == 4


def test_a_line_that_was_given_up_is_no_conflict_when_it_comes(device: Device):
    device.says(lines(2, 2))
    assert device.says(lines(0, 2)) == []


@pytest.mark.parametrize(
    ("records", "flagged"),
    [
        ({}, [0, 0, 0, 0]),
        ({"t_ns": [1, 4_000_001, 2_000_001, 6_000_001]}, [0, 0, 1, 0]),
        ({"encoder": [1000, 1016, 1100, 1116]}, [0, 0, 1, 0]),
        ({"encoder": [1000, 1016, 1000, 1016]}, [0, 0, 0, 0]),
    ],
)
def test_time_backwards_and_an_encoder_that_runs_away(
    device: Device, records: dict[str, list[int]], flagged: list[int]
):
    [block] = device.says(lines(0, 4, **records))
    assert [bool(flag & LineFlag.TIME_JUMP) for flag in block.flags] == [bool(flag) for flag in flagged]
    assert ((block.flags & LineFlag.WIRE) == ENCODED).all()


def test_a_jump_is_seen_between_blocks_and_only_the_device_s_own_flags_pass(device: Device):
    device.says(lines(0, 2))
    [block] = device.says(lines(2, 1, t_ns=[5], flags=0xFFFF))
    assert block.flags[0] == LineFlag.TIME_JUMP | LineFlag.WIRE


# --- gaps and ends --------------------------------------------------------------------------------


def test_a_declared_gap(device: Device):
    device.says(lines(0, 2))
    [lost] = device.says(Gap(2, 3, GapReason.READOUT))
    assert lost == LinesLost(NOW, KEY, 2, 3, "readout", encode(Gap(2, 3, 2), seq=0, scan_id=7))
    assert device.says(lines(5, 1))[0].first_line == 5


def test_a_gap_is_counted_once_and_cut_to_what_is_new(device: Device):
    device.says(lines(0, 4))
    assert device.says(Gap(1, 2, 1)) == []
    [lost] = device.says(Gap(2, 4, 1))
    assert (lost.first_line, lost.count, lost.cause) == (4, 2, "ring_overflow")
    assert lost.wire == encode(Gap(4, 2, 1), seq=0, scan_id=7)
    undeclared, declared = device.says(Gap(8, 2, 77))
    assert (undeclared.first_line, undeclared.count, undeclared.cause) == (6, 2, "undeclared_gap")
    assert (declared.first_line, declared.count, declared.cause) == (8, 2, "code_77")


def test_an_end_with_every_line_and_the_right_sum_is_a_whole_scan(device: Device):
    device.says(lines(0, 3))
    device.says(lines(3, 1))
    [closed] = device.says(end(4))
    assert closed == ScanClosed(NOW, KEY, 4, 0, end(4).samples_crc, None, encode(end(4), seq=0, scan_id=7))


def test_a_sum_that_differs_is_no_whole_scan(device: Device):
    device.says(lines(0, 4))
    bad, closed = device.says(end(4, crc=1234))
    assert bad.kind == "samples_crc"
    assert (closed.aborted, closed.samples_crc, closed.lines_total) == ("samples_crc", 1234, 4)


def test_with_a_line_missing_the_checksum_cannot_be_verified(device: Device):
    device.says(lines(0, 4))
    lost, closed = device.says(end(6, crc=1234))
    assert (lost.count, lost.cause) == (2, "undeclared_gap")
    assert (closed.lines_total, closed.lines_lost, closed.samples_crc) == (6, 2, None)
    assert closed.aborted is None, "lost lines say enough"


def test_the_sum_goes_on_over_a_broken_link_and_counts_every_line_once(device: Device):
    device.says(lines(0, 4))
    device.session.durable(KEY, 2)
    again = Device(device.session)
    assert again.attach.resume_line == 2
    again.says(begin(), flags=HeaderFlag.RESENT)
    again.says(lines(2, 4), flags=HeaderFlag.RESENT)
    [closed] = again.says(end(6))
    assert (closed.aborted, closed.samples_crc) == (None, end(6).samples_crc)


@pytest.mark.parametrize("told", [end(3), end(4, lost=1)], ids=["fewer lines than came", "undeclared losses"])
def test_an_end_that_contradicts_the_lines_that_came(device: Device, told: ScanEnd):
    device.says(lines(0, 4))
    wrong, closed = device.says(told)
    assert wrong.kind == "wrong_total"
    assert (closed.lines_total, closed.aborted) == (4, "wrong_total")


@pytest.mark.parametrize(("reason", "cause"), [(2, "timeout"), (3, "limit"), (0, "code_0")])
def test_a_scan_that_did_not_end_by_itself_is_not_whole(device: Device, reason: int, cause: str):
    device.says(lines(0, 4))
    [closed] = device.says(end(4, reason=reason))
    assert (closed.aborted, closed.lines_lost) == (cause, 0)


def test_a_vehicle_that_the_device_saw_without_a_beam_has_no_whole_scan(device: Device):
    device.says(lines(0, 4, flags=ENCODED & ~LineFlag.BEAM_ON))  # no vehicle yet
    device.says(lines(4, 4, flags=[ENCODED, ENCODED | SEEN, ENCODED & ~LineFlag.BEAM_ON | SEEN, ENCODED]))
    assert device.says(end(8))[-1].aborted == "beam_off"


@pytest.mark.parametrize(
    ("reason", "cause"),
    [(AbortReason.EMERGENCY_STOP, "emergency_stop"), (AbortReason.NOT_HELD, "not_held"), (9, "code_9")],
)
def test_an_abort(device: Device, reason: int, cause: str):
    device.says(lines(0, 4))
    [closed] = device.says(ScanAbort(4, reason, "because"))
    assert (closed.aborted, closed.lines_total, closed.samples_crc) == (cause, 4, None)
    assert device.says(ScanAbort(4, reason)) == [], "once"
    assert Device().says(ScanAbort(0, 7)) == [], "of a scan that nobody knows"


def test_another_scan_without_an_end_closes_the_first(device: Device):
    device.says(lines(0, 4))
    first, second = device.says(begin(), scan=8)
    assert (first.key, first.aborted) == (KEY, "superseded")
    assert second.key == ScanKey(BOOT, 8)
    with pytest.raises(Refusal, match="numbers only grow"):
        device.says(begin(), scan=7)
    with pytest.raises(Refusal, match="numbers only grow"):
        Device().says(begin(), scan=0)


# --- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        lines(MAX_LINES, 1),
        Gap(0, MAX_LINES + 1, 1),
        Gap(2**64 - 1, 2**64 - 1, 1),
        end(2**64 - 1),
        lines(0, 2, t_ns=[0, 7201 * 10**9]),
        lines(50_000, 1, t_ns=[10**9]),
    ],
    ids=["lines", "gap", "huge gap", "huge end", "two hours", "too fast"],
)
def test_a_scan_beyond_every_limit_is_aborted_and_refused(device: Device, message: Message):
    readings = []
    [frame] = FrameReader().feed(encode(message, seq=0, scan_id=7))
    assert isinstance(frame, Frame)
    with pytest.raises(Refusal, match="can be taken") as refused:
        for reading in device.session.take(frame, NOW):
            readings.append(reading)
    assert refused.value.code is ErrorCode.LIMIT
    [closed] = readings
    assert (closed.aborted, closed.lines_total) == ("limit", 0)


def test_a_clock_that_stands_still_is_no_proof_of_speed(device: Device):
    assert isinstance(device.says(lines(50_000, 1, t_ns=[0]))[-1], LineBlock)


# --- the rest of a live link ----------------------------------------------------------------------


def test_status():
    state = SourceState.SHUTTER_CLOSED | SourceState.INTERLOCK_OK | SourceState.DETECTOR_OK
    [said] = Device().says(Status(0, 0, state, 3, 0, 0, 0, 0, 0, 0, 0, 0, 1))
    assert said == SourceStatus(NOW, False, False, True, True, False, True, 3)
    [said] = Device().says(Status(0, 0, 2 | 4 | 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1))
    assert said == SourceStatus(NOW, True, True, False, False, True, False, 0)


def test_a_new_geometry_is_taken_between_scans_and_refused_inside_one(device: Device):
    other = GEOMETRY_JSON.replace(b"5000", b"5001")
    assert device.says(Describe(GEOMETRY_JSON)) == []
    with pytest.raises(Refusal, match="changed its geometry inside a scan"):
        device.says(Describe(other))
    device.says(end(0))
    device.says(Describe(other))
    assert device.session.geometry is not None
    assert device.session.geometry.raw == other


@pytest.mark.parametrize("message", [hello(), Pong(0, 0, 0), Ack(1)])
def test_messages_that_have_no_place(message: Message):
    with pytest.raises(Refusal, match=f"{type(message).__name__} has no place"):
        Device().says(message)


# --- across links ---------------------------------------------------------------------------------


def test_the_next_link_resumes_from_the_first_line_that_is_not_durable(device: Device):
    assert device.session.resumes() == "scan 7 resumes at line 0"
    device.says(lines(0, 10))
    device.session.durable(KEY, 4)
    device.session.durable(KEY, 3)
    device.session.durable(ScanKey(BOOT, 6), 9)
    assert device.session.resumes() == "scan 7 resumes at line 4"
    again = Device(device.session)
    assert (again.attach.resume_scan, again.attach.resume_line) == (7, 4)
    assert again.session.waiting() == []
    [opened] = again.says(begin(), flags=HeaderFlag.RESENT)
    assert opened.resent
    assert not opened.invented
    assert again.says(lines(4, 6), flags=HeaderFlag.RESENT) == [], "passed on before the break"
    assert again.says(lines(10, 1))[0].first_line == 10


def test_nobody_can_acknowledge_what_did_not_come(device: Device):
    device.says(lines(0, 10))
    device.session.durable(KEY, 99)
    assert Device(device.session).attach.resume_line == 10


def test_a_closed_scan_is_named_so_that_later_ones_are_not_missed(device: Device):
    device.says(lines(0, 10))
    device.says(end(10))
    device.session.durable(KEY, 10)
    assert device.session.resumes() == "no scan is open"
    again = Device(device.session)
    assert (again.attach.resume_scan, again.attach.resume_line) == (7, 10)
    for replayed in (begin(), lines(0, 10), Gap(10, 1, 1), end(10)):
        assert again.says(replayed, flags=HeaderFlag.RESENT) == []
    [opened] = again.says(begin(), scan=8, flags=HeaderFlag.RESENT)
    assert opened.key == ScanKey(BOOT, 8)


def test_a_restarted_device_ends_its_scan(device: Device):
    device.says(lines(0, 10))
    again = Device(device.session, boot=BOOT + 1, open_scan=1)
    assert (again.attach.expected_boot, again.attach.resume_scan) == (BOOT + 1, 1)
    [closed] = again.session.waiting()
    assert (closed.key, closed.aborted, closed.lines_total) == (KEY, "device_restarted", 10)
    assert again.session.waiting() == [], "said once"


def test_a_restart_between_scans_ends_nothing(device: Device):
    device.says(end(0))
    assert Device(device.session, boot=BOOT + 1).session.waiting() == []
