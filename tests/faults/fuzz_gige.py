"""Fuzz GVCP, GVSP and the scans of a GigE Vision camera with atheris.

``python tests/faults/fuzz_gige.py [SECONDS]`` ends with status 0 when nothing was found.
"""

from __future__ import annotations

import atheris

from tests.support.fuzzing import fuzz

with atheris.instrument_imports(include=["drivers.formats.gige", "drivers.scanner.gige"]):
    from drivers.formats.gige import gvcp, gvsp
    from drivers.formats.gige.gvsp import Assembler, Block
    from drivers.readings import DeviceIdentity, LineBlock, LinesLost, Stamp
    from drivers.scanner.gige.session import ScanSession
    from tests.support.gige_lane import WITH_INPUTS, options

OPTIONS = options(
    setup=WITH_INPUTS, detectors=4, lines=3, column={**WITH_INPUTS["column"], "reference_detectors": ()}
)
FORM = gvsp.Form(4, 3, 24 + 20, 10, chunks=True)
PAYLOAD = bytes(24) + b"\0\0\0\1\0\0\0\x18" + b"\0\0\0\1" + b"\0\0\x10\0\0\0\0\4"


def joined(datagrams: list[bytes]) -> bytes:
    """Datagrams as one input: the length of each before it."""
    return b"".join(bytes([len(datagram)]) + datagram for datagram in datagrams)


def datagrams(data: bytes) -> list[bytes]:
    """The way back, for any bytes."""
    found = []
    while data:
        found.append(data[1 : 1 + data[0]])
        data = data[1 + data[0] :]
    return found


BLOCKS = [gvsp.pack_block(FORM, block_id, block_id * 1000, PAYLOAD) for block_id in (65_535, 1, 2)]
SEEDS = [
    joined(BLOCKS[0]),
    joined([*BLOCKS[0], *BLOCKS[1], *BLOCKS[2]]),
    joined([*BLOCKS[0][:3], *BLOCKS[2]]),
    joined([gvcp.pack_request(gvcp.Request(gvcp.Command.READ_REGISTER, 1, gvcp.words(0xA00)))]),
    joined([gvcp.pack_answer(gvcp.Answer(0, gvcp.Command.DISCOVERY, 1, bytes(240)))]),
]


def one_input(data: bytes) -> None:
    """Nothing raises, nothing grows, and lines follow each other without hole or overlap."""
    assembler, session = Assembler(FORM, wait_s=1.0), ScanSession(1)
    session.begin(OPTIONS, DeviceIdentity(), 1_000, Stamp(0, 0, "fuzz"))
    next_lines: dict[int, int] = {}
    for number, datagram in enumerate(datagrams(data)):
        gvcp.read_request(datagram)
        gvcp.read_answer(datagram)
        gvcp.identity(datagram)
        stamp = Stamp(number, number * 100_000_000, "fuzz")
        for item in [*assembler.feed(datagram, number / 4), *assembler.tick(number / 4)]:
            if not isinstance(item, Block):
                continue
            for reading in session.take(item, stamp):
                if isinstance(reading, LineBlock | LinesLost):
                    scan_id, first = reading.key.scan_id, reading.first_line
                    if first != next_lines.get(scan_id, 0):
                        raise AssertionError(f"line {next_lines.get(scan_id, 0)} expected, {first} came")
                    count = reading.count if isinstance(reading, LinesLost) else len(reading.samples)
                    next_lines[scan_id] = first + count


if __name__ == "__main__":
    fuzz(one_input, SEEDS, longest=4096)
