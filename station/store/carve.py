"""Records out of a database that nobody can trust, page by page, without SQLite.

SQLite gives up a whole table when one inner page is damaged, the whole file when the page with its schema is,
and every commit behind a damaged frame of the log. The records themselves are mostly still there: each leaf
page of the table and each frame of the log is read here by itself, following SQLite's published file format.
What is found proves itself by its hash. It is for files in quarantine alone: opening those of the journal
would drop SQLite's locks.
"""

from __future__ import annotations

import bisect
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from station.store import database
from station.store.chain import HASH_BYTES, Row
from station.store.schema import PAGE_BYTES

WINDOW = 250_000
"""Records whose places are remembered at a time: some 30 MB."""
_LEAF = 0x0D
_LOG_HEADER, _FRAME_HEADER = 32, 24
_HASH_CODE = 12 + 2 * HASH_BYTES
_COLUMNS = 9
_LOCAL = PAGE_BYTES - 35
_LEAST_LOCAL = (PAGE_BYTES - 12) * 32 // 255 - 23
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_LARGEST_PAYLOAD = 1024 * 1024


class Carver:
    """The records of one quarantined database and its log; ``scan`` in small steps, then ``rows``."""

    def __init__(self, path: Path) -> None:
        """Open what is there; a missing file has no records."""
        self._files = [_open(path), _open(database.log_of(path))]
        self._frames: dict[int, int] = {}
        """Where the newest frame of each page lies in the log."""
        self._places: dict[int, list[int]] = {}
        self._newest: tuple[int, list[Row]] = (-1, [])
        self._next = 0
        self._first = 0
        self.seqs: list[int] = []
        """What was found, in order, once ``scan`` is through."""
        self.upto = -1
        """Records beyond it were not looked for: begin again behind it."""

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            if file >= 0:
                os.close(file)
        self._files = [-1, -1]

    def begin(self, first: int, last: int) -> None:
        """Look for records ``first`` to ``last``, at most ``WINDOW`` of them."""
        self._first, self.upto, self._next = first, max(first, last), 0
        self._places, self.seqs, self._newest = {}, [], (-1, [])

    def covers(self, seq: int) -> bool:
        """Whether the last ``begin`` was for this record too."""
        return self._first <= seq <= self.upto

    def scan(self, pages: int) -> bool:
        """Read the next pages; whether there are more. Raises ``OSError`` when the disk fails."""
        for _ in range(pages):
            number, self._next = self._next, self._next + 1
            found = self._page(number)
            if found is None:
                self.seqs = sorted(self._places)
                self._prune(WINDOW)
                return False
            self._note(*found)
        return True

    def _page(self, number: int) -> tuple[int, int, bytes] | None:
        """Return file, offset and bytes of page ``number``, counted through the log first."""
        log, whole = self._files[1], self._files[0]
        frames = max(0, _size(log) - _LOG_HEADER) // (_FRAME_HEADER + PAGE_BYTES)
        if number < frames:
            offset = _LOG_HEADER + number * (_FRAME_HEADER + PAGE_BYTES)
            frame = os.pread(log, _FRAME_HEADER + PAGE_BYTES, offset)
            self._frames[int.from_bytes(frame[:4], "big")] = offset + _FRAME_HEADER
            return 1, offset + _FRAME_HEADER, frame[_FRAME_HEADER:]
        offset = (number - frames) * PAGE_BYTES
        page = os.pread(whole, PAGE_BYTES, offset) if whole >= 0 else b""
        return (0, offset, page) if page else None

    def _note(self, file: int, offset: int, page: bytes) -> None:
        if page[:1] != bytes((_LEAF,)):
            return
        cells = min(int.from_bytes(page[3:5], "big"), (PAGE_BYTES - 8) // 2)
        for index in range(cells):
            at = int.from_bytes(page[8 + 2 * index : 10 + 2 * index], "big")
            with contextlib.suppress(IndexError):
                seq = _seq_of_record(page, at)
                if self._first <= seq <= self.upto:
                    self._places.setdefault(seq, []).append(offset << 14 | at << 1 | file)
        if len(self._places) > 2 * WINDOW:
            self.seqs = sorted(self._places)
            self._prune(WINDOW)

    def _prune(self, keep: int) -> None:
        for seq in self.seqs[keep:]:
            del self._places[seq]
        if len(self.seqs) > keep:
            del self.seqs[keep:]
            self.upto = self.seqs[-1]

    def after(self, seq: int) -> Iterator[int]:
        """Return the sequence numbers found from ``seq`` on."""
        return iter(self.seqs[bisect.bisect_left(self.seqs, seq) :])

    def rows(self, seq: int) -> list[Row]:
        """Return the sound records of this sequence number; several when a transaction was rolled back."""
        if self._newest[0] != seq:  # each is asked for twice: for itself, and for the one before
            self._newest = (seq, self._rows(seq))
        return self._newest[1]

    def _rows(self, seq: int) -> list[Row]:
        found: dict[bytes, Row] = {}
        seen: set[bytes] = set()
        for place in self._places.get(seq, ()):
            file, offset, at = place & 1, place >> 14, place >> 1 & 0x1FFF
            page = os.pread(self._files[file], PAGE_BYTES, offset)
            for newest in (True, False):
                with contextlib.suppress(IndexError, ValueError, KeyError, TypeError):
                    payload = self._payload(page, at, newest=newest)
                    if payload in seen:  # the log holds most rows many times
                        break
                    seen.add(payload)
                    row = _row(seq, payload)
                    if row.sound(own_epoch(row)):
                        found[row.hash] = row
                        break
        return list(found.values())

    def _payload(self, page: bytes, at: int, *, newest: bool) -> bytes:
        """Return the bytes of one row, which may go on in overflow pages; of the log first, if ``newest``."""
        size, at = _varint(page, at)
        _, at = _varint(page, at)
        if size <= _LOCAL:
            return page[at : at + size]
        if size > _LARGEST_PAYLOAD:
            raise ValueError("no record is so large")
        local = _LEAST_LOCAL + (size - _LEAST_LOCAL) % (PAGE_BYTES - 4)
        local = local if local <= _LOCAL else _LEAST_LOCAL
        parts, left = [page[at : at + local]], size - local
        number = int.from_bytes(page[at + local : at + local + 4], "big")
        while left > 0:
            page = self._numbered(number, newest=newest)
            parts.append(page[4 : 4 + left])
            left -= PAGE_BYTES - 4
            number = int.from_bytes(page[:4], "big")
        return b"".join(parts)

    def _numbered(self, number: int, *, newest: bool) -> bytes:
        if newest and number in self._frames:
            return os.pread(self._files[1], PAGE_BYTES, self._frames[number])
        if number < 1 or self._files[0] < 0:
            raise ValueError("no such page")
        page = os.pread(self._files[0], PAGE_BYTES, (number - 1) * PAGE_BYTES)
        if len(page) < PAGE_BYTES:
            raise ValueError("the file ends before this page")
        return page


def own_epoch(row: Row) -> bytes:
    """Return the epoch that a record says it is of; raises what a damaged one raises."""
    name: str = row.event()["id"]
    return bytes.fromhex(name.partition(":")[0])


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _size(file: int) -> int:
    return os.fstat(file).st_size if file >= 0 else 0


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a SQLite varint and the offset behind it; raises ``IndexError`` beyond the data."""
    value = 0
    for index in range(at, at + 8):
        value = value << 7 | data[index] & 0x7F
        if data[index] < 0x80:
            return value, index + 1
    return value << 8 | data[at + 8], at + 9


def _codes(payload: bytes, at: int) -> tuple[list[int], int]:
    """Return the types of a row's columns, and where its values begin."""
    size, start = _varint(payload, at)
    end = at + size
    codes: list[int] = []
    while start < end and len(codes) <= _COLUMNS:
        code, start = _varint(payload, start)
        codes.append(code)
    return codes, end


def _seq_of_record(page: bytes, at: int) -> int:
    """Return the sequence number of the cell at ``at`` if it looks like a record, else −1."""
    _, at = _varint(page, at)
    seq, at = _varint(page, at)
    codes, _ = _codes(page, at)
    is_record = len(codes) >= _COLUMNS and codes[0] == 0 and codes[7:9] == [_HASH_CODE] * 2
    return seq if is_record else -1


def _row(seq: int, payload: bytes) -> Row:
    codes, at = _codes(payload, 0)
    values: list[Any] = [seq]
    for code in codes[1:_COLUMNS]:
        if code >= 12:
            size = (code - 12) // 2
            content = payload[at : at + size]
            values.append(content.decode("utf-8", "surrogateescape") if code % 2 else content)
        else:
            size = _INTEGERS.get(code, 0)
            small = {8: 0, 9: 1}.get(code)
            values.append(int.from_bytes(payload[at : at + size], "big", signed=True) if size else small)
        at += size
    return Row.of(tuple(values))
