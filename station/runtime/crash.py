"""Crash reports: what a driver's bug looked like, with the last bytes that it saw."""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from drivers.readings import Stamp

MOST_REPORTS = 50
TAIL_BYTES = 4096
_NAME = re.compile(r"\d{8}T\d{6}\.\d{6}Z-.+\.txt")


class Tail:
    """The last 4 KiB that came from a device."""

    def __init__(self) -> None:
        """Begin empty."""
        self._bytes = bytearray()

    def add(self, data: bytes) -> None:
        """Append bytes, forgetting the oldest."""
        self._bytes += data[-TAIL_BYTES:]
        del self._bytes[:-TAIL_BYTES]

    def __bytes__(self) -> bytes:
        return bytes(self._bytes)


@dataclass(frozen=True, slots=True)
class CrashReport:
    """One crash of one driver."""

    device: str
    driver: str
    stamp: Stamp
    error: BaseException
    tail: bytes

    def text(self) -> str:
        """Return the report for a person."""
        return "\n".join(
            (
                f"device {self.device}, driver {self.driver}",
                f"at {_utc(self.stamp):%Y-%m-%dT%H:%M:%S.%fZ}, monotonic {self.stamp.mono_ns / 1e9:.6f} s, "
                f"boot {self.stamp.boot_id}",
                "",
                "".join(traceback.format_exception(self.error)).rstrip(),
                "",
                f"the last {len(self.tail)} bytes from the device:",
                *_hex_dump(self.tail),
                "",
            )
        )

    def write(self, folder: Path) -> Path:
        """Write the report into ``folder``, where the newest ``MOST_REPORTS`` stay; raises ``OSError``."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{_utc(self.stamp):%Y%m%dT%H%M%S.%fZ}-{self.device}.txt"
        path.write_text(self.text(), encoding="utf-8", errors="backslashreplace")
        # Names sort by UTC, which may have been set back since: the report of now is never the oldest.
        others = sorted(each for each in folder.iterdir() if _NAME.fullmatch(each.name) and each != path)
        for old in others[: 1 - MOST_REPORTS]:
            old.unlink(missing_ok=True)
        return path


def _utc(stamp: Stamp) -> datetime:
    return datetime.fromtimestamp(stamp.utc_ns / 1e9, UTC)


def _hex_dump(data: bytes) -> list[str]:
    lines = []
    for at in range(0, len(data), 16):
        part = data[at : at + 16]
        ascii_ = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{at:04x}  {part.hex(' '):<47}  {ascii_}")
    return lines
