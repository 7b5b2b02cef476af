"""A crash report shows the bug and the last bytes; old reports make room for new ones."""

from __future__ import annotations

from pathlib import Path

from drivers.readings import Stamp
from station.runtime.crash import MOST_REPORTS, TAIL_BYTES, CrashReport, Tail


def report(number: int = 0, tail: bytes = b"") -> CrashReport:
    stamp = Stamp(1_767_225_600_000_000_000 + number * 1_000_000_000, 5_000_000_000, "boot")
    try:
        raise ValueError(f"bug {number}")
    except ValueError as error:
        return CrashReport("rpm1", "fake", stamp, error, tail)


def test_the_tail_is_the_last_4_kib() -> None:
    tail = Tail()
    for number in range(1000):
        tail.add(bytes([number % 256]) * 7)
    tail.add(b"")
    assert len(bytes(tail)) == TAIL_BYTES
    assert bytes(tail).endswith(bytes([999 % 256]) * 7)
    tail.add(b"x" * 10_000_000)
    assert bytes(tail) == b"x" * TAIL_BYTES


def test_a_report_reads_like_a_hex_editor(tmp_path: Path) -> None:
    path = report(tail=b"GS,000120\r\n\xff" + bytes(5)).write(tmp_path / "crash")
    assert path.name == "20260101T000000.000000Z-rpm1.txt"
    lines = path.read_text().splitlines()
    assert lines[:2] == [
        "device rpm1, driver fake",
        "at 2026-01-01T00:00:00.000000Z, monotonic 5.000000 s, boot boot",
    ]
    assert "ValueError: bug 0" in lines
    assert lines[-3:] == [
        "the last 17 bytes from the device:",
        "0000  47 53 2c 30 30 30 31 32 30 0d 0a ff 00 00 00 00  GS,000120.......",
        "0010  00                                               .",
    ]


def test_the_newest_reports_stay_and_nothing_else_is_touched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("of the technician")
    for number in range(MOST_REPORTS + 10):
        report(number).write(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == MOST_REPORTS + 1
    assert names[0] == "20260101T000010.000000Z-rpm1.txt"
    assert names[-1] == "notes.txt"


def test_a_report_of_now_stays_when_the_clock_was_set_back(tmp_path: Path) -> None:
    for number in range(MOST_REPORTS):
        report(number).write(tmp_path)
    late = report(-3600).write(tmp_path)
    assert late.exists()
    assert len(list(tmp_path.iterdir())) == MOST_REPORTS


def test_text_that_is_no_text_is_written_too(tmp_path: Path) -> None:
    stamp = Stamp(1_767_225_600_000_000_000, 5_000_000_000, "boot")
    path = CrashReport("rpm1", "fake", stamp, ValueError("read \udcff"), b"").write(tmp_path)
    assert "read \\udcff" in path.read_text()
