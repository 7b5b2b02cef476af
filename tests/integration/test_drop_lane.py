"""A lane whose only portal leaves documents: a truck, a document of nobody, a station that is killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.formats.n42.read import read
from tests.support.n42_documents import document
from tests.support.station import ROOT, Station, short_trucks

RATE = 5.0
LONG_AGO_NS = 1_700_000_000_000_000_000


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    text = (ROOT / "config/lanes/n42.toml").read_text(encoding="utf-8")
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


def test_a_truck_is_measured_by_its_document_and_nothing_is_lost_when_the_station_is_killed(
    station: Station,
) -> None:
    folder = station.state / "emulated" / "rpm1"
    sealed = station.until(lambda: station.records("inspection.sealed"), "the truck is sealed")[0]
    assert sealed["coverage"]["rpm"] == {"state": "done", "reason": None, "fraction": 1.0}
    (occupancy,) = sealed["radiation"]["occupancies"]
    assert (occupancy["close_reason"], occupancy["complete"]) == ("reported", True)
    (blob,) = [use for use in sealed["blobs"] if use["role"] == "n42"]
    assert blob["sha256"] == occupancy["report"]
    body = station.get(f"/v1/blobs/{blob['sha256']}").body
    assert read(body).item["plate"] == sealed["identity"]["plate"]["text"]
    station.until(lambda: any(p.read_bytes() == body for p in (folder / "done").iterdir()), "it is done")
    exported = read(station.get(f"/v1/inspections/{sealed['inspection_id']}/n42").body)
    assert exported.item["simulated"] == "true"
    assert len(exported.measurements) > 10

    station.kill()
    (folder / "left.part").write_bytes(document(LONG_AGO_NS, alarms=("Neutron",)))
    (folder / "left.part").rename(folder / "left.n42")
    (folder / "junk.n42").write_bytes(b"junk")
    station.start()
    (nobody,) = station.until(lambda: station.records("report.unattributed"), "the document of nobody")
    assert nobody["occupancy"]["neutron_alarm"]
    codes = {alarm["code"] for alarm in station.lane()["alarms"]}
    assert "late_neutron_alarm" in codes
    station.until(lambda: station.records("report.refused"), "the junk is told")
    station.until(lambda: not any(folder.glob("*.n42")), "both are moved")
    kept = [path.name.split("Z-")[1] for path in (folder / "quarantine").iterdir()]
    assert sorted(kept) == ["junk.n42", "junk.n42.why.txt"]
    assert any(path.name.endswith("left.n42") for path in (folder / "done").iterdir())
    station.assert_sound()
    station.stop()
