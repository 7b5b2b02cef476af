"""Fuzz the linestream codec, its descriptions and the station's session with atheris.

``python tests/faults/fuzz_linestream.py [SECONDS]`` ends with status 0 when nothing was found.
"""

from __future__ import annotations

import atheris

from tests.support.fuzzing import fuzz, pieces

with atheris.instrument_imports(include=["drivers.formats.linestream", "drivers.scanner.linestream"]):
    from drivers.formats.linestream.describe import parse
    from drivers.formats.linestream.frames import (
        HEADER,
        MAX_MESSAGE,
        Frame,
        FrameReader,
        crc32c,
        encode,
    )
    from drivers.formats.linestream.messages import Describe, Gap, Hello, ScanAbort, ScanEnd, Status
    from drivers.readings import BadFrame, Stamp
    from drivers.scanner.linestream.session import Refusal, StationSession
    from tests.support.scanner_lane import GEOMETRY_JSON, begin
    from tests.unit.test_linestream_session import lines

NOW = Stamp(0, 0, "fuzz")
SEEDS = [
    encode(Hello(1, 1, 1 << 22, 5, 0, 0, 9, 7, 0, 0, 0), seq=0),
    encode(Describe(GEOMETRY_JSON), seq=0),
    encode(begin(), seq=0, scan_id=1) + encode(lines(0, 3), seq=1, scan_id=1),
    encode(lines(1, 3), seq=0, scan_id=1) + encode(Gap(4, 2, 1), seq=1, scan_id=1),
    encode(ScanEnd(6, 0, 0, 0, 0, 0, 1), seq=0, scan_id=1) + encode(ScanAbort(0, 1, "x"), seq=1, scan_id=2),
    encode(Status(*[0] * 13), seq=0),
]


def mended(data: bytes) -> bytes:
    """Put checksums, magic and sequence right, so that mutations reach what lies behind them."""
    wire = bytearray(data)
    place = seq = 0
    while place + HEADER.size + 4 <= len(wire):
        wire[place : place + 6] = b"CLS1\x01\x20"
        length = min(
            int.from_bytes(wire[place + 8 : place + 12], "little"), len(wire) - place - HEADER.size - 4
        )
        wire[place + 8 : place + 12] = length.to_bytes(4, "little")
        wire[place + 12 : place + 16] = seq.to_bytes(4, "little")
        wire[place + 28 : place + 32] = crc32c(bytes(wire[place : place + 28])).to_bytes(4, "little")
        end = place + HEADER.size + length
        wire[end : end + 4] = crc32c(bytes(wire[place + HEADER.size : end])).to_bytes(4, "little")
        place, seq = end + 4, seq + 1
    return bytes(wire)


def read(data: bytes, piece: int) -> list[Frame | BadFrame]:
    reader = FrameReader()
    records: list[Frame | BadFrame] = []
    for part in pieces(data, piece):
        records += reader.feed(part)
        if reader.pending > MAX_MESSAGE:
            raise AssertionError(f"{reader.pending} bytes are held back")
    return records


def one_input(data: bytes) -> None:
    """Nothing raises but what says that it does, and segments make no difference."""
    whole = read(data, 1 << 20)
    if [record.offset for record in whole] != [record.offset for record in read(data, 7)]:
        raise AssertionError("segments make a difference")
    session = StationSession()
    session.greet(Hello(1, 1, 1 << 22, 5, 0, 0, 9, 7, 0, 0, 0), NOW)
    session.describe(Describe(GEOMETRY_JSON))
    for record in read(mended(data), 1 << 20):
        if isinstance(record, Frame):
            try:
                list(session.take(record, NOW))
            except Refusal:
                break
    try:
        parse(data)
    except ValueError:
        pass


if __name__ == "__main__":
    fuzz(one_input, [*SEEDS, GEOMETRY_JSON], longest=8192)
