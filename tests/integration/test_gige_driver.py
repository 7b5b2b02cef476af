"""The GigE Vision driver against its emulator, over real sockets: calibration, a truck, and every fault."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from drivers.api import ConfigError, ConnectFailed, LinkLost, ProtocolError
from drivers.formats.gige import gvcp
from drivers.plant.rig import Hearing
from drivers.readings import LineBlock, LinesLost, ScanClosed, ScanKind, ScanOpened, SourceStatus
from drivers.scanner.gige.control import Control
from drivers.scanner.gige.sim import GigeEmulator
from imaging.radiograph.calibrate import AirScan, DarkScan
from tests.support.gige_lane import (
    DETECTORS,
    LINES,
    PLAIN,
    REGISTERS,
    WITH_INPUTS,
    GigeLane,
    gige_lane,
    until,
)
from tests.support.scanner_lane import every_line_once

SLOW_HEART = {**PLAIN, "heartbeat_s": 10.0}
"""A camera that gives no control up by itself while a test lasts."""


def of(hearing: Hearing, kind: type) -> list:
    return [reading for reading in hearing.readings if isinstance(reading, kind)]


def whole(hearing: Hearing) -> list[ScanClosed]:
    """Every scan that ended; its lines are there or said to be lost, each once."""
    closed = of(hearing, ScanClosed)
    for scan in closed:
        blocks = [block for block in of(hearing, LineBlock) if block.key == scan.key]
        lost = [gap for gap in of(hearing, LinesLost) if gap.key == scan.key]
        assert every_line_once(blocks, lost) == scan.lines_total
        assert sum(gap.count for gap in lost) == scan.lines_lost
    return closed


async def truck(lane: GigeLane, hearing: Hearing) -> ScanClosed:
    """Let the truck pass; its scan's end."""
    lane.plant.entry_green = True
    await until(lambda: bool(of(hearing, ScanClosed)) or hearing.ended, 30)
    return whole(hearing)[0]


async def in_the_truck(lane: GigeLane, hearing: Hearing) -> None:
    """Wait until lines of the truck come."""
    lane.plant.entry_green = True
    await until(lambda: len(of(hearing, LineBlock)) >= 3)


async def test_dark_and_air_make_a_calibration_and_the_truck_is_in_its_lines() -> None:
    async with gige_lane(WITH_INPUTS) as lane:
        _, hearing = await lane.open()
        await until(lambda: lane.emulator.state()["calibrated"])
        lane.plant.entry_green = True
        await until(lambda: len(of(hearing, ScanClosed)) == 3, 30)
        assert [scan.kind for scan in of(hearing, ScanOpened)] == [
            ScanKind.DARK,
            ScanKind.AIR,
            ScanKind.VEHICLE,
        ]
        assert [scan.aborted for scan in whole(hearing)] == [None, None, None]
        assert not hearing.bad_frames
        opened = of(hearing, ScanOpened)
        scans = [[block for block in of(hearing, LineBlock) if block.key == scan.key] for scan in opened]
        dark = DarkScan(DETECTORS)
        for block in scans[0]:
            dark.push(block.samples[:, 0], block.flags)
        geometry = opened[1].geometry
        air = AirScan(
            dark.result(), geometry.reference_detectors, full_scale=4_000, pulsed=False, units_per_quantum=1
        )
        for block in scans[1]:
            air.push(block.samples[:, 0], block.flags, block.monitor)
        calibration = air.result()
        assert calibration.air_lines >= 2_000
        vehicle = np.concatenate([block.samples[:, 0] for block in scans[2]])
        low = vehicle[:, -20:].min() / np.median(vehicle[:, :4])
        assert low < 0.3, "no steel in the lower part of the image"
        assert scans[2][-1].x_m[-1] == pytest.approx(12.8, abs=LINES * 0.008)


async def test_a_free_camera_scans_by_the_clock() -> None:
    async with gige_lane({**PLAIN, "line_pitch_mm": 0.0}) as lane:
        _, hearing = await lane.open()
        closed = await truck(lane, hearing)
        assert closed.aborted is None
        assert closed.lines_total % LINES == 0
        assert all(block.x_m is None for block in of(hearing, LineBlock))


async def test_lost_packets_are_asked_for_and_come_again() -> None:
    async with gige_lane() as lane:
        lane.emulator.fault("loss", on=True)
        _, hearing = await lane.open()
        closed = await truck(lane, hearing)
        assert lane.emulator.resent > 50
        assert closed.lines_lost == 0
        assert not hearing.bad_frames


async def test_packets_that_are_gone_for_good_are_lost_lines() -> None:
    async with gige_lane() as lane:
        lane.emulator.fault("loss_for_good", on=True)
        _, hearing = await lane.open()
        closed = await truck(lane, hearing)
        assert 0 < closed.lines_lost < closed.lines_total
        assert of(hearing, LineBlock)


@pytest.mark.parametrize("fault", ["reorder", "duplicate"])
async def test_order_and_repetition_cost_nothing(fault: str) -> None:
    async with gige_lane() as lane:
        lane.emulator.fault(fault, on=True)
        _, hearing = await lane.open()
        closed = await truck(lane, hearing)
        assert closed.lines_lost == 0
        assert not hearing.bad_frames


@pytest.mark.parametrize(
    ("fault", "bad"),
    [("truncated_leader", ["too_short"]), ("wrong_size", ["wrong_size"]), ("stall", []), ("block_lost", [])],
)
async def test_one_spoilt_block_is_put_right_by_what_comes_again(fault: str, bad: list[str]) -> None:
    async with gige_lane() as lane:
        _, hearing = await lane.open()
        await in_the_truck(lane, hearing)
        lane.emulator.fault(fault, on=True)
        await until(lambda: fault not in lane.emulator.state()["faults"])
        closed = await truck(lane, hearing)
        assert lane.emulator.resent > 0
        assert closed.lines_lost == 0
        assert [frame.kind for frame in hearing.bad_frames] == bad


