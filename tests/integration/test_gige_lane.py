"""A lane whose scanner is a GigE Vision camera: dark, air, a truck, and an image of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.station import ROOT, Station, short_trucks

RATE = 3.0


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    text = (ROOT / "config/lanes/gige.toml").read_text(encoding="utf-8")
    for old, new in (
        ("seed = 1", f"seed = 1\nrate = {RATE}"),
        ('driver = "modbus_io"', f'stale_after_s = {0.5 * RATE}\ndriver = "modbus_io"'),
    ):
        assert old in text
        text = text.replace(old, new)
    lane = tmp_path / "lane.toml"
    lane.write_text(text, encoding="utf-8")
    station = Station(lane, tmp_path / "state", tmp_path / "daemon.log", short_trucks(tmp_path))
    try:
        station.start()
        yield station
    finally:
        station.end()


def test_a_truck_has_an_image_from_a_gige_camera(station: Station) -> None:
    sealed = station.until(lambda: station.records("inspection.sealed"), "the truck is sealed")[0]
    scan = sealed["scan"]
    assert scan["cause"] is None
    assert sealed["coverage"]["scanner"] == {"state": "done", "reason": None, "fraction": 1.0}
    assert scan["lines_lost"] == 0
    assert scan["height"] == 256
    assert scan["calibration"] == "provisional"
    assert scan["px_mm_x"] == pytest.approx(16.0)
    roles = {use["role"] for use in sealed["blobs"]}
    assert {"raw", "image", "preview", "flags", "calibration"} <= roles
    preview = station.get(f"/v1/blobs/{scan['preview']}").body
    assert preview.startswith(b"\xff\xd8")
