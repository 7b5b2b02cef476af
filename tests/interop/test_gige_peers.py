"""Other people's GigE Vision: Aravis' fake camera into our driver, Aravis' tools against our emulator."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest

from drivers.api import ConnectFailed, DriverContext
from drivers.plant.clock import PlantClock
from drivers.plant.rig import Hearing
from drivers.readings import LineBlock, LinesLost
from drivers.scanner.gige.driver import GigeDriver
from drivers.scanner.gige.sim import GigeEmulator
from tests.support.aravis import CAMERA_TEST, TOOL, aravis, fake_camera, path_of, the_port
from tests.support.gige_lane import PLAIN, WITH_INPUTS, options, until
from tests.support.scanner_lane import every_line_once, plant_with

WIDTH, LINES = 512, 64
FIRST_FRAME = 65_401
"""The fake camera counts its frames from here, so that block ids soon begin again."""


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with the_port():
        yield


# --- their camera, our driver ---------------------------------------------------------------------


@contextlib.asynccontextmanager
async def our_driver(**more: Any) -> AsyncIterator[tuple[GigeDriver, Hearing]]:
    context = DriverContext("scanner1", PlantClock(), logging.getLogger("scanner1"), lambda way, data: None)
    driver = GigeDriver(options(3956, PLAIN, detectors=WIDTH, lines=LINES, **more), context)
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(ConnectFailed):
                identity = await driver.open()
                break
            await asyncio.sleep(0.05)
    assert (identity.make, identity.model) == ("Aravis", "Fake")
    hearing = Hearing(driver)
    try:
        yield driver, hearing
    finally:
        await driver.close()
        await hearing.stop()


def blocks_of(hearing: Hearing) -> list[LineBlock]:
    return [reading for reading in hearing.readings if isinstance(reading, LineBlock)]


def pattern(frame: int) -> np.ndarray:
    """The diagonal ramp that the fake camera draws."""
    y, x = np.mgrid[:LINES, :WIDTH]
    return (256 * (x + y + frame)) % 65_535


def frame_of(block: LineBlock) -> int:
    """The number of the frame, by its first sample."""
    return int(np.flatnonzero((256 * np.arange(65_535)) % 65_535 == block.samples[0, 0, 0])[0])


async def test_their_fake_camera_is_read_sample_by_sample() -> None:
    async with fake_camera(), our_driver() as (_, hearing):
        await until(lambda: len(blocks_of(hearing)) >= 20 or hearing.ended)
        blocks = blocks_of(hearing)
        assert not hearing.bad_frames
        assert every_line_once(blocks) == LINES * len(blocks)
        frames = [frame_of(block) for block in blocks]
        assert [frame - frames[0] for frame in frames] == list(range(len(frames)))
        for frame, block in zip(frames, blocks, strict=True):
            assert (block.samples[:, 0] == pattern(frame)).all()


async def test_block_ids_begin_again_and_no_line_is_lost() -> None:
    async with fake_camera(), our_driver() as (_, hearing):
        frames = 65_535 - FIRST_FRAME + 10
        await until(lambda: len(blocks_of(hearing)) >= frames or hearing.ended, 30)
        assert not [reading for reading in hearing.readings if isinstance(reading, LinesLost)]
        blocks = blocks_of(hearing)
        assert every_line_once(blocks) >= frames * LINES
        assert FIRST_FRAME == frame_of(blocks[0]) > frame_of(blocks[-1]) >= 1


async def test_what_their_camera_loses_is_told_as_lost() -> None:
    """It answers no request for packets, so that three packets in a thousand cost their lines."""
    async with fake_camera(lost_per_mille=3), our_driver() as (_, hearing):

        def lost() -> list[LinesLost]:
            return [reading for reading in hearing.readings if isinstance(reading, LinesLost)]

        await until(lambda: len(lost()) >= 5 or hearing.ended, 30)
        assert not hearing.bad_frames
        every_line_once(blocks_of(hearing), lost())
        for block in blocks_of(hearing):
            steps = np.diff(block.samples[:, 0].astype(int), axis=1) % 65_535
            assert (steps == 256).all(), "a lost packet became samples"


async def test_the_heartbeat_holds_their_camera() -> None:
    """Its time-out is half a second here; without a heartbeat it would stop."""
    async with fake_camera(), our_driver(heartbeat_s=0.5) as (_, hearing):
        await until(lambda: len(blocks_of(hearing)) >= 50 or hearing.ended, 30)
        assert not hearing.ended


# --- our camera, their tools ----------------------------------------------------------------------


@contextlib.asynccontextmanager
async def our_camera(fault: str | None = None) -> AsyncIterator[GigeEmulator]:
    """Our emulator on the standard's port: it takes dark and air as soon as somebody starts it."""
    clock = PlantClock()
    plant = plant_with()(clock)
    plant.entry_green = False
    emulator = GigeEmulator(options(setup=WITH_INPUTS), plant, clock, 1, port=3956)
    if fault is not None:
        emulator.fault(fault, on=True)
    await emulator.start()
    try:
        yield emulator
    finally:
        await emulator.stop()


def count(output: str, name: str) -> int:
    found = re.search(rf"{name}\s*=\s*(\d+)", output)
    assert found is not None, output
    return int(found[1])


async def test_their_tool_reads_our_genicam_file() -> None:
    path_of(TOOL)
    async with our_camera():
        output = await aravis(TOOL, "-a 127.0.0.1 control Width Height PixelFormat PayloadSize")
    assert "Width = 128" in output
    assert "Height = 16" in output
    assert "PixelFormat = Mono16" in output
    assert "PayloadSize = 4116" in output


async def test_their_stack_receives_our_frames() -> None:
    path_of(CAMERA_TEST)
    async with our_camera() as emulator:
        output = await aravis(CAMERA_TEST, "-n 127.0.0.1 -i 1400 -j never --duration=3")
        assert not emulator.state()["controlled"]
    assert count(output, "n_completed_buffers") > 30
    assert count(output, "n_failures") == count(output, "n_underruns") == 0
    assert count(output, "n_missing_packets") == count(output, "n_size_mismatch_errors") == 0


async def test_their_stack_asks_for_packets_and_gets_them() -> None:
    path_of(CAMERA_TEST)
    async with our_camera("loss") as emulator:
        output = await aravis(CAMERA_TEST, "-n 127.0.0.1 -i 1400 -j never -q 2.0 --duration=3")
        assert emulator.resent > 30
    assert count(output, "n_resent_packets") > 30
    assert count(output, "n_completed_buffers") > 30