async def test_a_jump_of_the_block_ids_ends_the_scan() -> None:
    async with gige_lane() as lane:
        _, hearing = await lane.open()
        await in_the_truck(lane, hearing)
        lane.emulator.fault("block_jump", on=True)
        await until(lambda: len(of(hearing, ScanClosed)) == 2, 30)
        assert [scan.aborted for scan in whole(hearing)] == ["device_restarted", None]


@pytest.mark.parametrize(
    ("fault", "sentence"), [("extended_ids", "block ids of 64 bits"), ("mono12", "than Mono16")]
)
async def test_what_cannot_be_read_is_refused_in_words(fault: str, sentence: str) -> None:
    async with gige_lane() as lane:
        lane.emulator.fault(fault, on=True)
        driver = lane.driver()
        await driver.open()
        lane.plant.entry_green = True
        with pytest.raises(ProtocolError, match=sentence):
            async with asyncio.timeout(20):
                async for _ in driver.readings():
                    pass
        await driver.close()


async def test_a_camera_that_takes_control_away_is_opened_anew() -> None:
    async with gige_lane({**PLAIN, "heartbeat_s": 0.5}) as lane:
        _, hearing = await lane.open()
        await in_the_truck(lane, hearing)
        lane.emulator.fault("lost_heartbeat", on=True)
        await until(lambda: hearing.ended)
        assert isinstance(hearing.error, LinkLost)
        assert "took its control away" in str(hearing.error)
        _, again = await lane.open()
        await until(lambda: bool(of(again, ScanClosed)))
        assert of(again, ScanClosed)[0].aborted == "link"


async def test_a_silent_camera_is_a_lost_link_and_invents_nothing() -> None:
    async with gige_lane({**PLAIN, "heartbeat_s": 0.5}) as lane:
        _, hearing = await lane.open()
        await until(lambda: bool(hearing.items))
        lane.emulator.fault("silent", on=True)
        await until(lambda: hearing.ended)
        assert isinstance(hearing.error, LinkLost)
        assert "did not answer" in str(hearing.error)
        assert [type(reading) for reading in hearing.readings] == [SourceStatus]
        with pytest.raises(ConnectFailed, match="did not answer"):
            await lane.driver().open()


async def test_the_heartbeat_keeps_control() -> None:
    """Without it the camera would have taken control away three times over."""
    async with gige_lane({**PLAIN, "heartbeat_s": 0.5}) as lane:
        _, hearing = await lane.open()
        await asyncio.sleep(1.6)
        assert lane.emulator.state()["controlled"]
        assert not hearing.ended


async def test_a_station_that_is_gone_loses_control() -> None:
    async with gige_lane({**PLAIN, "heartbeat_s": 0.5}) as lane:
        driver = lane.driver()
        await driver.open()
        assert driver._heart is not None
        driver._heart.cancel()
        await until(lambda: not lane.emulator.state()["controlled"])
        assert not lane.emulator.state()["acquiring"]
        await driver.close()


async def test_only_one_application_has_control() -> None:
    async with gige_lane(SLOW_HEART) as lane:
        first, _ = await lane.open()
        with pytest.raises(ConnectFailed, match="under the control of another application"):
            await lane.driver({}).open()
        await first.close()
        await until(lambda: not lane.emulator.state()["controlled"], 5)
        await lane.open()


@pytest.mark.parametrize(
    ("registers", "sentence"),
    [
        ({"width": 0x3000}, "refused 0x3000 = 0x80: invalid address"),
        ({"width": 0x48}, "write protect"),
        ({"pixel_format": gvcp.Register.PACKET_SIZE}, "has pixel format 0x00000007 and does not take Mono16"),
    ],
)
async def test_registers_that_are_not_the_cameras_are_refused(
    registers: dict[str, int], sentence: str
) -> None:
    async with gige_lane(SLOW_HEART) as lane:
        lane.setup = {**SLOW_HEART, "registers": {**REGISTERS, **registers}}
        with pytest.raises(ConfigError, match=sentence):
            await lane.driver().open()
        await until(lambda: not lane.emulator.state()["controlled"], 5)


async def test_a_frame_of_another_size_is_refused() -> None:
    async with gige_lane(WITH_INPUTS) as lane:
        lane.emulator._registers._words[0x140] = 100
        with pytest.raises(
            ConfigError, match=f"sends 100 bytes a frame, its image has {DETECTORS * LINES * 2}"
        ):
            await lane.driver().open()


async def test_datagrams_of_strangers_are_counted_and_not_read() -> None:
    async with gige_lane() as lane:
        driver, hearing = await lane.open()
        assert driver._stream is not None
        driver._came(b"\0" * 100, "192.0.2.1")
        await until(lambda: bool(hearing.bad_frames))
        assert hearing.bad_frames[0].kind == "stranger"


async def test_junk_on_the_control_channel_is_counted() -> None:
    async with gige_lane() as lane:
        driver, hearing = await lane.open()
        control = driver._control
        assert isinstance(control, Control)
        lane.emulator._transport.sendto(b"junk", control._open_link.local)  # type: ignore[union-attr]
        await until(lambda: [frame.kind for frame in hearing.bad_frames] == ["too_short"])
        assert not hearing.ended


def test_an_unknown_fault_is_refused() -> None:
    lane = GigeLane(PLAIN, 1.0)
    with pytest.raises(ValueError, match="the camera has no fault 'x'"):
        lane.emulator.fault("x", on=True)
    assert "loss" in GigeEmulator.FAULTS
