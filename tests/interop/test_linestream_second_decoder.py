"""What the emulated scanner sends is read in full by a reader that knows only the protocol's paper."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

from drivers.plant.clock import PlantClock
from drivers.scanner.linestream.driver import LinestreamOptions
from drivers.scanner.linestream.sim import LinestreamEmulator
from tests.interop.linestream_second_decoder import BEGIN, DESCRIBE, END, HELLO, LINES, SecondReader, crc32c
from tests.support.scanner_lane import TRUCK_LINES, plant_with, truck_after_dark


def read_three_scans(port: int) -> list[dict[str, Any]]:
    """Read dark, air and one truck to its end, as another vendor's station would."""
    reader = SecondReader("127.0.0.1", port)
    heard = []
    try:
        for message in reader.messages():
            heard.append(message)
            if message["kind"] == HELLO:
                reader.attach()
            if message["kind"] == LINES:
                reader.ack(message["scan_id"], message["first"] + message["count"])
            if sum(item["kind"] == END for item in heard) == 3:
                return heard
    finally:
        reader.close()
    return heard


async def test_a_reader_written_from_the_paper_reads_every_line():
    clock = PlantClock(4.0)
    plant = plant_with()(clock)
    emulator = LinestreamEmulator(LinestreamOptions(), plant, clock, 1)
    coming = asyncio.create_task(truck_after_dark(emulator, plant))
    try:
        heard = await asyncio.to_thread(read_three_scans, await emulator.start())
    finally:
        coming.cancel()
        await emulator.stop()

    assert heard[0]["versions"] == (1, 1)
    assert heard[1]["kind"] == DESCRIBE
    description, crc = heard[1]["description"], heard[1]["crc"]
    assert description["detector"]["count"] == 512
    assert all(message["flags"] & 2 for message in heard), "simulated is on every message"
    begins = [message for message in heard if message["kind"] == BEGIN]
    assert [begin["scan_kind"] for begin in begins] == [2, 3, 1]
    for begin, total in zip(begins, (1_000, 2_000, TRUCK_LINES), strict=True):
        assert (begin["geometry_crc"], begin["detectors"], begin["channels"]) == (crc, 512, 1)
        blocks = [item for item in heard if item["kind"] == LINES and item["scan_id"] == begin["scan_id"]]
        line, samples_crc = 0, 0
        for block in blocks:
            assert (block["first"], block["geometry_crc"]) == (line, crc)
            line += block["count"]
            samples_crc = crc32c(block["samples"], samples_crc)
        [end] = [item for item in heard if item["kind"] == END and item["scan_id"] == begin["scan_id"]]
        assert (end["total"], end["lost"], end["reason"]) == (total, 0, 1) == (line, 0, 1)
        assert end["samples_crc"] == samples_crc
    truck = [record for item in heard if item["kind"] == LINES and item["scan_id"] == begins[2]["scan_id"]
             for record in item["records"]]  # fmt: skip
    assert {after[1] - before[1] for before, after in pairwise(truck)} == {8}, "ticks a line"
    assert all(after[0] > before[0] for before, after in pairwise(truck)), "time grows"
