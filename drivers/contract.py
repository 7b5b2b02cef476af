"""The contract that every driver keeps, as checks that any test runner can call.

A plug-in describes its device once, as a ``DriverCase``, and runs every function of ``CHECKS``::

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    async def test_contract(check):
        try:
            await check(CASE)
        except NotApplicable as reason:
            pytest.skip(str(reason))

A broken contract raises ``ContractBroken`` (an ``AssertionError``) with a sentence. Nothing here needs
pytest. The real emulator serves, the link-fault proxy stands in front of it, the driver is unchanged.
The supervisor makes a new driver for every attempt to open, and so do the checks.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import get_args

from pydantic import ValidationError

from drivers.api import (
    API_VERSION,
    ConnectFailed,
    DeviceIdentity,
    DigitalIo,
    Driver,
    LineScanner,
    Options,
    Role,
)
from drivers.plant.rig import (
    OPEN_LIMIT_S,
    ContractBroken,
    DriverCase,
    Hearing,
    NotApplicable,
    Rig,
    essence,
    expect,
    free_port,
    host_and_port,
    served_again,
    within,
)
from drivers.readings import CameraRead, Inputs, PortalReading, PortalReport, ScannerReading

__all__ = [
    "CHECKS",
    "Check",
    "ContractBroken",
    "DriverCase",
    "Hearing",
    "NotApplicable",
    "Rig",
    "essence",
    "host_and_port",
]

Check = Callable[[DriverCase], Awaitable[None]]
CLOSE_LIMIT_S = 1.0
"""Longest time that ``close`` may take."""
LEAK_LIMIT_S = 5.0
"""What is held longer than this is not on its way out but leaks."""
RECONNECTS = 100
LINE = re.compile(rb"[\t\x20-\x7e]+\r?\n?")
SLICED_BYTES = 8_000
"""So many bytes are cut into single ones; the rest of a longer recording is cut into longer pieces."""

READINGS_OF: Mapping[Role, tuple[type, ...]] = {
    Role.PORTAL_MONITOR: get_args(PortalReading),
    Role.LINE_SCANNER: get_args(ScannerReading),
    Role.CAMERA: (CameraRead,),
    Role.DIGITAL_IO: (Inputs,),
}


def held() -> tuple[int, int, int]:
    """Count what a driver could leak: threads, tasks of this loop, open file descriptors."""
    return threading.active_count(), len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))


async def _expect_no_leak(before: tuple[int, int, int], what: str) -> None:
    def clean() -> bool:
        return all(now <= then for now, then in zip(held(), before, strict=True))

    if not await within(LEAK_LIMIT_S, clean):
        raise ContractBroken(f"{what}: (threads, tasks, descriptors) were {before} and are {held()}")


async def _expect_close(driver: Driver, what: str) -> None:
    begun_s = time.monotonic()
    await driver.close()
    took_s = time.monotonic() - begun_s
    expect(took_s <= CLOSE_LIMIT_S, f"{what}: close() took {took_s:.2f} s, allowed is {CLOSE_LIMIT_S} s")


# --- the checks -----------------------------------------------------------------------------------


async def opens_and_identifies(case: DriverCase) -> None:
    """``open`` succeeds within its limit and says who answers; the spec keeps its promises."""
    spec = case.spec
    expect(spec.api_version == API_VERSION, f"{spec.name}: api_version {spec.api_version} != {API_VERSION}")
    expect(issubclass(spec.options, Options), f"{spec.name}: its options are no drivers.api.Options")
    async with Rig(case) as rig:
        driver = rig.make()
        expect(isinstance(driver, Driver), f"{spec.name}: make() returned no Driver")
        if spec.role is Role.LINE_SCANNER:
            expect(isinstance(driver, LineScanner), f"{spec.name}: a line scanner needs ack()")
        if spec.role is Role.DIGITAL_IO:
            expect(isinstance(driver, DigitalIo), f"{spec.name}: a digital I/O board needs write()")
        try:
            identity = await asyncio.wait_for(driver.open(), OPEN_LIMIT_S)
            expect(isinstance(identity, DeviceIdentity), f"{spec.name}: open() returned {identity!r}")
        finally:
            await driver.close()


async def readings_fit_the_role(case: DriverCase) -> None:
    """A healthy link gives readings of the role, no bad frame, and stamps that never go back."""
    async with Rig(case) as rig:
        opened = rig.clock.stamp()
        _, hearing = await rig.open()
        await rig.hear(hearing, case.readings, "a healthy link")
        expect(not hearing.bad_frames, f"bad frames on a healthy link: {hearing.bad_frames[:3]}")
        _expect_sound_stamps(rig, hearing, opened.mono_ns)
        allowed = READINGS_OF[case.spec.role]
        strange = {type(reading).__name__ for reading in hearing.readings if type(reading) not in allowed}
        expect(not strange, f"a {case.spec.role} does not speak {sorted(strange)}")
        if case.spec.role is Role.PORTAL_MONITOR:
            _expect_lines(hearing)


def _expect_lines(hearing: Hearing) -> None:
    """What a portal says is kept in a daily file, so that each poll or record has one line of text.

    A document has none: it is a blob of its own.
    """
    said = [reading for reading in hearing.readings if not isinstance(reading, PortalReport)]
    lines = [raw for reading in said if (raw := getattr(reading, "raw", b""))]
    expect(bool(lines) or not said, "no reading of a portal has a line for its daily file (raw)")
    wrong = [raw for raw in lines if not LINE.fullmatch(raw)]
    expect(not wrong, f"raw is no line of printable ASCII: {wrong[:1]}")


def _expect_sound_stamps(rig: Rig, hearing: Hearing, not_before_ns: int) -> None:
    now = rig.clock.stamp()
    last_ns = not_before_ns
    for reading in hearing.readings:
        stamp = reading.stamp
        expect(stamp.boot_id == now.boot_id, f"a stamp of boot {stamp.boot_id}, the clock is {now.boot_id}")
        back_s = (last_ns - stamp.mono_ns) / 1e9
        expect(back_s <= 0, f"a stamp goes back by {back_s:.3f} s: {reading}")
        expect(stamp.mono_ns <= now.mono_ns, f"a stamp lies in the future: {reading}")
        last_ns = stamp.mono_ns


async def closes_clean_and_twice(case: DriverCase) -> None:
    """``close`` works before ``open``, twice, while readings are awaited; nothing stays behind."""
    async with Rig(case) as rig:
        await _expect_close(rig.make(), "never opened")
        before = held()
        driver, hearing = await rig.open()
        await asyncio.sleep(0)
        await _expect_close(driver, "while readings are awaited")
        await _expect_close(driver, "a second time")
        expect(await within(CLOSE_LIMIT_S, lambda: hearing.ended), "readings() did not end after close()")
        await _expect_no_leak(before, "after close()")


async def a_hundred_reconnects(case: DriverCase) -> None:
    """A hundred connections leak nothing, and each reads its own stream."""
    async with Rig(case) as rig:
        before = held()
        for _ in range(RECONNECTS):
            opened = rig.clock.stamp()
            driver, hearing = await rig.open()
            if case.reads_on_connect:
                await rig.hear(hearing, 1, "after a reconnect")
                expect(not hearing.bad_frames, f"after a reconnect: {hearing.bad_frames[:1]}")
                _expect_sound_stamps(rig, hearing, opened.mono_ns)
            await _expect_close(driver, "in a reconnect")
            await rig.until(lambda heard=hearing: heard.ended, "end of readings()")  # type: ignore[misc]
            rig.forget()
        await _expect_no_leak(before, f"after {RECONNECTS} reconnects")
        _, hearing = await rig.open()
        await rig.hear(hearing, 1, f"after {RECONNECTS} reconnects")


async def refused_is_connect_failed(case: DriverCase) -> None:
    """Where nobody answers (a listener: where the port is taken) ``open`` raises ``ConnectFailed``."""
    async with Rig(case) as rig:
        before = held()
        with socket.socket() as taken:
            if case.serial or case.folder:
                place: int | str = f"{rig.place}-missing"
            elif rig.dials:
                taken.bind(("127.0.0.1", 0))
                taken.listen(1)
                place = int(taken.getsockname()[1])
            else:
                place = free_port()
            driver = rig.make(place)
            try:
                await asyncio.wait_for(driver.open(), OPEN_LIMIT_S)
            except ConnectFailed as error:
                expect(str(place) in str(error), f"the sentence does not name {place}: {error}")
            else:
                raise ContractBroken(f"open() succeeded although {place} cannot be used")
            finally:
                await driver.close()
        await _expect_no_leak(before, "after a refused open()")


async def cut_in_mid_record(case: DriverCase) -> None:
    """A link that ends in mid-record keeps what was whole, counts the rest and ends the readings."""
    async with Rig(case) as rig:
        rig.proxy.set("cut_mid_record", after=case.cut_after)
        _, hearing = await rig.open()
        if rig.dials:
            counts = case.cut_is_counted
            await rig.until(lambda: bool(hearing.bad_frames) or not counts, "count the half event")
            expect(not hearing.ended, "a listener stays open when one sender is cut off")
            expect(not hearing.readings, f"half an event became {hearing.readings[:1]}")
        else:
            await rig.until(lambda: hearing.ended, "end of readings() after a cut")
            counted = bool(hearing.items) and hearing.items[-1] in hearing.bad_frames
            expect(counted or not case.cut_is_counted, f"half a record not counted: {hearing.items[-1:]}")
            expect(len(hearing.bad_frames) <= 1, f"more than the half record is bad: {hearing.bad_frames}")
        rig.proxy.set(None)
        if not rig.dials:
            _, hearing = await rig.open()
        await rig.hear(hearing, 1, "after the cut")


async def half_open_invents_nothing(case: DriverCase) -> None:
    """A peer that is gone without a word gives silence or the end, never an old value as fresh."""
    async with Rig(case) as rig:
        proxy = rig.proxy
        driver, hearing = await rig.open()
        if not rig.dials:
            await rig.hear(hearing, 1, "before the silence")
        proxy.set("half_open")
        await asyncio.sleep(0.2)
        heard = len(hearing.readings)
        await asyncio.sleep(1.0)
        invented = hearing.readings[heard:]
        expect(not invented, f"no byte came, but {len(invented)} readings did: {invented[:1]}")
        await _expect_close(driver, "on a half-open link")


async def junk_between_records(case: DriverCase) -> None:
    """Junk is counted, and records after it still come."""
    async with Rig(case) as rig:
        proxy = rig.proxy
        _, hearing = await rig.open()
        if not rig.dials:
            await rig.hear(hearing, 1, "before the junk")
        proxy.set("garbage", data=case.junk)
        if case.junk_is_counted:
            await rig.until(lambda: bool(hearing.bad_frames), "count the junk")
        else:
            await rig.until(lambda: proxy.struck > 0, "junk passes")
        proxy.set(None)
        await asyncio.sleep(0.05)
        if case.junk_ends_link and await within(1.0, lambda: hearing.ended):
            _, hearing = await rig.open()
        await rig.hear(hearing, 1, "after the junk")


async def tap_sees_every_byte(case: DriverCase) -> None:
    """Every byte of the link, either way, passes the tap once and in order."""
    async with Rig(case) as rig:
        carried = rig.proxy.carried = bytearray(), bytearray()
        _, hearing = await rig.open()
        await rig.hear(hearing, case.readings, "a healthy link")
        for way, passed, seen in zip(("to us", "from us"), carried, (rig.received, rig.sent), strict=True):
            count = len(passed)
            await within(1.0, lambda seen=seen, count=count: len(seen) >= count)  # type: ignore[misc]
            sound = seen[:count] == passed[:count]
            expect(sound, f"the tap saw {len(seen)} bytes {way}, other than the {count} of the link")


async def one_byte_segments(case: DriverCase) -> None:
    """The same bytes in segments of one byte give the same readings."""
    if case.folder or case.datagrams:
        raise NotApplicable("files and datagrams have no segments")
    async with Rig(case) as rig:
        _, hearing = await rig.open()
        await rig.hear(hearing, case.readings, "in whole segments")
        recorded = bytes(rig.received)
        if not case.replayable:
            whole = [case.essence(reading) for reading in hearing.readings[: case.readings]]
    if case.replayable:
        whole = await _read_again(case, [recorded])
        sliced = await _read_again(case, _sliced(recorded))
    else:
        async with Rig(case) as rig:
            rig.proxy.set("slicer", size=max(1, len(recorded) // SLICED_BYTES))
            _, hearing = await rig.open()
            await rig.hear(hearing, case.readings, "in segments of one byte")
            sliced = [case.essence(reading) for reading in hearing.readings[: case.readings]]
        if not case.in_order:
            whole, sliced = sorted(set(whole), key=repr), sorted(set(sliced), key=repr)
    expect(bool(whole), "nothing was read in whole segments")
    expect(whole == sliced, f"whole segments give\n{whole}\nsingle bytes give\n{sliced}")


def _sliced(recorded: bytes) -> list[bytes]:
    """Cut into single bytes, behind the first ``SLICED_BYTES`` into as many longer pieces."""
    rest = recorded[SLICED_BYTES:]
    size = len(rest) // SLICED_BYTES + 1
    single = [recorded[at : at + 1] for at in range(min(SLICED_BYTES, len(recorded)))]
    return single + [rest[at : at + size] for at in range(0, len(rest), size)]


async def _read_again(case: DriverCase, pieces: list[bytes]) -> list[object]:
    async with served_again(pieces, serial=case.serial) as (place, begin), Rig(case) as rig:
        _, hearing = await rig.open(place)
        begin.set_result(rig.received)
        await rig.until(lambda: hearing.ended, "the end of a replay")
        return [case.essence(item) for item in hearing.items]


async def wall_clock_steps(case: DriverCase) -> None:
    """Wall time set by an hour, forward and back, changes no order and no duration."""
    async with Rig(case) as rig:
        opened = rig.clock.stamp()
        _, hearing = await rig.open()
        offsets = [opened.utc_ns - opened.mono_ns]
        await rig.hear(hearing, 1, "before the clock was set")
        for step_s in (3600.0, -7200.0):
            if rig.dials and hearing.readings:
                break
            rig.clock.step_utc(step_s)
            offsets.append(offsets[-1] + round(step_s * 1e9))
            await rig.hear(hearing, 2, f"after the wall clock was set by {step_s:+.0f} s")
        _expect_sound_stamps(rig, hearing, opened.mono_ns)
        strange = [r for r in hearing.readings if r.stamp.utc_ns - r.stamp.mono_ns not in offsets]
        expect(not strange, f"UTC and monotonic time of one stamp do not belong together: {strange[:1]}")


async def unknown_option_is_refused(case: DriverCase) -> None:
    """A misspelt option is refused and named."""
    sound = {**case.options, **case.address("x" if case.serial else 1)}
    for name in case.spec.options.model_fields:
        wrong = f"{name}x"
        try:
            case.spec.options.model_validate({**sound, wrong: 1})
        except ValidationError as error:
            named = [problem["loc"] for problem in error.errors() if problem["type"] == "extra_forbidden"]
            expect(named == [(wrong,)], f"the unknown option {wrong} is not what is refused: {named}")
        else:
            raise ContractBroken(f"{case.spec.name}: the unknown option {wrong} was accepted")


CHECKS: tuple[Check, ...] = (
    opens_and_identifies,
    readings_fit_the_role,
    closes_clean_and_twice,
    a_hundred_reconnects,
    refused_is_connect_failed,
    cut_in_mid_record,
    half_open_invents_nothing,
    junk_between_records,
    tap_sees_every_byte,
    one_byte_segments,
    wall_clock_steps,
    unknown_option_is_refused,
)
