"""Every device of a running lane, broken in every way: never clear without data, always back, never dead.

One daemon per device: each truck is struck by one fault, which is mended before the next one comes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.station import Station, running_station

pytestmark = pytest.mark.soak  # minutes long: every device with every fault

TRUCK = """
[[truck]]
name = "struck by {name}"
plate = "LXR 4827"
load = "machine"
speed_mps = 5.0
length_m = 8.0
seed = {seed}
"""
LINK_FAULTS = ("refused", "cut_mid_record", "half_open", "garbage", "slicer")
FROZEN = {"rpm1": "frozen_counts", "scanner1": "frozen", "lpr1": "frozen", "io1": "frozen"}
CHECKS = {"rpm1": "rpm", "scanner1": "scanner", "lpr1": "lpr"}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("device", ["rpm1", "scanner1", "lpr1", "io1"])
def test_a_device_breaks_in_every_way_and_comes_back(tmp_path: Path, device: str) -> None:
    faults = (*LINK_FAULTS, FROZEN[device])
    scenario = tmp_path / "trucks.toml"
    trucks = "".join(TRUCK.format(name=name, seed=n) for n, name in enumerate(faults))
    scenario.write_text(f'title = "One truck for each fault"\ngap_s = 2.0\n{trucks}', encoding="utf-8")
    with running_station(tmp_path, rate=5.0, options=("--scenario", str(scenario))) as station:
        for fault in faults:
            strike(station, device, fault)
        # The last truck meets a sound lane, as if nothing had ever happened.
        last = next_sealed(station, station.records("inspection.sealed")[-1]["seq"])
        if device in CHECKS:
            assert last["coverage"][CHECKS[device]]["state"] == "done", last
        assert_never_clear_without_data(station)
        assert_arm_only_moves_for_an_order(station)
        assert station.alive
        assert not list((station.state / "crash").glob("*")), "a driver crashed"


def strike(station: Station, device: str, fault: str) -> None:
    """Break the device while a truck is in the lane, mend it, and wait until it is online again."""
    known = {r["inspection_id"] for r in station.records("inspection.opened")}

    def arrived() -> bool:
        return any(r["inspection_id"] not in known for r in station.records("inspection.opened"))

    station.until(arrived, f"a truck for {device} {fault}")
    station.fault(device, fault)
    until = len(station.feed())
    station.until(lambda: len(station.feed()) > until, f"something happens under {device} {fault}", 10)
    assert station.get("/healthz").status == 200, f"the daemon does not live with {device} {fault}"
    station.fault(device, "none")
    station.until(lambda: station.device(device) == "online", f"{device} online after {fault}", 20)
    station.until(lambda: station.lane()["inspection"] is None, f"the truck of {device} {fault} leaves", 30)


def next_sealed(station: Station, after: int) -> Any:
    """Return the next sealed record."""

    def sealed() -> list[Any]:
        return [r for r in station.records("inspection.sealed") if r["seq"] > after]

    return station.until(sealed, "another truck is sealed")[0]


def assert_never_clear_without_data(station: Station) -> None:
    """Clear, in advice or in record, needs every required check to be done, from this vehicle's data."""
    records = station.records("decision.requested") + station.records("inspection.sealed")
    assert records
    for record in records:
        level = record["level"] if "level" in record else record["recommendation"]["level"]
        states = {name: record["coverage"][name]["state"] for name in CHECKS.values()}
        if level == "clear":
            assert set(states.values()) == {"done"}, (record["inspection_id"], states)
    for record in station.records("inspection.sealed"):
        occupancies = station.records("occupancy.ended", inspection_id=record["inspection_id"])
        if record["coverage"]["rpm"]["state"] == "done":
            assert any(occupancy["complete"] for occupancy in occupancies)
        if record["coverage"]["scanner"]["state"] == "done":
            assert record["scan"]["state"] == "complete"
            assert record["scan"]["lines"] > 0
        if record["coverage"]["lpr"]["state"] == "done":
            assert station.records("plate.read", inspection_id=record["inspection_id"])


def assert_arm_only_moves_for_an_order(station: Station) -> None:
    """No arm goes up without a recorded order."""
    orders = {record["seq"] for record in station.records("decision.recorded")}
    for moved in station.records("barrier.moved", to="up"):
        assert moved["decision_seq"] in orders
