"""The shipped scenarios drive what they promise past the shipped lane."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from drivers.plant.chaos import FAULTS
from drivers.plant.clock import PlantClock
from drivers.plant.vehicle import Scenario, Vehicle, load_scenario
from drivers.plant.world import Plant
from station import plugins
from station.lanefile import LaneFile, config_folder, load_lane, shipped

NSIGMA = 7
"""The device's own limit is B + 7·√B over one second [OpenSensorHub OSCAR, default]."""


@pytest.fixture(scope="module")
def lane() -> LaneFile:
    return load_lane(shipped("lanes", "demo"), plugins.find)


@pytest.fixture(scope="module")
def demo() -> Scenario:
    return load_scenario(shipped("scenarios", "demo"))


def passage(lane: LaneFile, scenario: Scenario, vehicle: Vehicle) -> tuple[float, float]:
    """Greatest expected gamma counts in a second over the device's limit, and greatest neutron rate."""
    plant = Plant(lane.geometry, scenario, PlantClock(rate=0))
    background = sum(plant.background.gamma_cps)
    plant.vehicle = vehicle
    plant.nose_m = lane.geometry.portal_beams_m[0]
    gamma, neutron = [], []
    while plant.tail_m < lane.geometry.portal_beams_m[1]:
        gamma.append(0.2 * sum(plant.gamma_cps()))
        neutron.append(sum(plant.neutron_cps()))
        plant.nose_m += 0.2 * vehicle.speed_mps
    seconds = [sum(gamma[start : start + 5]) for start in range(len(gamma) - 4)]
    return max(seconds) / (background + NSIGMA * math.sqrt(background)), max(neutron)


def test_six_trucks_clean_empty_norm_unread_plate_cut_scanner_neutron(lane: LaneFile, demo: Scenario) -> None:
    clean, empty, norm, unread, cut, neutron = demo.truck
    ratios = {truck.name: passage(lane, demo, truck) for truck in demo.truck}
    assert (clean.length_m, clean.speed_mps) == (12.0, 4.0)
    assert empty.load == "empty"
    assert norm.load == "tiles"
    assert norm.sources[0].span_m > 4
    assert ratios[norm.name][0] > 1.2
    assert [truck for truck in demo.truck if not truck.plate_readable] == [unread]
    assert [truck for truck in demo.truck if truck.faults] == [cut]
    assert ratios[neutron.name][1] > 40
    for truck in (clean, empty, unread, cut, neutron):
        assert ratios[truck.name][0] < 0.95, truck.name
    for truck in (clean, empty, norm, unread, cut):
        assert ratios[truck.name][1] == pytest.approx(3.0)


def test_faults_name_a_device_of_the_lane_and_a_fault_of_the_proxy(lane: LaneFile, demo: Scenario) -> None:
    devices = {device.name for device in lane.devices}
    for fault in (fault for truck in demo.truck for fault in truck.faults):
        device, _, name = fault.partition(":")
        assert device in devices
        assert name in FAULTS


def test_no_two_trucks_are_one(demo: Scenario) -> None:
    for marks in (
        [truck.plate for truck in demo.truck],
        [truck.seed for truck in demo.truck],
        [truck.container for truck in demo.truck if truck.container],
    ):
        assert len(set(marks)) == len(marks)


@pytest.mark.parametrize("path", sorted((config_folder() / "scenarios").glob("*.toml")), ids=lambda p: p.stem)
def test_every_container_number_has_its_check_digit(path: Path) -> None:
    """[ISO 6346] letters count from 10, multiples of 11 left out; weights are powers of two; modulo 11."""
    letters = {
        letter: number
        for letter, number in zip(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ", (n for n in range(10, 39) if n % 11), strict=True
        )
    }
    for truck in load_scenario(path).truck:
        if mark := truck.container.replace(" ", ""):
            total = sum(
                (letters[c] if c in letters else int(c)) * 2**place for place, c in enumerate(mark[:10])
            )
            assert int(mark[10]) == total % 11 % 10, truck.container


def test_the_recorded_passage_is_scaled_to_1_8_times_the_limit(
    lane: LaneFile, shared_data: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    recorded = load_scenario(shipped("scenarios", "recorded"))
    assert recorded.needs is not None
    assert recorded.needs.is_file()
    (truck,) = recorded.truck
    assert truck.recorded is not None
    assert truck.recorded.path == recorded.needs
    assert passage(lane, recorded, truck)[0] == pytest.approx(1.8, abs=0.02)
