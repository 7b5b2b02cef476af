"""Polled portals and other people's Modbus: mbpoll reads our emulators, our drivers pymodbus' simulator."""

from __future__ import annotations

from typing import Any

import pytest

from drivers.api import ConnectFailed
from drivers.readings import Channel, Counts, PortalStatus, Speed
from drivers.rpm.modbus.driver import SPEC as GENERIC
from tests.support.modbus_peers import mbpoll, their_board
from tests.support.polled import counted, driver_at, emulated, opened, take
from tests.support.portal_map import KNOWN, WHOLE, entry

# --- mbpoll reads our emulators -------------------------------------------------------------------


def values_of(output: str) -> list[float]:
    """The values of lines such as ``[106]: 	479.93``."""
    found = [line.split(":")[1].split()[0] for line in output.splitlines() if line.startswith("[")]
    return [float(value) for value in found]


async def test_mbpoll_reads_our_aspect_portal_its_low_words_first() -> None:
    async with emulated(unit_id=32, **KNOWN) as (emulator, port):
        emulator.fault("stuck_beam", on=True)
        emulator.fault("counter_jump", on=True)
        await counted(emulator)

        async def read(switches: str) -> list[float]:
            return values_of(await mbpoll(port, f"{switches} -1", unit_id=32))

        assert (await read("-t 4 -r 0 -c 8"))[3:5] == [100, 21]
        assert len(await read("-t 4 -r 100 -c 21")) == 21, "the whole block in one request"
        (elapsed,) = await read("-t 4:int -r 100 -c 1")
        assert elapsed > 250
        (counts,) = await read("-t 4:int -r 104 -c 1")
        assert counts == pytest.approx(480, abs=130)
        background, variance = await read("-t 4:float -r 106 -c 2")
        assert background == variance == pytest.approx(480, rel=0.05)
        (neutron_background,) = await read("-t 4:float -r 113 -c 1")
        assert neutron_background == pytest.approx(emulator.state()["neutron_background"], rel=1e-4)
        inputs, gamma, counter = [(await read(f"-t 4 -r {address} -c 1"))[0] for address in (102, 103, 117)]
        assert (inputs, gamma, counter) == (0x41, 0x80, 5)


async def test_mbpoll_finds_no_other_unit_and_no_other_address() -> None:
    async with emulated(unit_id=32) as (_, port):
        assert "Target device failed to respond" in await mbpoll(port, "-t 4 -r 0 -c 1 -1", unit_id=31)
        assert "Illegal data address" in await mbpoll(port, "-t 4 -r 90 -c 8 -1", unit_id=32)


async def test_mbpoll_reads_every_kind_of_our_mapped_portal() -> None:
    async with emulated(GENERIC, map=WHOLE, **KNOWN) as (emulator, port):
        emulator.fault("stuck_beam", on=True)
        emulator.fault("tamper", on=True)
        await counted(emulator)

        async def read(switches: str, unit_id: int = 1) -> list[float]:
            return values_of(await mbpoll(port, f"{switches} -1", unit_id=unit_id))

        assert await read("-t 1 -r 10 -c 2") == [1, 0]
        assert await read("-t 0 -r 3 -c 1") == [1], "no neutron alarm: it is inverted"
        assert await read("-t 4 -r 40 -c 1") == [0], "tamper, inverted, in bit 15; no fault in bit 2"
        panels = [
            *await read("-t 4 -r 20 -c 2"),
            *await read("-B -t 4:int -r 22 -c 1"),
            *await read("-t 4:int -r 24 -c 1"),
        ]
        assert all(count == pytest.approx(120, abs=65) for count in panels)
        (background,) = await read("-t 3:float -r 100 -c 1")
        assert background == pytest.approx(480, rel=0.05)
        assert await read("-t 3 -r 7 -c 1", unit_id=9) == [0]


# --- our drivers read pymodbus' own simulator -----------------------------------------------------


