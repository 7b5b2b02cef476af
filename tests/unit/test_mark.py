"""mark.bin survives a torn write: the newest whole slot counts."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from station.store.mark import SLOT_BYTES, Mark, MarkFile, read_mark

EPOCH = bytes(range(16))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mark.bin"


def write(path: Path, *seqs: int) -> None:
    file = MarkFile(path)
    for seq in seqs:
        file.write(EPOCH, seq, bytes([seq]) * 32, 1000 + seq)
    file.close()


def test_a_slot_is_laid_out_as_documented() -> None:
    slot = Mark(EPOCH, 48213, b"h" * 32, 1795492800120000, 7).encode()
    head = b"CARMARK1" + struct.pack("<HHI", 1, 0, 0) + struct.pack("<Q", 7) + EPOCH
    head += struct.pack("<Q", 48213) + b"h" * 32 + struct.pack("<q", 1795492800120000)
    assert len(head) == 88
    assert slot == (head + struct.pack("<I", zlib.crc32(head))).ljust(4096, b"\0")


def test_slots_alternate_and_the_highest_generation_counts(path: Path) -> None:
    write(path, 1, 2, 3)
    assert path.stat().st_size == 2 * SLOT_BYTES
    slots = path.read_bytes()
    first, second = Mark.decode(slots[:SLOT_BYTES]), Mark.decode(slots[SLOT_BYTES:])
    assert first is not None
    assert second is not None
    assert (first.seq, second.seq) == (2, 3)
    assert read_mark(path) == Mark(EPOCH, 3, bytes([3]) * 32, 1003, 3)


def test_generations_go_on_after_a_restart(path: Path) -> None:
    write(path, 1, 2, 3)
    write(path, 2)  # a lower number, as after a new epoch with a lower head
    found = read_mark(path)
    assert found is not None
    assert (found.seq, found.generation) == (2, 4)


@pytest.mark.parametrize("torn", [0, 8, 24, 40, 47, 80, 91])
@pytest.mark.fault("F3")
def test_a_torn_write_leaves_the_mark_before(path: Path, torn: int) -> None:
    write(path, 1, 2, 3)
    content = bytearray(path.read_bytes())
    new = Mark(EPOCH, 4, bytes([4]) * 32, 1004, 4).encode()
    content[:torn] = new[:torn]  # generation 4 goes into the first slot
    path.write_bytes(content)
    found = read_mark(path)
    assert found is not None
    assert found.seq == 3


@pytest.mark.parametrize("bit", range(0, 92 * 8, 37))
@pytest.mark.fault("F9")
def test_any_flipped_bit_invalidates_the_slot(bit: int) -> None:
    slot = bytearray(Mark(EPOCH, 5, b"h" * 32).encode())
    slot[bit // 8] ^= 1 << bit % 8
    assert Mark.decode(bytes(slot)) is None


@pytest.mark.parametrize("content", [b"", b"CARMARK1", bytes(8192), b"\xff" * 8192])
def test_no_valid_slot_is_no_mark(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert read_mark(path) is None


def test_no_file_is_no_mark(path: Path) -> None:
    assert read_mark(path) is None


def test_a_shortened_file_keeps_its_slot_and_grows_again(path: Path) -> None:
    write(path, 1, 2)
    path.write_bytes(path.read_bytes()[:SLOT_BYTES])
    write(path)
    found = read_mark(path)
    assert found is not None
    assert found.seq == 2
    assert path.stat().st_size == 2 * SLOT_BYTES
