"""The contract kit finds what it looks for: drivers with one fault each, and the check that must fail."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
import time
from collections.abc import AsyncIterator
from typing import ClassVar, Literal

import pytest
from pydantic import ConfigDict

from drivers import contract
from drivers.api import BadFrame, DeviceIdentity, DriverContext, LinkLost
from drivers.contract import LEAK_LIMIT_S, Check, ContractBroken, DriverCase
from drivers.readings import Counts, PortalReading, Stamp
from drivers.rpm.tsa.driver import SPEC, TsaDriver, TsaOptions
from tests.support.lane_places import APPROACH_S, CLEAN, lane

Item = PortalReading | BadFrame


class ClosesSlowly(TsaDriver):
    async def close(self) -> None:
        await asyncio.sleep(1.2)
        await super().close()


class NeverCloses(TsaDriver):
    """Defect: stop() that does nothing."""

    made: ClassVar[list[TsaDriver]] = []

    async def open(self) -> DeviceIdentity:
        self.made.append(self)
        return await super().open()

    async def close(self) -> None:
        pass


class LeavesAThread(TsaDriver):
    async def open(self) -> DeviceIdentity:
        threading.Thread(target=time.sleep, args=(2 * LEAK_LIMIT_S,), daemon=True).start()
        return await super().open()


class SwallowsBadFrames(TsaDriver):
    async def readings(self) -> AsyncIterator[Item]:
        async for item in super().readings():
            if not isinstance(item, BadFrame):
                yield item


class EndsAtTheFirstBadFrame(TsaDriver):
    """Defect: one malformed line ends the reader while the link stays up."""

    async def readings(self) -> AsyncIterator[Item]:
        async for item in super().readings():
            yield item
            if isinstance(item, BadFrame):
                return


class RepublishesOldValues(TsaDriver):
    """Defect: without news the last value is shown as fresh."""

    async def readings(self) -> AsyncIterator[Item]:
        heard: asyncio.Queue[Item | None] = asyncio.Queue()

        async def listen() -> None:
            with contextlib.suppress(LinkLost):
                async for item in TsaDriver.readings(self):
                    heard.put_nowait(item)
            heard.put_nowait(None)

        listening = asyncio.create_task(listen())
        last: Item | None = None
        try:
            while True:
                try:
                    last = await asyncio.wait_for(heard.get(), 0.1)
                except TimeoutError:
                    if isinstance(last, Counts):
                        last = dataclasses.replace(last, stamp=self._context.clock.stamp())
                if last is None:
                    return
                yield last
        finally:
            listening.cancel()


class KeepsNoLines(TsaDriver):
    """Defect: what the portal said is not in its daily file."""

    raw: ClassVar[bytes] = b""

    async def readings(self) -> AsyncIterator[Item]:
        async for item in super().readings():
            yield item if isinstance(item, BadFrame) else dataclasses.replace(item, raw=self.raw)


class KeepsRegisters(KeepsNoLines):
    """Defect: the daily file of a device that is polled holds no fields but bytes."""

    raw = b"\x00\x01\x0a"


class StampsByTheWallClock(TsaDriver):
    """Defect: durations by the wall clock."""

    async def readings(self) -> AsyncIterator[Item]:
        opened = self._context.clock.stamp()
        async for item in super().readings():
            if isinstance(item, BadFrame):
                yield item
            else:
                passed_ns = item.stamp.utc_ns - opened.utc_ns
                stamp = Stamp(item.stamp.utc_ns, opened.mono_ns + passed_ns, opened.boot_id)
                yield dataclasses.replace(item, stamp=stamp)


class TapsHalf(TsaDriver):
    """Defect: some bytes never reach recorder and crash report."""

    def __init__(self, options: TsaOptions, context: DriverContext) -> None:
        def tap(direction: Literal["rx", "tx"], data: bytes) -> None:
            context.tap(direction, data[::2])

        super().__init__(options, dataclasses.replace(context, tap=tap))


class StrangeError(TsaDriver):
    async def open(self) -> DeviceIdentity:
        try:
            return await super().open()
        except Exception as error:
            raise OSError("no") from error


class TakesAnyOption(TsaOptions):
    model_config = ConfigDict(extra="ignore")


CASE = DriverCase(
    name="broken",
    spec=SPEC,
    plant=lambda clock: lane(clock, CLEAN),
    start_s=APPROACH_S - 0.5,
    patience_s=2.0,
)


@pytest.mark.parametrize(
    ("fault", "check", "sentence"),
    [
        (ClosesSlowly, contract.closes_clean_and_twice, r"close\(\) took 1\.2"),
        (NeverCloses, contract.closes_clean_and_twice, r"did not end after close"),
        (LeavesAThread, contract.closes_clean_and_twice, r"\(threads, tasks, descriptors\) were"),
        (SwallowsBadFrames, contract.cut_in_mid_record, "half a record not counted"),
        (SwallowsBadFrames, contract.junk_between_records, "count the junk"),
        (EndsAtTheFirstBadFrame, contract.junk_between_records, "after the junk: the readings ended"),
        (RepublishesOldValues, contract.half_open_invents_nothing, "no byte came, but"),
        (
            TapsHalf,
            contract.tap_sees_every_byte,
            r"the tap saw \d+ bytes to us, other than",
        ),
        (KeepsNoLines, contract.readings_fit_the_role, "has a line for its daily file"),
        (KeepsRegisters, contract.readings_fit_the_role, "no line of printable ASCII"),
        (StampsByTheWallClock, contract.wall_clock_steps, "a stamp (lies in the future|goes back)"),
    ],
)
async def test_a_broken_driver_fails_its_check(fault: type[TsaDriver], check: Check, sentence: str) -> None:
    case = dataclasses.replace(CASE, spec=dataclasses.replace(SPEC, make=fault))
    with pytest.raises(ContractBroken, match=sentence):
        await check(case)
    while NeverCloses.made:
        await TsaDriver.close(NeverCloses.made.pop())


async def test_an_error_of_another_family_is_no_connect_failed() -> None:
    case = dataclasses.replace(CASE, spec=dataclasses.replace(SPEC, make=StrangeError))
    with pytest.raises(OSError, match="no"):
        await contract.refused_is_connect_failed(case)


async def test_an_unknown_option_that_is_accepted_is_found() -> None:
    case = dataclasses.replace(CASE, spec=dataclasses.replace(SPEC, options=TakesAnyOption))
    with pytest.raises(ContractBroken, match="the unknown option hostx was accepted"):
        await contract.unknown_option_is_refused(case)


async def test_a_sound_driver_passes_the_same_checks() -> None:
    await contract.closes_clean_and_twice(CASE)
    await contract.tap_sees_every_byte(CASE)
    await contract.wall_clock_steps(CASE)
    await contract.readings_fit_the_role(CASE)
