"""Fuzz the reader of N42.42 documents, and what becomes of them as reports, with atheris.

``python tests/faults/fuzz_n42.py [SECONDS]`` ends with status 0 when nothing was found. The first byte
chooses the bytes of a file, or words put into a sound document: bytes alone are hardly ever XML.
"""

from __future__ import annotations

import re

import atheris

from tests.support.fuzzing import fuzz

with atheris.instrument_imports(include=["drivers.formats.n42", "drivers.rpm.drop.codec"]):
    from drivers.formats.n42.document import Document, NotN42
    from drivers.formats.n42.read import read
    from drivers.formats.n42.write import write
    from drivers.readings import Stamp
    from drivers.rpm.drop.codec import decode
    from tests.unit.test_n42 import PASSAGE

ARRIVAL = Stamp(1_795_000_000_000_000_000, 10**12, "fuzz")
SOUND = write(PASSAGE)
WORDS = re.split(rb'([<>"\s]+)', SOUND)
NUMBERS = (b"-1", b"PT1e9S", b"0 3000 100", b"nan", b"9" * 40, b"1.5", b"true", b"")
SEEDS = (
    b"\x00" + SOUND,
    b"\x00<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
    *(b"\x01" + place.to_bytes(2, "big") + word for place, word in enumerate(NUMBERS * 20)),
)


def altered(data: bytes) -> bytes:
    """Return the sound document with words replaced: two bytes say which one, up to NUL NUL what by."""
    words = list(WORDS)
    for change in data.split(b"\x00\x00"):
        words[int.from_bytes(change[:2], "big") * 2 % len(words)] = change[2:]
    return b"".join(words)


def one_input(data: bytes) -> None:
    """A document, or a refusal in a sentence; what is read of counts is whole and not negative."""
    if not data:
        return
    body = altered(data[1:]) if data[0] % 2 else data[1:]
    try:
        document = read(body)
        decode(body, "fuzz", ARRIVAL)
    except NotN42 as refusal:
        if not str(refusal):
            raise AssertionError("a refusal without a sentence") from refusal
        return
    sane(document)


def sane(document: Document) -> None:
    for measurement in document.measurements:
        for counts in measurement.counts:
            values = [window.counts for window in counts.windows]
            values += [] if counts.total is None else [counts.total]
            if any(not isinstance(value, int) or value < 0 for value in values):
                raise AssertionError(f"{counts} are no counts")


if __name__ == "__main__":
    fuzz(one_input, SEEDS, longest=8192)
