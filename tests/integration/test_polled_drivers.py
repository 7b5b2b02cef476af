"""The polled portals' drivers against their emulators and against devices that misbehave, on real sockets."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from drivers.api import BadFrame, ConnectFailed, DeviceIdentity, LinkLost, LinkTimeout, ProtocolError
from drivers.readings import Channel, Counts, PortalStatus
from drivers.rpm.aspect.codec import Measured, Monitor, encode
from drivers.rpm.aspect.driver import SPEC as ASPECT
from drivers.rpm.aspect.driver import UNITS
from drivers.rpm.modbus.driver import SPEC as GENERIC
from tests.support.modbus_wire import Wire, asked, foreign_board, refusal, registers
from tests.support.polled import counted, driver_at, emulated, opened, take
from tests.support.portal_map import KNOWN, WHOLE, entry

DESCRIPTOR = [0x4153, 121, 1, 100, 21, 0, 0, 0]
QUIET = Monitor(1_000, 0x01, Measured(0x80, 480, 480.0, 480.0), Measured(0x80, 1, 0.6, 0.6), 7)


class Portal:
    """A portal whose next poll is the test's: its elapsed time runs on unless the test says otherwise."""

    def __init__(self, unit_id: int = 1, descriptor: list[int] | None = None) -> None:
        self.unit_id = unit_id
        self.descriptor = DESCRIPTOR if descriptor is None else descriptor
        self.monitor = QUIET
        self.runs = True
        self.polls = 0
        self.moves_every = 1
        """Polls from one time to the next."""
        self.refuses: set[int] = set()
        """Polls, from 1, that it refuses."""
        self.asked: list[tuple[int, int, int]] = []

    def __call__(self, request: bytes) -> bytes | None:
        unit, address, count = asked(request)
        self.asked.append((unit, address, count))
        if unit != self.unit_id:
            return refusal(request, 11)
        if address == 0:
            return registers(request, self.descriptor) if self.descriptor else refusal(request, 2)
        self.polls += 1
        if self.polls in self.refuses:
            return refusal(request, 4)
        if self.runs and self.polls % self.moves_every == 0:
            self.monitor = replace(self.monitor, elapsed=self.monitor.elapsed + 200)
        return registers(request, [*encode(self.monitor), *[0] * (count - 21)])


def statuses(items: list[Any]) -> list[PortalStatus]:
    return [item for item in items if isinstance(item, PortalStatus)]


# --- the Aspect portal ----------------------------------------------------------------------------


async def test_the_whole_monitor_block_is_one_request_and_every_fresh_poll_is_told() -> None:
    portal = Portal()
    async with foreign_board(portal) as port, opened(driver_at(port, poll_s=0.05)) as driver:
        items = await take(driver, 20)
    assert portal.asked[0] == (1, 0, 8)
    assert set(portal.asked[1:]) == {(1, 100, 21)}
    assert portal.polls == 1 + len(statuses(items)) == 6, "the first one is that of open()"
    assert {type(item).__name__ for item in items} == {"PortalStatus", "Counts", "Speed"}


@pytest.mark.parametrize(
    ("descriptor", "block"),
    [
        ([1, 0, 0, 300, 30, 0, 0, 0], (300, 30)),
        ([1, 0, 0, 4, 9, 0, 0, 0], (100, 21)),
        ([], (100, 21)),
    ],
)
async def test_the_block_is_where_the_descriptor_says_if_that_is_plausible(
    descriptor: list[int], block: tuple[int, int]
) -> None:
    portal = Portal(descriptor=descriptor)
    async with foreign_board(portal) as port, opened(driver_at(port)) as driver:
        await take(driver, 1)
    assert portal.asked[1][1:] == block


