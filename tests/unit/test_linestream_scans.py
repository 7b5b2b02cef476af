"""Scanner emulator and station session together, in virtual time: whole trucks, cut links and bad peers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from drivers.formats.linestream.codes import (
    ErrorCode,
    HeaderFlag,
    LineFlag,
    SourceState,
)
from drivers.formats.linestream.frames import Frame, FrameReader, encode
from drivers.formats.linestream.messages import (
    Attach,
    Lines,
    Status,
)
from drivers.plant.clock import PlantClock
from drivers.readings import (
    BadFrame,
    LineBlock,
    LinesLost,
    ScanClosed,
    ScanOpened,
    SourceStatus,
)
from drivers.scanner.linestream.driver import LinestreamOptions
from drivers.scanner.linestream.session import Refusal, StationSession
from drivers.scanner.linestream.sim import LinestreamEmulator
from tests.support.scanner_lane import (
    STEP_S,
    TRUCK,
    TRUCK_LINES,
    VirtualScanner,
    chained_crc,
    closed,
    every_line_once,
    plant_with,
)


def test_dark_air_and_one_truck_at_the_times_of_the_demonstration():
    scanner = VirtualScanner()
    scanner.connect()
    start_s = scanner.clock.monotonic_s()
    scanner.run(20, until=lambda: len(scanner.of(ScanClosed)) == 2)
    assert scanner.clock.monotonic_s() - start_s < 6.2, "the truck comes at 7.5 s"
    scanner.run(20, until=lambda: len(scanner.of(ScanClosed)) == 3)
    opened = scanner.of(ScanOpened)
    assert [scan.kind for scan in opened] == ["dark", "air", "vehicle"]
    assert [scan.encoder_triggered for scan in opened] == [False, False, True]
    for scan, total in zip(opened, (1_000, 2_000, TRUCK_LINES), strict=True):
        blocks = scanner.blocks(scan.key)
        assert every_line_once(blocks) == total
        end = next(done for done in scanner.of(ScanClosed) if done.key == scan.key)
        assert (end.lines_total, end.lines_lost, end.aborted) == (total, 0, None)
        assert end.samples_crc == chained_crc(blocks)
        assert max(len(block.t_ns) for block in blocks) <= 64
    dark, air, truck = ([*scanner.blocks(scan.key)] for scan in opened)
    assert not any(block.flags.any() for block in dark)
    assert all((block.flags & LineFlag.BEAM_ON).all() for block in air + truck)
    assert np.concatenate([block.samples for block in dark]).mean() == pytest.approx(12, abs=1)
    x_m = np.concatenate([block.x_m for block in truck])
    np.testing.assert_allclose(np.diff(x_m), 0.008, err_msg="one line every 8 mm")
    vehicle = np.concatenate([(block.flags & LineFlag.VEHICLE) != 0 for block in truck])
    assert np.count_nonzero(vehicle) == pytest.approx(12 / 0.008, abs=2), "12 m of vehicle, air on both sides"
    assert not vehicle[0]
    assert not vehicle[-1]
    t_s = np.concatenate([block.t_ns for block in truck]) / 1e9
    assert 1 / np.median(np.diff(t_s)) == pytest.approx(500, rel=0.01), "500 lines/s at 4 m/s"
    assert np.diff(t_s).min() > 0


def test_lines_stop_with_the_truck_and_go_on_with_it():
    scanner = VirtualScanner()
    scanner.plant.geometry = replace(scanner.plant.geometry, booth_loop_m=12.0, stop_line_m=14.0)
    scanner.connect()
    scanner.run(30, until=lambda: scanner.plant.vehicle is not None and scanner.plant.speed_mps == 0)
    scanner.run(2)
    blocks = len(scanner.of(LineBlock))
    scanner.run(60)
    assert len(scanner.of(LineBlock)) == blocks, "an encoder-triggered scan stands still"
    assert len(scanner.of(ScanClosed)) == 2, "and does not end"
    assert scanner.of(SourceStatus)[-1].stamp.mono_ns > scanner.of(LineBlock)[-1].stamp.mono_ns + 50 * 10**9
    scanner.plant.arm_wanted_up = True
    scanner.run(30, until=lambda: len(scanner.of(ScanClosed)) == 3)
    assert every_line_once(scanner.blocks(scanner.vehicle().key)) == TRUCK_LINES


def test_an_emergency_stop_ends_the_scan_and_nothing_restarts_for_this_truck():
    scanner = VirtualScanner()
    scanner.connect()
    scanner.run(30, until=scanner.line_in_plane(800))
    scanner.plant.emergency_stop = True
    scanner.run(0.2)
    assert closed(scanner).aborted == "emergency_stop"
    last = scanner.of(SourceStatus)[-1]
    assert (last.emergency_stop, last.beam_on, last.shutter_closed) == (True, False, True)
    scanner.plant.emergency_stop = False
    scanner.run(8)
    assert len(scanner.of(ScanOpened)) == 3
    assert not scanner.of(SourceStatus)[-1].emergency_stop


def test_the_lamp_warns_five_seconds_before_every_beam():
    scanner = VirtualScanner()
    scanner.connect()
    scanner.run(12)
    states = [
        (frame.message.device_ns / 1e9, SourceState(frame.message.state))
        for wire in scanner.frames
        for frame in FrameReader(journal=True).feed(wire)
        if isinstance(frame, Frame) and isinstance(frame.message, Status)
    ]
    beams = [now for (now, state), (_, before) in zip(states[1:], states, strict=False)
             if SourceState.BEAM_ON in state and SourceState.BEAM_ON not in before]  # fmt: skip
    vehicle_s = beams[-1]
    warned = [now for now, state in states if SourceState.WARNING_ACTIVE in state]
    assert all(
        SourceState.WARNING_ACTIVE in state for now, state in states if vehicle_s - 5 <= now <= vehicle_s
    )
    assert warned[0] < beams[0]


def test_a_truck_before_the_calibration_is_complete_aborts_it_and_it_is_taken_later():
    scanner = VirtualScanner()
    scanner.clock.advance(6)
    scanner.plant.advance()
    scanner.connect()
    scanner.run(4, until=lambda: len(scanner.of(ScanOpened)) == 2)
    dark = closed(scanner)
    assert dark.aborted == "operator"
    assert scanner.of(ScanOpened)[1].kind == "vehicle"
    scanner.plant.arm_wanted_up = True
    scanner.run(30, until=lambda: len(scanner.of(ScanClosed)) == 4)
    assert [done.aborted for done in scanner.of(ScanClosed)] == ["operator", None, None, None]


def test_a_link_cut_in_mid_scan_loses_no_line():
    scanner = VirtualScanner()
    scanner.connect()
    scanner.run(30, until=scanner.line_in_plane(500))
    scanner.acking = False  # the last of these lines are not durable yet
    scanner.run(30, until=scanner.line_in_plane(700))
    scanner.emulator.disconnect()
    scanner.run(30, until=scanner.line_in_plane(1_200))
    scanner.connect()
    scanner.run(30, until=lambda: len(scanner.of(ScanClosed)) == 3)
    key = scanner.vehicle().key
    assert [scan.resent for scan in scanner.of(ScanOpened) if scan.key == key] == [False, True]
    assert every_line_once(scanner.blocks(key)) == TRUCK_LINES
    assert closed(scanner).samples_crc == chained_crc(scanner.blocks(key))


def test_lines_are_marked_as_sent_again_and_only_those():
    scanner = VirtualScanner()
    scanner.connect()
    scanner.run(30, until=scanner.line_in_plane(500))
    scanner.acking = False
    scanner.run(30, until=scanner.line_in_plane(700))
    scanner.emulator.disconnect()
    sent = scanner.blocks(scanner.vehicle().key)[-1].next_line
    scanner.run(30, until=scanner.line_in_plane(1_000))
    scanner.frames.clear()
    scanner.connect()
    scanner.run(30, until=lambda: len(scanner.of(ScanClosed)) == 3)
    marked = [
        (frame.message.first_line, HeaderFlag.RESENT in frame.flags)
        for wire in scanner.frames
        for frame in FrameReader(journal=True).feed(wire)
        if isinstance(frame, Frame) and isinstance(frame.message, Lines)
    ]
    assert {again for line, again in marked if line < sent} == {True}
    assert {again for line, again in marked if line >= sent} == {False}


def test_a_slow_truck_s_lines_do_not_wait_for_a_full_block():
    scanner = VirtualScanner(TRUCK.model_copy(update={"speed_mps": 1.0}))
    scanner.connect()
    scanner.run(40, until=scanner.line_in_plane(400))
    blocks = scanner.blocks(scanner.vehicle().key)
    waited_s = [(block.stamp.mono_ns - block.t_ns[0]) / 1e9 for block in blocks]
    assert max(waited_s) < 0.1 + 2 * STEP_S, "flushed after 100 ms"
    assert max(len(block.t_ns) for block in blocks) < 20, "at 1 m/s there are 125 lines a second"


def test_a_scan_that_passed_while_the_link_was_down_is_brought_later():
    scanner = VirtualScanner()
    scanner.connect()
    scanner.run(6.5)
    scanner.emulator.disconnect()
    scanner.run(6)
    scanner.connect()
    scanner.run(0.1)
    assert [scan.kind for scan in scanner.of(ScanOpened)] == ["dark", "air", "vehicle"]
    assert every_line_once(scanner.blocks(scanner.vehicle().key)) == TRUCK_LINES


def test_a_slow_station_never_stalls_the_detector_and_overflow_is_declared():
    scanner = VirtualScanner(ring_lines=400)
    scanner.connect()
    scanner.run(30, until=scanner.line_in_plane(100))
    for _ in range(150):
        scanner.clock.advance(0.02)
        scanner.emulator.step(0)  # no room on the wire
    scanner.run(30, until=lambda: len(scanner.of(ScanClosed)) == 3)
    key = scanner.vehicle().key
    lost = [gap for gap in scanner.of(LinesLost) if gap.key == key]
    assert [gap.cause for gap in lost] == ["ring_overflow"]
    assert every_line_once(scanner.blocks(key), lost) == TRUCK_LINES
    assert (closed(scanner).lines_lost, closed(scanner).samples_crc) == (lost[0].count, None)
    assert scanner.emulator.state()["held_lines"] <= 400
    assert scanner.emulator.state()["dropped_lines"] > 0


def test_a_scan_that_is_no_longer_held_is_closed():
    scanner = VirtualScanner(ring_lines=100)
    scanner.connect()
    scanner.run(1)
    scanner.emulator.disconnect()
    scanner.run(4)
    scanner.connect()
    scanner.run(0.5)
    assert scanner.of(ScanClosed)[0].aborted == "not_held"
    assert scanner.of(ScanOpened)[-1].kind == "air", "what is later comes"


def test_a_new_station_gets_the_open_scan_from_the_ring():
    scanner = VirtualScanner()
    scanner.connect()
    scanner.run(30, until=scanner.line_in_plane(900))
    scanner.session, scanner.readings = StationSession(), []
    scanner.connect()
    scanner.run(30, until=lambda: len(scanner.of(ScanClosed)) == 1)
    assert every_line_once(scanner.blocks(scanner.vehicle().key)) == TRUCK_LINES
    assert scanner.vehicle().resent


# --- the bad peers that need knowledge of the protocol --------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("bad_crc", "bad_checksum"), ("bad_header", "bad_header"), ("wrong_block", "malformed"),
     ("seq_jump", "sequence"), ("journal_on_wire", "journal_message")],
)  # fmt: skip
def test_a_damaged_link_is_given_up_and_resumed(fault: str, kind: str):
    scanner = VirtualScanner()
    scanner.connect()
    scanner.run(30, until=scanner.line_in_plane(500))
    scanner.emulator.fault(fault, on=True)
    scanner.run(5, until=lambda: scanner.broken)
    assert [bad.kind for bad in scanner.of(BadFrame)] == [kind]
    scanner.connect()
    scanner.run(30, until=lambda: len(scanner.of(ScanClosed)) == 3)
    key = scanner.vehicle().key
    assert every_line_once(scanner.blocks(key)) == TRUCK_LINES
    assert closed(scanner).samples_crc == chained_crc(scanner.blocks(key))


def scanned_with(fault: str) -> VirtualScanner:
    """One truck with a fault at line 500."""
    scanner = VirtualScanner()
    scanner.connect()
    scanner.run(30, until=scanner.line_in_plane(500))
    scanner.emulator.fault(fault, on=True)
    scanner.run(30, until=lambda: len(scanner.of(ScanClosed)) >= 3)
    assert not scanner.broken
    return scanner


def test_duplicate_lines_are_dropped_and_conflicting_ones_reported():
    for fault, kinds in (("duplicate", []), ("conflict", ["conflict"])):
        scanner = scanned_with(fault)
        assert closed(scanner).aborted is None
        assert [bad.kind for bad in scanner.of(BadFrame)] == kinds
        blocks = scanner.blocks(scanner.vehicle().key)
        assert every_line_once(blocks) == TRUCK_LINES
        assert closed(scanner).samples_crc == chained_crc(blocks), "the first is kept"


@pytest.mark.parametrize(
    ("fault", "cause", "count"), [("gap", "readout", 10), ("undeclared_gap", "undeclared_gap", 1)]
)
def test_lines_lost_are_never_made_up(fault: str, cause: str, count: int):
    scanner = scanned_with(fault)
    key = scanner.vehicle().key
    [lost] = scanner.of(LinesLost)
    assert lost.cause == cause
    assert lost.count >= count
    assert every_line_once(scanner.blocks(key), [lost]) == TRUCK_LINES
    assert (closed(scanner).lines_lost, closed(scanner).samples_crc) == (lost.count, None)


def test_samples_that_change_before_they_are_framed_are_told_by_the_sum():
    scanner = scanned_with("corrupt_samples")
    assert [bad.kind for bad in scanner.of(BadFrame)] == ["samples_crc"], "every message was sound"
    key = scanner.vehicle().key
    assert every_line_once(scanner.blocks(key)) == TRUCK_LINES
    assert closed(scanner).samples_crc != chained_crc(scanner.blocks(key))
    assert [done.aborted for done in scanner.of(ScanClosed)] == [None, None, "samples_crc"]


@pytest.mark.parametrize("fault", ["time_backwards", "encoder_jump"])
def test_a_jump_of_clock_or_encoder_is_flagged(fault: str):
    scanner = scanned_with(fault)
    flags = np.concatenate([block.flags for block in scanner.blocks(scanner.vehicle().key)])
    assert 1 <= np.count_nonzero(flags & LineFlag.TIME_JUMP) <= 2


def test_beam_off_in_mid_scan_is_flagged_and_dark():
    scanner = scanned_with("beam_off")
    blocks = scanner.blocks(scanner.vehicle().key)
    last = blocks[-1]
    assert ((last.flags & (LineFlag.BEAM_ON | LineFlag.SOURCE_OFF)) == LineFlag.SOURCE_OFF).all()
    assert last.monitor is None
    assert last.samples.mean() < 20
    assert not scanner.of(SourceStatus)[-1].beam_on
    assert closed(scanner).aborted == "beam_off"


def test_a_frozen_detector_repeats_its_line():
    scanner = scanned_with("frozen")
    *_, before, last = scanner.blocks(scanner.vehicle().key)
    assert (last.samples == before.samples[-1]).all()
    scanner.emulator.fault("frozen", on=False)
    assert scanner.emulator.state()["faults"] == []


def test_a_scan_without_an_end_is_superseded():
    scanner = scanned_with("scan_without_end")
    scanner.run(30, until=lambda: len(scanner.of(ScanClosed)) == 4)
    assert [done.aborted for done in scanner.of(ScanClosed)] == [None, None, "superseded", None]


def test_a_reboot_ends_the_scan_and_the_truck_is_not_taken_up_again():
    scanner = VirtualScanner()
    scanner.connect()
    scanner.run(30, until=scanner.line_in_plane(500))
    scanner.emulator.fault("reboot", on=True)
    scanner.connect()
    scanner.run(8)
    assert closed(scanner).aborted == "device_restarted"
    assert len(scanner.of(ScanOpened)) == 3
    scanner.emulator.fault("reboot", on=False)
    assert scanner.emulator.state()["attached"]


def test_a_scanner_that_speaks_another_version_or_describes_nonsense():
    for fault, code in (("version_2", ErrorCode.VERSION), ("bad_describe", ErrorCode.GEOMETRY)):
        scanner = VirtualScanner()
        scanner.emulator.fault(fault, on=True)
        scanner.connect()
        with pytest.raises(Refusal) as refused:
            scanner.run(1)
        assert refused.value.code is code


def test_a_scanner_that_does_not_describe_itself():
    scanner = VirtualScanner()
    scanner.emulator.fault("no_describe", on=True)
    scanner.connect()
    scanner.run(10)
    assert scanner.session.geometry is None
    assert not scanner.readings, "it says HELLO and then nothing more"


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not():
    def first_truck(seed: int) -> bytes:
        clock = PlantClock(rate=0)
        emulator = LinestreamEmulator(LinestreamOptions(), plant_with()(clock), clock, seed)
        emulator.connect()
        sent: list[bytes] = []
        while len(sent) < 400:
            clock.advance(STEP_S)
            sent += emulator.step()
            if len(sent) == 1:
                emulator.receive(encode(Attach(1, 1, 1 << 22, 0, 0, 0, 0), seq=0))
        frames = [frame for frame in FrameReader().feed(b"".join(sent)) if isinstance(frame, Frame)]
        return b"".join(f.message.samples.tobytes() for f in frames if isinstance(f.message, Lines))

    once = first_truck(1)
    assert len(once) > 1_000_000
    assert first_truck(1) == once
    assert first_truck(2) != once


def test_an_unknown_fault_is_refused_by_name():
    with pytest.raises(ValueError, match="no fault 'flood'; it has bad_crc"):
        VirtualScanner().emulator.fault("flood", on=True)
