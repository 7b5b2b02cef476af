"""The Modbus driver against the emulated I/O board, and against boards that misbehave, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
import time
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import pytest

from drivers.api import (
    BadFrame,
    CommandRefused,
    ConnectFailed,
    DeviceIdentity,
    DriverContext,
    LinkLost,
    LinkTimeout,
    ProtocolError,
)
from drivers.geometry import LaneGeometry
from drivers.io.modbus.codec import COILS, INPUTS
from drivers.io.modbus.driver import ModbusIo, ModbusIoOptions
from drivers.io.modbus.sim import ModbusEmulator
from drivers.plant.clock import PlantClock
from drivers.plant.vehicle import Scenario, Vehicle
from drivers.plant.world import Plant
from drivers.readings import Inputs
from tests.support.modbus_wire import Wire, foreign_board

PLACES = LaneGeometry(
    entry_loop_m=-2.0, portal_m=4.0, portal_beams_m=(3.5, 4.5), lpr_m=5.0, scan_plane_m=8.0,
    booth_loop_m=19.0, stop_line_m=21.0, barrier_m=22.0, exit_loop_m=24.0,
)  # fmt: skip
TRUCK = Vehicle(name="clean", plate="R4K 7719", length_m=12, speed_mps=4)
AT_REST = {name: name in ("barrier_down", "estop_ok", "cabinet_closed") for name in INPUTS}


def driver_at(port: int, wire: Wire | None = None, **options: Any) -> ModbusIo:
    context = DriverContext("io1", PlantClock(), logging.getLogger("io1"), (wire or Wire()).tap)
    return ModbusIo(ModbusIoOptions.model_validate({"port": port, **options}), context)


@contextlib.asynccontextmanager
async def board(**options: Any) -> AsyncIterator[tuple[ModbusEmulator, int]]:
    clock = PlantClock()
    plant = Plant(PLACES, Scenario(title="one truck", truck=(TRUCK,)), clock)
    emulator = ModbusEmulator(ModbusIoOptions.model_validate(options), plant, clock, seed=1)
    port = await emulator.start()
    try:
        yield emulator, port
    finally:
        await emulator.stop()


@contextlib.asynccontextmanager
async def opened(driver: ModbusIo) -> AsyncIterator[ModbusIo]:
    await driver.open()
    try:
        yield driver
    finally:
        await driver.close()


async def take(driver: ModbusIo, count: int) -> list[Inputs | BadFrame]:
    items = []
    async for item in driver.readings():
        items.append(item)
        if len(items) == count:
            break
    return items


async def inputs_when(driver: ModbusIo, true: Callable[[dict[str, bool]], bool]) -> dict[str, bool]:
    async with asyncio.timeout(10):
        async for item in driver.readings():
            assert isinstance(item, Inputs)
            if true(dict(item.values)):
                return dict(item.values)
    raise AssertionError("the readings ended")


# --- what a healthy board says --------------------------------------------------------------------


async def test_the_board_tells_who_it_is_and_every_poll_is_a_fresh_reading() -> None:
    async with board() as (_, port):
        driver = driver_at(port)
        assert await driver.open() == DeviceIdentity("Carril", "emulated I/O board", "", "1")
        items = await take(driver, 5)
        await driver.close()
    stamps = [item.stamp.mono_ns for item in items if isinstance(item, Inputs)]
    assert [item.values for item in items if isinstance(item, Inputs)] == [AT_REST] * 5
    assert all(later - earlier > 30e6 for earlier, later in pairwise(stamps))


async def test_the_tap_sees_each_byte_once() -> None:
    wire = Wire()
    async with board() as (_, port), opened(driver_at(port, wire, identify=False)) as driver:
        await take(driver, 1)
    request = bytes.fromhex("0001 0000 0006 01 02 0000 0008")
    assert wire.tx == request + b"\x00\x02" + request[2:]
    answer = bytes.fromhex("0001 0000 0004 01 02 01 d0")
    assert wire.rx == answer + b"\x00\x02" + answer[2:]


async def test_a_written_permit_raises_the_arm() -> None:
    async with board() as (emulator, port), opened(driver_at(port)) as driver:
        await driver.write({"raise_permit": True, "watchdog": True}, deadline_s=1)
        await inputs_when(driver, lambda inputs: inputs["barrier_up"])
        assert emulator.state()["coils"]["raise_permit"]
        assert emulator.state()["arm"] == 1


async def test_neighbouring_coils_are_one_write_and_no_other_coil_is_touched() -> None:
    async with board() as (emulator, port), opened(driver_at(port)) as driver:
        await driver.write({"beacon": True, "horn": False, "green": True}, deadline_s=1)
        assert [(write.address, write.bits) for write in emulator.writes] == [
            (0, (True,)),
            (3, (False, True)),
        ]


async def test_another_map_and_unit_on_both_sides() -> None:
    other = {
        "unit_id": 17,
        "coils": {"green": 40, "watchdog": 3},
        "inputs": {"estop_ok": 100, "obstruction": 9},
        "normally_closed": ["obstruction"],
    }
    async with board(**other) as (emulator, port), opened(driver_at(port, **other)) as driver:
        assert [item.values for item in await take(driver, 1) if isinstance(item, Inputs)] == [
            {"estop_ok": True, "obstruction": False}
        ]
        await driver.write({"green": True}, deadline_s=1)
        assert emulator.writes[0].address == 40
        with pytest.raises(
            CommandRefused, match="'horn' is not in the coil map; allowed are green, watchdog"
        ):
            await driver.write({"green": False, "horn": True}, deadline_s=1)
        assert len(emulator.writes) == 1, "a refused command writes nothing at all"


async def test_contacts_of_a_portal_come_with_its_name_and_a_cut_wire_is_told() -> None:
    wired = {"alarm_gamma": 8, "alarm_neutron": 11, "fault": 9, "occupancy": 12, "tamper": 10}
    portals = {"rpm1": {**wired, "normally_open": ["alarm_gamma"]}}
    async with board(portals=portals) as (emulator, port), opened(driver_at(port, portals=portals)) as driver:
        (first,) = await take(driver, 1)
        assert isinstance(first, Inputs)
        assert dict(first.values) == AT_REST | {f"rpm1.{name}": False for name in wired}
        for contact in wired:
            emulator.fault(f"cut_wire:{contact}", on=True)
        values = await inputs_when(driver, lambda values: values["rpm1.fault"])
        assert {name for name in wired if not values[f"rpm1.{name}"]} == {"alarm_gamma"}


async def test_an_unlisted_coil_is_refused_before_anything_is_sent() -> None:
    wire = Wire()
    async with board() as (_, port), opened(driver_at(port, wire)) as driver:
        sent = len(wire.tx)
        with pytest.raises(
            CommandRefused, match=r"output 'gren' is not in the coil map; did you mean green\?"
        ):
            await driver.write({"gren": True}, deadline_s=1)
        assert len(wire.tx) == sent


# --- faults of the board --------------------------------------------------------------------------


async def test_a_refused_poll_publishes_nothing_and_three_in_a_row_end_the_link() -> None:
    """F19; peers republish the old values as fresh."""
    async with board() as (emulator, port), opened(driver_at(port)) as driver:
        readings = driver.readings()
        assert isinstance(await anext(readings), Inputs)
        emulator.fault("modbus_exception", on=True)
        for _ in range(3):
            frame = await anext(readings)
            assert isinstance(frame, BadFrame)
            assert (frame.kind, frame.head[6:]) == ("modbus_exception", b"\x01\x82\x04")
        with pytest.raises(LinkTimeout, match="3 polls in a row, the last with a modbus_exception"):
            await anext(readings)


async def test_one_refused_poll_is_forgiven() -> None:
    async with board() as (emulator, port), opened(driver_at(port)) as driver:
        kinds = []
        readings = driver.readings()
        for number in range(12):
            emulator.fault("modbus_exception", on=number % 3 != 0)
            kinds.append(type(await anext(readings)))
        assert kinds == [Inputs, BadFrame, BadFrame] * 4


async def test_a_refused_write_says_why() -> None:
    async with board() as (emulator, port), opened(driver_at(port)) as driver:
        emulator.fault("modbus_exception", on=True)
        with pytest.raises(CommandRefused, match=r"refused green: device failure \(4\)"):
            await driver.write({"green": True}, deadline_s=1)
        assert not emulator.writes


async def test_answers_of_another_unit_are_no_answers() -> None:
    async with board() as (emulator, port), opened(driver_at(port, timeout_s=0.1)) as driver:
        emulator.fault("wrong_unit", on=True)
        with pytest.raises(LinkTimeout, match="3 polls in a row, the last with no answer"):
            await take(driver, 1)


async def test_a_unit_that_does_not_exist_is_named_when_the_link_opens() -> None:
    async with board() as (_, port):
        with pytest.raises(ProtocolError, match=r"modbus_exception .*82 0b.*check unit_id"):
            await driver_at(port, unit_id=9).open()


async def test_inputs_that_do_not_exist_are_named_when_the_link_opens() -> None:
    async with board() as (_, port):
        with pytest.raises(ProtocolError, match=r"82 02.*check unit_id and the addresses of inputs"):
            await driver_at(port, inputs={"entry_loop": 900}).open()


async def test_frozen_inputs_stay_the_same_while_the_arm_moves() -> None:
    async with board() as (emulator, port), opened(driver_at(port)) as driver:
        emulator.fault("frozen", on=True)
        await driver.write({"raise_permit": True, "watchdog": True}, deadline_s=1)
        async with asyncio.timeout(10):
            while emulator.state()["arm"] < 1:
                (item,) = await take(driver, 1)
                assert isinstance(item, Inputs)
                assert item.values == AT_REST


async def test_the_emulator_knows_its_faults() -> None:
    async with board() as (emulator, _):
        with pytest.raises(ValueError, match="no fault 'frost'; it has arm_moves_unordered, arm_stuck"):
            emulator.fault("frost", on=True)
        emulator.fault("estop", on=True)
        assert emulator.state()["faults"] == ["estop"]


async def test_a_silent_station_drops_the_coils_on_the_board() -> None:
    """F30: the safe state does not need the station."""
    async with board() as (emulator, port), opened(driver_at(port)) as driver:
        await driver.write(dict.fromkeys(COILS, True), deadline_s=1)
        begun_s = time.monotonic()
        await inputs_when(driver, lambda inputs: inputs["barrier_up"])
        await inputs_when(driver, lambda _: not any(emulator.state()["coils"].values()))
        # After 2 s to the scan (tests/unit/test_plc.py); a busy machine may notice later.
        assert 1.8 < time.monotonic() - begun_s < 4
        assert not emulator.state()["watchdog_alive"]


# --- faults of the link ---------------------------------------------------------------------------


async def test_nobody_there() -> None:
    async with board() as (_, port):
        pass
    with pytest.raises(ConnectFailed, match="does not accept a connection; check its power"):
        await driver_at(port).open()


async def test_a_lost_link_is_known_at_once() -> None:
    async with board() as (emulator, port), opened(driver_at(port, timeout_s=5)) as driver:
        readings = driver.readings()
        await anext(readings)
        stopping = asyncio.create_task(emulator.stop())
        begun_s = time.monotonic()
        with pytest.raises(LinkLost, match="ended the connection"):
            while True:
                await anext(readings)
        assert time.monotonic() - begun_s < 1
        await stopping
        with pytest.raises(LinkLost):
            await driver.write({"green": True}, deadline_s=1)


async def test_a_link_lost_while_waiting_for_an_answer_ends_poll_and_write_at_once() -> None:
    polls = 0

    def answer_once_then_hang(request: bytes) -> bytes | None:
        nonlocal polls
        polls += 1
        return bytes.fromhex("0001 0000 0004 01 02 01 d0") if polls == 1 else b""

    async with foreign_board(answer_once_then_hang) as port:
        async with opened(driver_at(port, timeout_s=5, identify=False)) as driver:
            poll = asyncio.create_task(anext(driver.readings()))
            write = asyncio.create_task(driver.write({"green": True}, deadline_s=4))
            await asyncio.sleep(0.05)
            begun_s = time.monotonic()
            await driver.close()
            for task in (poll, write):
                with pytest.raises(LinkLost, match="was closed by us"):
                    await task
            assert time.monotonic() - begun_s < 0.5


async def test_a_request_on_a_link_that_has_just_ended_opens_no_other() -> None:
    links = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal links
        links += 1
        while request := await reader.read(12):
            writer.write(request[:2] + bytes.fromhex("0000 0004 01 02 01 d0"))
        writer.close()

    async with await asyncio.start_server(count, "127.0.0.1", 0) as server:
        driver = driver_at(server.sockets[0].getsockname()[1], identify=False)
        await driver.open()
        poll = asyncio.create_task(anext(driver.readings()))
        await asyncio.sleep(0)  # the request is under way in the library, and not yet sent
        await driver.close()
        with pytest.raises(LinkLost):
            await poll
        await asyncio.sleep(0.1)
        assert links == 1


async def test_a_board_that_accepts_but_never_answers() -> None:
    async with foreign_board(lambda request: b"") as port:
        driver = driver_at(port, timeout_s=0.1)
        with pytest.raises(ConnectFailed, match=r"did not answer within 0\.1 s"):
            await driver.open()


async def test_a_write_that_nobody_confirms_ends_at_its_deadline() -> None:
    def answer_reads_only(request: bytes) -> bytes:
        return request[:2] + bytes.fromhex("0000 0004 01 02 01 d0") if request[7] == 2 else b""

    async with foreign_board(answer_reads_only) as port:
        async with opened(driver_at(port, timeout_s=5, identify=False)) as driver:
            begun_s = time.monotonic()
            with pytest.raises(LinkTimeout, match=r"did not confirm green within 0\.2 s"):
                await driver.write({"green": True}, deadline_s=0.2)
            assert time.monotonic() - begun_s < 1
            (item,) = await take(driver, 1)
            assert isinstance(item, Inputs), "the next poll is not confused by it"


@pytest.mark.parametrize(
    ("what", "pdu"),
    [
        ("two bytes for eight inputs", "02 02 d0 00"),
        ("no byte at all", "02 00"),
        ("coils instead of inputs", "01 01 d0"),
    ],
)
async def test_an_answer_that_fits_no_question_is_a_bad_frame(what: str, pdu: str) -> None:
    wrong = bytes.fromhex(pdu)
    good = bytes.fromhex("02 01 d0")
    polls = 0

    def answer(request: bytes) -> bytes:
        nonlocal polls
        polls += 1
        reply = good if polls == 1 else wrong
        return request[:4] + struct.pack(">HB", len(reply) + 1, 1) + reply

    async with foreign_board(answer) as port, opened(driver_at(port, identify=False)) as driver:
        (frame,) = await take(driver, 1)
        assert isinstance(frame, BadFrame)
        assert (frame.kind, frame.offset, frame.head[7:]) == ("wrong_answer", 10, wrong)


async def test_an_answer_to_another_transaction_is_dropped() -> None:
    def answer(request: bytes) -> bytes:
        stale = b"\x7f\x7f" + bytes.fromhex("0000 0004 01 02 01 00")
        return stale + request[:2] + bytes.fromhex("0000 0004 01 02 01 d0")

    async with foreign_board(answer) as port, opened(driver_at(port, identify=False)) as driver:
        (item,) = await take(driver, 1)
        assert isinstance(item, Inputs)
        assert item.values == AT_REST


async def test_a_confirmation_of_something_else_is_no_confirmation() -> None:
    def answer(request: bytes) -> bytes:
        if request[7] == 2:
            return request[:2] + bytes.fromhex("0000 0004 01 02 01 d0")
        return request[:2] + bytes.fromhex("0000 0006 01 0f 0003 0001")

    async with foreign_board(answer) as port, opened(driver_at(port, identify=False)) as driver:
        with pytest.raises(CommandRefused, match="did not confirm green"):
            await driver.write({"green": True}, deadline_s=1)


async def test_a_board_without_identification_has_none() -> None:
    def answer(request: bytes) -> bytes:
        if request[7] == 2:
            return request[:2] + bytes.fromhex("0000 0004 01 02 01 d0")
        return request[:2] + bytes.fromhex("0000 0003 01 ab 01")

    async with foreign_board(answer) as port:
        driver = driver_at(port)
        assert await driver.open() == DeviceIdentity()
        await driver.close()


async def test_a_board_that_ignores_the_question_who_it_is_still_opens() -> None:
    def answer(request: bytes) -> bytes:
        return request[:2] + bytes.fromhex("0000 0004 01 02 01 d0") if request[7] == 2 else b""

    async with foreign_board(answer) as port:
        driver = driver_at(port, timeout_s=0.1)
        assert await driver.open() == DeviceIdentity()
        await driver.close()


async def test_garbage_ends_the_link_and_not_the_program() -> None:
    polls = 0

    def answer(request: bytes) -> bytes:
        nonlocal polls
        polls += 1
        if polls == 1:
            return request[:2] + bytes.fromhex("0000 0004 01 02 01 d0")
        return request[:2] + bytes.fromhex("0000 0004 01 63 ff ff")  # a function that does not exist

    async with foreign_board(answer) as port, opened(driver_at(port, identify=False)) as driver:
        with pytest.raises(LinkLost):
            await take(driver, 1)


async def test_close_is_idempotent_and_safe_before_open() -> None:
    driver = driver_at(1)
    await driver.close()
    with pytest.raises(LinkLost, match="has not been opened"):
        await driver.write({"green": True}, deadline_s=1)
    async with board() as (_, port):
        driver = driver_at(port)
        await driver.open()
        await driver.close()
        await driver.close()