async def test_row_12_unit_32_is_found() -> None:
    """Defect 12 of the peer driver (radiation.md, section 8): its search ended at 31."""
    async with emulated(unit_id=32) as (_, port):
        driver, memory = driver_at(port, memory={}), {}
        assert await driver.open() == DeviceIdentity(model="unit 32, signature 4153")
        await driver.close()
        driver = driver_at(port, memory=memory)
        await driver.open()
        await driver.close()
        assert memory["unit"] == 32
        wire = Wire()
        async with opened(driver_at(port, wire=wire, memory=memory)):
            assert wire.tx[6] == 32, "a later link begins with the unit that was found"


async def test_a_unit_that_is_silent_or_hangs_up_is_passed_over() -> None:
    portal = Portal(unit_id=3)

    def answer(request: bytes) -> bytes | None:
        unit, _, _ = asked(request)
        return b"" if unit == 1 else None if unit == 2 else portal(request)

    memory: dict[str, Any] = {}
    async with foreign_board(answer) as port:
        with pytest.raises(ConnectFailed):  # unit 2 hung up
            await driver_at(port, memory=memory, timeout_s=0.1).open()
        driver = driver_at(port, memory=memory, timeout_s=0.1)
        assert (await driver.open()).model.startswith("unit 3")
        await driver.close()


async def test_silence_of_many_units_ends_no_link() -> None:
    portal = Portal(unit_id=9)
    async with foreign_board(lambda request: portal(request) if asked(request)[0] == 9 else b"") as port:
        async with opened(driver_at(port, timeout_s=0.03)) as driver:
            assert isinstance((await take(driver, 1))[0], PortalStatus)


async def test_a_search_that_takes_too_long_goes_on_with_the_next_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("drivers.rpm.aspect.driver.SCAN_LIMIT_S", 0.25)
    memory: dict[str, Any] = {}
    async with foreign_board(lambda request: b"") as port:
        with pytest.raises(
            ConnectFailed, match=r"the search goes on with unit \d; give unit_id if it is known"
        ):
            await driver_at(port, memory=memory, timeout_s=0.1).open()
        reached = memory["unit"]
        assert 2 <= reached <= 6
        with pytest.raises(ConnectFailed):
            await driver_at(port, memory=memory, timeout_s=0.1).open()
        assert memory["unit"] > reached


async def test_where_no_unit_is_a_portal_the_range_is_named() -> None:
    seen: list[int] = []

    def answer(request: bytes) -> bytes:
        seen.append(asked(request)[0])
        return refusal(request, 2 if seen[-1] == 7 else 11)

    async with foreign_board(answer) as port:
        with pytest.raises(ConnectFailed, match="has no portal among the units 1 to 32; check the portal"):
            await driver_at(port).open()
    assert sorted(set(seen)) == list(UNITS) == list(range(1, 33))


async def test_a_unit_of_the_lane_file_that_is_no_portal_is_named() -> None:
    async with foreign_board(lambda request: refusal(request, 2)) as port:
        with pytest.raises(
            ProtocolError, match=r"unit 5, answered the first poll with modbus_exception \(.*83 02"
        ):
            await driver_at(port, unit_id=5).open()
    async with foreign_board(lambda request: b"") as port:
        with pytest.raises(ConnectFailed, match=r"did not answer within 0\.3 s"):
            await driver_at(port, unit_id=5).open()


async def test_row_10_an_exception_publishes_nothing_and_three_in_a_row_end_the_link() -> None:
    """Defect 10 of the peer driver (radiation.md, section 8): it told the old values again, as fresh ones."""
    portal = Portal()
    portal.refuses = {3, 4, 6, 7, 8}  # the first one is that of open()
    heard: list[Any] = []
    async with foreign_board(portal) as port, opened(driver_at(port, poll_s=0.05)) as driver:
        with pytest.raises(
            LinkTimeout, match="3 polls in a row, the last with a modbus_exception; check the"
        ):
            async for item in driver.readings():
                heard.append(item)
    kinds = ["bad" if isinstance(item, BadFrame) else type(item).__name__ for item in heard]
    told = ["PortalStatus", "Counts", "Counts", "Speed"]
    assert kinds == [*told, "bad", "bad", *told, "bad", "bad", "bad"]
    assert {item.kind for item in heard if isinstance(item, BadFrame)} == {"modbus_exception"}


