"""A second linestream v1 reader, written from the protocol's document alone and importing nothing of ours.

It is as plain as possible: no resynchronisation, no resume, Python integers only. What it reads and the
project's codec reads must be the same.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from typing import Any

HELLO, ATTACH, DESCRIBE, BEGIN, LINES, GAP, END, ABORT = 0x01, 0x02, 0x03, 0x10, 0x11, 0x12, 0x13, 0x14


def _table() -> list[int]:
    entries = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)  # Castagnoli, reflected
        entries.append(value)
    return entries


_TABLE = _table()


def crc32c(data: bytes, crc: int = 0) -> int:
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


class SecondReader:
    """Connects, attaches and yields messages as dictionaries."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=10)
        self._seq_in = 0
        self._seq_out = 0

    def close(self) -> None:
        self._socket.close()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def send(self, kind: int, payload: bytes, scan_id: int = 0) -> None:
        head = struct.pack("<4sBBBBIIQI", b"CLS1", 1, 32, kind, 0, len(payload), self._seq_out, scan_id, 0)
        self._seq_out += 1
        crcs = [struct.pack("<I", crc32c(part)) for part in (head, payload)]
        self._socket.sendall(head + crcs[0] + payload + crcs[1])

    def attach(self) -> None:
        self.send(ATTACH, struct.pack("<HHIQQQQII", 1, 1, 1 << 22, 0, 0, 0, 0, 0, 0))

    def ack(self, scan_id: int, next_line: int) -> None:
        self.send(0x30, struct.pack("<QII", next_line, 0, 0), scan_id)

    def messages(self) -> Iterator[dict[str, Any]]:
        while True:
            head = self._exactly(32)
            magic, version, size, kind, flags, length, seq, scan_id, _, crc = struct.unpack(
                "<4sBBBBIIQII", head
            )
            assert (magic, version, size) == (b"CLS1", 1, 32)
            assert crc == crc32c(head[:28]), "header checksum"
            assert seq == self._seq_in, "sequence"
            self._seq_in += 1
            payload = self._exactly(length)
            [payload_crc] = struct.unpack("<I", self._exactly(4))
            assert payload_crc == crc32c(payload), "payload checksum"
            yield {"kind": kind, "flags": flags, "scan_id": scan_id, **self._read(kind, payload)}

    @staticmethod
    def _read(kind: int, payload: bytes) -> dict[str, Any]:
        if kind == HELLO:
            [boot] = struct.unpack_from("<Q", payload, 8)
            return {"versions": struct.unpack_from("<HH", payload), "boot_id": boot}
        if kind == DESCRIBE:
            return {"description": json.loads(payload), "crc": crc32c(payload)}
        if kind == BEGIN:
            [detectors] = struct.unpack_from("<H", payload, 4)
            [crc, _, full_scale] = struct.unpack_from("<III", payload, 28)
            return {"scan_kind": payload[0], "channels": payload[3], "detectors": detectors,
                    "geometry_crc": crc, "full_scale": full_scale}  # fmt: skip
        if kind == LINES:
            return SecondReader._lines(payload)
        if kind == END:
            total, lost, _, encoder, crc = struct.unpack_from("<QQQqI", payload)
            return {
                "total": total,
                "lost": lost,
                "encoder": encoder,
                "samples_crc": crc,
                "reason": payload[40],
            }
        return {"payload": payload}

    @staticmethod
    def _lines(payload: bytes) -> dict[str, Any]:
        first, count, detectors, channels, code, record, crc, _, _ = struct.unpack_from("<QHHBBHIIQ", payload)
        width = {1: 2, 2: 4}[code]
        assert record == 32
        assert len(payload) == 32 + count * (32 + channels * detectors * width)
        records = [struct.unpack_from("<QqIIIHH", payload, 32 + 32 * line) for line in range(count)]
        return {"first": first, "count": count, "geometry_crc": crc, "records": records,
                "samples": payload[32 + 32 * count :]}  # fmt: skip
