"""Raw lines from an acquisition journal, and scans of which not all is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from drivers.formats.linestream.frames import encode
from drivers.formats.linestream.messages import LINE_RECORD, Lines
from imaging.radiograph.model import RadiographError
from station.domain.values import ScanSummary
from station.lane import picture

SAMPLES = np.arange(40 * 6, dtype=np.uint16).reshape(40, 1, 6)


def lines(first: int, last: int) -> bytes:
    records = np.zeros(last - first, LINE_RECORD)
    records["flags"], records["t_ns"] = 1, np.arange(first, last)
    return encode(Lines(first, 0, 0, records, SAMPLES[first:last]), seq=first, scan_id=1)


def told(**scan: Any) -> list[Any]:
    summary = ScanSummary.model_validate({"scan_id": "s", "device": "d", "state": "complete", **scan})
    data = {
        **summary.model_dump(mode="json"),
        "inspection_id": "i",
        "stamp": {"utc_us": 1},
        "blobs": [{"role": "raw", "sha256": "a" * 64}],
    }
    return [(1, "carril.scan.completed", data)]


def test_lines_that_never_came_are_zero_without_a_beam() -> None:
    raw = picture.raw_lines(lines(0, 10) + lines(20, 40))
    assert raw.samples.shape == (40, 6)
    assert not raw.samples[10:20].any()
    np.testing.assert_array_equal(raw.samples[20:], SAMPLES[20:, 0])
    flags = raw.records[:, 7] >> 16
    assert flags[:10].all()
    assert not flags[10:20].any()


def test_a_journal_that_was_cut_off_gives_the_lines_before_the_cut() -> None:
    raw = picture.raw_lines((lines(0, 10) + lines(10, 20))[:-3])
    assert len(raw.samples) == 10


@pytest.mark.parametrize("data", [b"", b"junk" * 100, lines(0, 10)[:50]])
def test_without_a_line_there_is_nothing_to_write(data: bytes) -> None:
    with pytest.raises(RadiographError, match="no line of it was kept"):
        picture.raw_lines(data)


def test_where_no_scan_ended_there_is_none() -> None:
    assert picture.scan_of([]) is None
    assert picture.blobs_of([]) == {}
    with pytest.raises(RadiographError, match="no scan of it has ended"):
        picture.made("png", "LANE", [], {})


def test_the_last_scan_counts() -> None:
    records = [*told(lines=1), *told(lines=2)]
    found = picture.scan_of(records)
    assert found is not None
    assert found.lines == 2
    assert picture.blobs_of(records) == {"raw": "a" * 64}


@pytest.mark.parametrize("kind", ["tiff", "dicos-raw"])
def test_what_is_made_of_raw_lines_needs_them(kind: str) -> None:
    with pytest.raises(RadiographError, match="raw lines are not kept"):
        picture.made(kind, "LANE", told(), {})


def test_without_a_calibration_the_archive_has_samples_and_line_records() -> None:
    body = picture.made("tiff", "LANE", told(), {"raw": lines(0, 40)})
    assert body[:4] == b"II*\x00"
    other = picture.made("dicos-raw", "LANE", told(), {"raw": lines(0, 40)})
    assert other[128:132] == b"DICM"