async def test_a_portal_whose_time_stands_still_is_lost_until_it_moves() -> None:
    portal, memory = Portal(), dict[str, Any]()
    async with foreign_board(portal) as port:
        async with opened(driver_at(port, poll_s=0.05, memory=memory)) as driver:
            await take(driver, 1)
        portal.runs = False
        for _ in range(2):  # a new link finds the same old time
            async with opened(driver_at(port, poll_s=0.05, memory=memory)) as driver:
                with pytest.raises(LinkTimeout, match=r"elapsed time has stood still for \d+ polls"):
                    raise AssertionError(f"an old value was told: {await take(driver, 1)}")
        portal.runs = True
        async with opened(driver_at(port, poll_s=0.05, memory=memory)) as driver:
            (status,) = await take(driver, 1)
            assert isinstance(status, PortalStatus)


async def test_a_portal_that_counts_whole_seconds_is_not_lost() -> None:
    portal = Portal()
    portal.moves_every = 5
    async with foreign_board(portal) as port, opened(driver_at(port, poll_s=0.2, **KNOWN)) as driver:
        items = await take(driver, 9)
    told = statuses(items)
    assert len(told) >= 3, "told when the time moved, over four polls that showed the same"
    gamma = [item for item in items if isinstance(item, Counts) and item.channel is Channel.GAMMA]
    assert (None,) in {item.counts for item in gamma}, (
        "what was counted meanwhile is lost, and is not left out"
    )
    assert not [item for item in items if isinstance(item, Counts) and item.channel is Channel.NEUTRON]


async def test_one_poll_that_shows_the_same_time_is_no_second_count_and_its_new_alarm_is_told() -> None:
    portal = Portal()
    async with foreign_board(portal) as port, opened(driver_at(port, poll_s=0.05)) as driver:
        readings = driver.readings()
        for _ in range(4):
            await anext(readings)
        portal.runs = False
        portal.monitor = replace(portal.monitor, gamma=replace(portal.monitor.gamma, status=0x81))
        status = await anext(readings)
        assert isinstance(status, PortalStatus)
        assert status.gamma_alarm
        portal.runs = True
        while not isinstance(item := await anext(readings), Counts):
            pass
        assert item.stamp.mono_ns > status.stamp.mono_ns, "no counts of the poll that stood still"


async def test_numbers_that_are_none_are_bad_frames_and_the_rest_of_the_poll_is_told() -> None:
    async with emulated(unit_id=1, **KNOWN) as (emulator, port):
        emulator.fault("stuck_beam", on=True)
        emulator.fault("negative_count", on=True)
        async with opened(driver_at(port, unit_id=1, **KNOWN)) as driver:
            await counted(emulator)
            items = await take(driver, 12)
    bad = [item for item in items if isinstance(item, BadFrame)]
    assert {frame.kind for frame in bad} == {"negative_count"}
    assert len(bad) >= 3
    assert all(frame.head[7:9] == b"\x03\x2a" for frame in bad), "the answer as it came"
    assert statuses(items), "the link lives"
    gamma = [item.counts for item in items if isinstance(item, Counts) and item.channel is Channel.GAMMA]
    assert set(gamma) == {(None,)}


async def test_an_answer_of_another_length_is_no_poll() -> None:
    def answer(request: bytes) -> bytes:
        _, address, count = asked(request)
        return registers(request, DESCRIPTOR if address == 0 else [0] * (count - 1))

    async with foreign_board(answer) as port:
        with pytest.raises(ProtocolError, match="answered the first poll with wrong_answer"):
            await driver_at(port, unit_id=1).open()


async def test_the_end_of_the_link_is_known_at_once_and_close_ends_the_readings() -> None:
    async with emulated() as (emulator, port), opened(driver_at(port)) as driver:
        readings = driver.readings()
        await anext(readings)
        stopping = asyncio.create_task(emulator.stop())
        with pytest.raises(LinkLost, match="ended the connection"):
            while True:
                await anext(readings)
        await stopping