def their_memory(**values: Any) -> dict[str, Any]:
    """A device of 200 registers, in the words of pymodbus' simulator."""
    return {
        "setup": {
            "co size": 200, "di size": 200, "hr size": 200, "ir size": 200,
            "shared blocks": True,
            "type exception": False,
            "defaults": {
                "value": {"bits": 0, "uint16": 0, "uint32": 0, "float32": 0.0, "float64": 0.0, "string": " "},
                "action": dict.fromkeys(("bits", "uint16", "uint32", "float32", "float64", "string")),
            },
        },
        "invalid": [], "write": [],
        "bits": [], "uint16": [], "uint32": [], "float32": [], "float64": [], "string": [], "repeat": [],
        **values,
    }  # fmt: skip


BLOCK = {
    **dict.fromkeys((*range(8), *range(102, 121)), 0),
    0: 0x4153, 3: 100, 4: 21,  # the descriptor
    102: 0x0041, 103: 0x0081, 104: 0x1170, 105: 0x0001, 106: 0x0000, 107: 0x4148, 108: 0x0000, 109: 0x4148,
    110: 0x0080, 111: 3, 114: 0x3F80, 117: 258, 119: 1_355,
}  # fmt: skip
"""A portal in alarm: gamma 70,000 on a background of 12.5, neutrons 3 on 1.0, object 258 at 1.355 m/s."""


async def test_our_driver_finds_and_reads_a_foreign_aspect_portal() -> None:
    words = [{"addr": address, "value": value} for address, value in BLOCK.items()]
    running = [{"addr": [100, 101], "value": 5, "action": "increment"}]
    async with their_board(their_memory(uint16=words, uint32=running)) as port:
        driver = driver_at(port, unit_id=7, **KNOWN)
        async with opened(driver):
            items = await take(driver, 6)
    status, gamma, speed, again = items[0], items[1], items[2], items[3]
    assert isinstance(status, PortalStatus)
    assert (status.occupied, status.gamma_alarm, status.neutron_alarm) == (True, True, False)
    assert (status.fault, status.tamper, status.occupancy_count) == (False, False, 258)
    assert isinstance(gamma, Counts)
    assert (gamma.channel, gamma.counts, gamma.interval_s) == (Channel.GAMMA, (70_000,), 0.2)
    assert isinstance(speed, Speed)
    assert speed.speed_mps == 1.355
    assert isinstance(again, PortalStatus), "its elapsed time runs"


async def test_our_driver_reads_a_foreign_portal_by_its_map() -> None:
    """Their own coding of numbers: 32 bits with the high word first."""
    memory = their_memory(
        bits=[{"addr": 12, "value": 0b0000_0001}],
        uint16=[{"addr": 30, "value": 0xFFFE}, {"addr": 31, "value": 1_355}],
        uint32=[{"addr": [20, 21], "value": 70_000}],
        float32=[{"addr": [22, 23], "value": 12.5}, {"addr": [24, 25], "value": 1.25}],
    )
    lane = [
        entry("occupied", 2, 192, "bit"),  # bit b of register r is address 16 r + b
        entry("gamma_alarm", 1, 193, "bit"),
        entry("fault", 3, 30, "bit", bit=0),
        entry("tamper", 3, 30, "bit", bit=1),
        entry("gamma_counts", 3, 20, "u32"),
        entry("gamma_counts", 3, 22, "f32", scale=2.0),
        entry("gamma_background", 4, 24, "f32"),
        entry("speed", 3, 31, "u16", scale=0.001),
    ]
    async with their_board(memory) as port:
        driver = driver_at(port, GENERIC, unit_id=7, map=lane, **KNOWN)
        async with opened(driver):
            status, gamma, speed = await take(driver, 3)
    assert isinstance(status, PortalStatus)
    assert (status.occupied, status.gamma_alarm, status.neutron_alarm) == (True, False, None)
    assert (status.fault, status.tamper) == (False, True)
    assert isinstance(gamma, Counts)
    assert gamma.counts == (70_000, 25)
    assert isinstance(speed, Speed)
    assert speed.speed_mps == pytest.approx(1.355)


async def test_where_their_board_is_no_portal_the_search_says_so() -> None:
    async with their_board(their_memory(invalid=[[0, 199]])) as port:
        with pytest.raises(ConnectFailed, match="has no portal among the units"):
            await driver_at(port, timeout_s=0.1).open()
