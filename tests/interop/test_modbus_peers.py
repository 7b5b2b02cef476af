"""Other people's Modbus: mbpoll (libmodbus) against our board, pymodbus' own simulator against our driver."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from drivers.api import CommandRefused, DriverContext, ProtocolError
from drivers.geometry import LaneGeometry
from drivers.io.modbus.driver import ModbusIo, ModbusIoOptions
from drivers.io.modbus.sim import ModbusEmulator
from drivers.plant.clock import PlantClock
from drivers.plant.vehicle import Scenario, Vehicle
from drivers.plant.world import Plant
from drivers.readings import Inputs
from tests.support.modbus_peers import mbpoll, their_board

PLACES = LaneGeometry(
    entry_loop_m=-2.0, portal_m=4.0, portal_beams_m=(3.5, 4.5), lpr_m=5.0, scan_plane_m=8.0,
    booth_loop_m=19.0, stop_line_m=21.0, barrier_m=22.0, exit_loop_m=24.0,
)  # fmt: skip
TRUCK = Vehicle(name="clean", plate="R4K 7719")


# --- mbpoll reads and writes our emulator ---------------------------------------------------------


@contextlib.asynccontextmanager
async def our_board() -> AsyncIterator[tuple[ModbusEmulator, int]]:
    clock = PlantClock()
    plant = Plant(PLACES, Scenario(title="one truck", truck=(TRUCK,)), clock)
    emulator = ModbusEmulator(ModbusIoOptions(), plant, clock, seed=1)
    try:
        yield emulator, await emulator.start()
    finally:
        await emulator.stop()


def bits_of(output: str) -> list[int]:
    """The values of lines such as ``[3]: 	1``."""
    return [int(line.split(":")[1]) for line in output.splitlines() if line.startswith("[")]


async def read_in_time(port: int, switches: str, wanted: list[int]) -> None:
    """Ask until the board says so: it takes an order up when it next looks."""
    async with asyncio.timeout(10):
        while bits_of(await mbpoll(port, switches)) != wanted:
            pass


async def test_mbpoll_reads_our_inputs() -> None:
    async with our_board() as (emulator, port):
        emulator.fault("stuck_loop:exit_loop", on=True)
        await read_in_time(port, "-t 1 -r 0 -c 8 -1", [0, 0, 1, 0, 1, 0, 1, 1])


async def test_mbpoll_writes_one_coil_and_then_several() -> None:
    async with our_board() as (emulator, port):
        output = await mbpoll(port, "-t 0 -r 4", 1)
        assert "Written 1 references" in output
        assert emulator.writes[-1].address == 4
        assert emulator.writes[-1].bits == (True,)
        await mbpoll(port, "-t 0 -r 1", 1, 0, 1)
        assert emulator.writes[-1].bits == (True, False, True)
        coils = [0, 1, 0, 1, 1, 0, 0]
        await read_in_time(port, "-t 0 -r 0 -c 7 -1", coils)
        assert list(emulator.state()["coils"].values()) == [bool(coil) for coil in coils]


async def test_mbpoll_is_told_of_an_address_that_does_not_exist() -> None:
    async with our_board() as (_, port):
        assert "Illegal data address" in await mbpoll(port, "-t 1 -r 500 -c 8 -1")


# --- our driver reads pymodbus' own simulator -----------------------------------------------------

# One memory for all kinds of access, as many small boards have it: bit b of register r is address 16 r + b.
DEVICE = {
    "setup": {
        "co size": 64, "di size": 64, "hr size": 64, "ir size": 64,
        "shared blocks": True,
        "type exception": False,
        "defaults": {
            "value": {"bits": 0, "uint16": 0, "uint32": 0, "float32": 0.0, "float64": 0.0, "string": " "},
            "action": dict.fromkeys(("bits", "uint16", "uint32", "float32", "float64", "string")),
        },
    },
    "invalid": [[40, 63]],
    "write": [[20, 20]],
    "bits": [{"addr": 12, "value": 0b1010_0001}, {"addr": 20, "value": 0}, {"addr": 21, "value": 0}],
    "uint16": [], "uint32": [], "float32": [], "float64": [], "string": [], "repeat": [],
}  # fmt: skip


def our_driver(port: int, **options: Any) -> ModbusIo:
    context = DriverContext("io1", PlantClock(), logging.getLogger("io1"), lambda direction, data: None)
    return ModbusIo(ModbusIoOptions.model_validate({"port": port, "unit_id": 7, **options}), context)


async def test_our_driver_reads_and_writes_a_foreign_board() -> None:
    inputs = {"entry_loop": 192, "booth_loop": 193, "barrier_up": 197, "estop_ok": 199, "obstruction": 320}
    coils = {"green": 320, "raise_permit": 321, "watchdog": 336}
    async with their_board(DEVICE) as port:
        driver = our_driver(port, inputs=inputs, coils=coils)
        await driver.open()
        readings = driver.readings()
        first = await anext(readings)
        assert isinstance(first, Inputs)
        assert first.values == {
            "entry_loop": True,
            "booth_loop": False,
            "barrier_up": True,
            "estop_ok": True,
            "obstruction": False,
        }
        await driver.write({"green": True, "raise_permit": True}, deadline_s=1)
        second = await anext(readings)
        assert isinstance(second, Inputs)
        assert second.values["obstruction"], "input 320 is the same bit as coil 320 there"
        with pytest.raises(CommandRefused, match="refused watchdog: illegal data address"):
            await driver.write({"watchdog": True}, deadline_s=1)
        await driver.close()


async def test_our_driver_names_what_a_foreign_board_does_not_have() -> None:
    async with their_board(DEVICE) as port:
        with pytest.raises(ProtocolError, match="check unit_id and the addresses of inputs"):
            await our_driver(port, inputs={"entry_loop": 16 * 40}).open()