async def test_the_emulator_tells_its_state_and_its_faults() -> None:
    async with emulated() as (emulator, port), opened(driver_at(port)) as driver:
        emulator.fault("wrong_unit", on=True)
        assert emulator.state()["faults"] == ["wrong_unit"]
        with pytest.raises(LinkTimeout, match="the last with no answer"):
            await take(driver, 99)
        emulator.fault("wrong_unit", on=False)
        assert emulator.state()["gamma_background"] == pytest.approx(480, rel=0.05)


# --- the portal behind a map ----------------------------------------------------------------------


async def test_a_map_is_read_in_its_few_requests() -> None:
    wire = Wire()
    async with emulated(GENERIC, map=WHOLE, **KNOWN) as (emulator, port):
        emulator.fault("stuck_beam", on=True)
        await counted(emulator)
        async with opened(driver_at(port, GENERIC, wire, map=WHOLE, **KNOWN)) as driver:
            items = await take(driver, 3)
    requests = {wire.tx[start + 6 : start + 12] for start in range(0, len(wire.tx), 12)}
    assert len(requests) == 7
    status, gamma, speed = items
    assert isinstance(status, PortalStatus)
    assert (status.occupied, status.gamma_alarm, status.fault, status.tamper) == (True, False, False, False)
    assert isinstance(gamma, Counts)
    assert len(gamma.counts) == 4
    assert gamma.total == pytest.approx(480, abs=130)
    assert gamma.windows is None
    assert type(speed).__name__ == "Speed"


async def test_an_address_that_the_portal_does_not_have_is_named() -> None:
    async with emulated(GENERIC, map=WHOLE) as (_, port):
        wrong = [*WHOLE[1:], entry("occupied", 3, 500, "u16")]
        with pytest.raises(
            ProtocolError,
            match=r"function 3 for the addresses 500 to 500 of unit 1 with modbus_exception .*83 02",
        ):
            await driver_at(port, GENERIC, map=wrong).open()
    with pytest.raises(ConnectFailed, match="does not accept a connection"):
        await driver_at(port, GENERIC, map=WHOLE).open()
    async with foreign_board(lambda request: b"") as silent:
        with pytest.raises(ConnectFailed, match="did not answer"):
            await driver_at(silent, GENERIC, map=WHOLE).open()


async def test_a_refused_request_is_a_poll_that_failed() -> None:
    async with emulated(GENERIC, map=WHOLE) as (emulator, port):
        async with opened(driver_at(port, GENERIC, map=WHOLE, poll_s=0.05)) as driver:
            readings = driver.readings()
            assert isinstance(await anext(readings), PortalStatus)
            emulator.fault("modbus_exception", on=True)
            frames = []
            with pytest.raises(LinkTimeout, match="check the portal's own state, unit_id and the addresses"):
                async for item in readings:
                    frames.append(item)
            assert {frame.kind for frame in frames if isinstance(frame, BadFrame)} == {"modbus_exception"}


async def test_numbers_that_are_none_leave_their_panels_unknown() -> None:
    async with emulated(GENERIC, map=WHOLE, **KNOWN) as (emulator, port):
        emulator.fault("stuck_beam", on=True)
        emulator.fault("negative_count", on=True)
        await counted(emulator)
        async with opened(driver_at(port, GENERIC, map=WHOLE, **KNOWN)) as driver:
            items = await take(driver, 6)
    assert [item.kind for item in items if isinstance(item, BadFrame)] == ["negative_count"] * 3
    (gamma,) = (item for item in items if isinstance(item, Counts))
    assert [count is None for count in gamma.counts] == [False, True, False, True]
    assert gamma.total is None


def test_the_specs_name_their_emulators() -> None:
    assert [spec.simulator for spec in (ASPECT, GENERIC)] == [
        "drivers.rpm.aspect.sim:AspectEmulator",
        "drivers.rpm.modbus.sim:ModbusPortalEmulator",
    ]
