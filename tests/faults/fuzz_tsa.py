"""Fuzz the TSA codec, and what the driver makes of its items, with atheris.

``python tests/faults/fuzz_tsa.py [SECONDS]`` ends with status 0 when nothing was found. The first byte is
the size of the segments.
"""

from __future__ import annotations

import atheris

from tests.support.fuzzing import fuzz, pieces

with atheris.instrument_imports(include=["drivers.rpm.tsa.codec"]):
    from drivers.readings import BadFrame, Stamp
    from drivers.rpm.tsa.codec import HEAD, LINE_LIMIT, TsaCodec, encode
    from drivers.rpm.tsa.driver import Stamper

OPENED = Stamp(0, 0, "fuzz")
SEEDS = (
    b"\x00GS,000012,000011,000012,000013\r\nNA,000002,***,000002,000002,00-00-04.841\r\n",
    b"\x01GX,000123,004741,000000,000000\r\nSP,0.2249,03.032,004.88,000000\r\nTT,000000,000000,000000,000000\r\n",
    b"\x02SG1,000300,000100,000005,000010,6.5,000000\r\nSG2,4,0.05,5.0,3,SUM,A\r\nSG3,1,2,20,4,1.10\r\n",
    b"\x05SN1,7,5,0.0001,4,4,120\r\nSN2,1,2,3,4,\r\nS1,1,2\r\nGB,\x00\xff\r\n" + b"G" * 300,
)


def read(data: bytes, step: int) -> list[object]:
    """Feed a stream in segments of ``step`` bytes and end it."""
    stream = TsaCodec()
    items: list[object] = []
    for piece in pieces(data, step):
        items += stream.feed(piece)
        if len(stream._line) > LINE_LIMIT:
            raise AssertionError("the buffer grows")
    return items + stream.end()


def one_input(data: bytes) -> None:
    """Everything becomes a value, segments make no difference, and a record survives its own encoding."""
    step, stream = (data[0] if data else 0) or 1, data[1:]
    whole = read(stream, len(stream) or 1)
    if read(stream, step) != whole:
        raise AssertionError("segments make a difference")
    now = Stamp(10**9, 10**9, "fuzz")
    for item, stamp in Stamper(OPENED).place(whole, now):
        if not 0 <= stamp.mono_ns <= now.mono_ns:
            raise AssertionError(f"{item} is stamped {stamp}")
        if isinstance(item, BadFrame):
            if len(item.head) > HEAD or not stream[item.offset :].startswith(item.head):
                raise AssertionError(f"{item} is not where it says")
        else:
            (again,) = TsaCodec().feed(encode(item))
            if type(again) is not type(item):
                raise AssertionError(f"{item} becomes {again}")


if __name__ == "__main__":
    fuzz(one_input, SEEDS, longest=1024)
