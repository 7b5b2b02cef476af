"""The phantom against geometry on paper: chords, Beer-Lambert, and trucks that fit their lane."""

from __future__ import annotations

import numpy as np
import pytest

from drivers.formats.linestream.describe import parse
from drivers.plant.column import ColumnModel, DetectorColumn
from drivers.plant.phantom import (
    MASS_ATTENUATION,
    Box,
    Cylinder,
    Ellipsoid,
    Fan,
    Hollow,
    Phantom,
    Prism,
    Shape,
    Solid,
    transmission,
)
from drivers.plant.trucks import truck_solids
from drivers.plant.vehicle import Vehicle
from drivers.scanner.linestream.sim.emulator import FAN, describe

# Detectors every 10 mm, 5 m from a source at 1 m height, the lane in the middle.
SMALL = Fan(401, 0.01, -1.0, plane_distance_m=2.5, detector_distance_m=5.0, source_height_m=1.0)
LEVEL = 200
"""The row whose ray is level."""
CENTRE = (0.0, 0.0, 1.0)


def chord(shape: Shape, x_m: float = 0.0, fan: Fan = SMALL) -> np.ndarray:
    """Metres of steel-free 'water' along every ray of one line, undone from the areal density."""
    depth = Phantom([Solid(shape, "water", 1.0)], fan).areal_density(np.array([x_m]))
    return depth["water"][0] / 100 if depth else np.zeros(fan.detectors)


def test_the_fan_is_drawn_from_the_source_to_each_detector():
    assert SMALL.slope[LEVEL] == pytest.approx(0, abs=1e-9)
    assert SMALL.slope[0] == pytest.approx(2.0 / 5.0), "row 0 is the highest"
    assert SMALL.stretch[0] == pytest.approx(np.hypot(1, 0.4))
    assert SMALL.height_at_lane_m[0] == pytest.approx(2.0)


def test_a_sphere_is_its_diameter_through_the_middle_and_a_circle_beside():
    sphere = Ellipsoid(CENTRE, (0.5, 0.5, 0.5))
    assert chord(sphere)[LEVEL] == pytest.approx(1.0)
    assert chord(sphere, 0.3)[LEVEL] == pytest.approx(0.8), "2·sqrt(0.5² − 0.3²)"
    # A ray passes the centre at distance 2.5·sin(θ); its chord follows from that alone.
    passing = 2.5 * SMALL.slope / SMALL.stretch
    expected = 2 * np.sqrt(np.maximum(0, 0.25 - passing**2))
    np.testing.assert_allclose(chord(sphere), expected, atol=1e-9)
    assert not chord(sphere, 0.501).any()


def test_an_ellipsoid_has_its_own_half_axes():
    assert chord(Ellipsoid(CENTRE, (2.0, 0.25, 0.1)))[LEVEL] == pytest.approx(0.5)
    rows = np.count_nonzero(chord(Ellipsoid(CENTRE, (2.0, 0.25, 0.1))))
    assert rows == pytest.approx(0.2 * 2 / SMALL.pitch_m, abs=2), "0.2 m high, seen at half way"


def test_a_slab_is_its_thickness_over_the_cosine():
    slab = Box((-1, 1), (-0.2, 0.3), (-9, 9))
    np.testing.assert_allclose(chord(slab), 0.5 * SMALL.stretch)


def test_a_box_cuts_the_rays_that_enter_or_leave_through_its_top():
    box = Box((-1, 1), (0.0, 0.5), (0.0, 1.25))
    # Row 150 rises by 0.1 a metre: it is at 1.25 m, the top of the box, where the box begins (y = 0).
    assert chord(box)[149] == 0
    rise = SMALL.slope[152]
    assert rise == pytest.approx(0.096)
    assert chord(box)[152] == pytest.approx((0.25 / rise - 2.5) * SMALL.stretch[152])
    assert chord(box)[160] == pytest.approx(0.5 * SMALL.stretch[160]), "in at the front, out at the back"


def test_a_prism_follows_its_outline():
    wedge = Prism(((0.0, 0.0, 1.0), (2.0, 0.0, 3.0)), (-0.1, 0.1))
    assert chord(wedge, 0.5)[LEVEL] == pytest.approx(0.2)
    assert np.count_nonzero(chord(wedge, 1.0)) > np.count_nonzero(chord(wedge, 0.2))
    box = Box((0.0, 2.0), (-0.1, 0.1), (0.4, 1.2))
    flat = Prism(((0.0, 0.4, 1.2), (2.0, 0.4, 1.2)), (-0.1, 0.1))
    np.testing.assert_allclose(chord(flat, 1.0), chord(box, 1.0))


@pytest.mark.parametrize(("axis", "level"), [("x", 0.8), ("y", 0.6), ("z", 0.8)])
def test_a_cylinder_about_each_axis(axis: str, level: float):
    cylinder = Cylinder(axis, CENTRE, radius_m=0.4, half_m=0.3)  # type: ignore[arg-type]
    assert chord(cylinder)[LEVEL] == pytest.approx(level)
    beside = {"x": 0.8, "y": 0.6, "z": 2 * np.sqrt(0.4**2 - 0.2**2)}[axis]
    assert chord(cylinder, 0.2)[LEVEL] == pytest.approx(beside)
    assert not chord(cylinder, {"x": 0.31, "y": 0.41, "z": 0.41}[axis]).any(), "it is finite"


def test_a_hollow_cylinder_is_outer_minus_inner():
    pipe = Hollow(Cylinder("x", CENTRE, 0.4, 0.5), Cylinder("x", CENTRE, 0.3, 0.2))
    assert chord(pipe, 0.0)[LEVEL] == pytest.approx(0.2)
    assert chord(pipe, 0.3)[LEVEL] == pytest.approx(0.8), "its end is solid"


def test_areal_mass_summed_over_the_fan_is_the_mass_of_a_sphere_on_the_plane():
    """Mass of a pixel = t·r·Δθ·Δx; a sphere of 1 m diameter on the plane is +0.2 % for its size."""
    fan = Fan(2001, 0.002, -1.0, plane_distance_m=5.0, detector_distance_m=5.0, source_height_m=1.0)
    x = np.arange(-0.6, 0.6, 0.002)
    depth = Phantom([Solid(Ellipsoid(CENTRE, (0.5, 0.5, 0.5)), "water", 1.0)], fan).areal_density(x)["water"]
    theta = np.arctan(fan.slope)
    width = np.abs(np.gradient(theta)) * fan.plane_distance_m / np.cos(theta)
    kilograms = (depth * 10 * width * 0.002).sum()
    assert kilograms == pytest.approx(4 / 3 * np.pi * 0.5**3 * 1000, rel=0.004)


def test_beer_lambert_over_both_lines_of_cobalt():
    slab = Solid(Box((-1, 1), (0.0, 0.1), (-9, 9)), "steel", 7.86)
    passed = transmission([slab], SMALL, np.zeros(1))
    areal = 7.86 * 10 * SMALL.stretch
    high, low = MASS_ATTENUATION["steel"]
    np.testing.assert_allclose(passed[0], (np.exp(-high * areal) + np.exp(-low * areal)) / 2, rtol=1e-6)
    assert passed.dtype == np.float32
    both = transmission([slab, slab], SMALL, np.zeros(1))
    assert both[0, LEVEL] == pytest.approx((np.exp(-2 * high * 78.6) + np.exp(-2 * low * 78.6)) / 2, rel=1e-5)
    assert (transmission([], SMALL, np.zeros(3)) == 1).all()


@pytest.mark.parametrize(
    ("material", "electrons_per_gram"),
    [("steel", 0.46557), ("aluminium", 0.48181), ("water", 0.55508), ("plastic", 0.57034), ("wood", 0.53037),
     ("ceramic", 0.4993)],
)  # fmt: skip
def test_the_constants_are_compton_scattering_and_little_more(material: str, electrons_per_gram: float):
    """Klein-Nishina alone, from Z/A: the rest (coherent, photoelectric) is below 2 % at these energies."""
    for energy_mev, mu in zip((1.1732, 1.3325), MASS_ATTENUATION[material], strict=True):
        a = energy_mev / 0.510_999
        first = (1 + a) / a**2 * (2 * (1 + a) / (1 + 2 * a) - np.log(1 + 2 * a) / a)
        per_electron = (
            2 * np.pi * 7.940_79e-26 * (first + np.log(1 + 2 * a) / (2 * a) - (1 + 3 * a) / (1 + 2 * a) ** 2)
        )
        assert mu == pytest.approx(6.022_14e23 * electrons_per_gram * per_electron, rel=0.02)


def test_one_line_at_a_time_gives_what_all_lines_give():
    truck = Phantom(truck_solids(Vehicle(name="t", plate="T", seed=3)), FAN)
    x = np.arange(4.0, 5.0, 0.008)
    np.testing.assert_array_equal(
        truck.transmission(x), np.vstack([truck.transmission(x[i : i + 7]) for i in range(0, len(x), 7)])
    )


@pytest.mark.parametrize("load", ["pallets", "drums", "tiles", "machine", "empty"])
@pytest.mark.parametrize("length_m", [6.0, 9.0, 12.0, 15.5, 25.0])
def test_every_truck_fits_its_lane(load: str, length_m: float):
    vehicle = Vehicle(name="t", plate="T", length_m=length_m, load=load, seed=5)  # type: ignore[arg-type]
    x = np.arange(-0.4, length_m + 0.4, 0.04)
    passed = Phantom(truck_solids(vehicle), FAN).transmission(x)
    shadow = passed < 0.999
    columns = x[shadow.any(axis=1)]
    assert -0.05 <= columns[0] <= 0.2, "it begins at its nose"
    assert length_m - 0.3 <= columns[-1] <= length_m, "and ends at its tail"
    rows = np.flatnonzero(shadow.any(axis=0))
    _, geometry = parse(describe(FAN, ColumnModel(FAN.detectors)))
    assert len(geometry.reference_detectors) >= 10
    assert rows[0] > max(geometry.reference_detectors), "nothing stands before the reference detectors"
    assert rows[-1] < FAN.detectors - 1, "the wheels stand on what is seen"


def test_loads_are_told_apart_and_only_dense_ones_are_not_penetrated():
    quanta = {}
    for load in ("empty", "pallets", "tiles", "machine"):
        vehicle = Vehicle(name="t", plate="T", load=load, seed=5)  # type: ignore[arg-type]
        x = np.arange(3.6, 11.6, 0.008)  # the container
        passed = Phantom(truck_solids(vehicle), FAN).transmission(x)[:, FAN.height_at_lane_m > 1.3]
        quanta[load] = passed * ColumnModel(1).air_counts
    starved = {load: float((counts < 10).mean()) for load, counts in quanta.items()}
    assert starved["empty"] < 0.002
    assert starved["pallets"] < 0.01
    assert starved["machine"] > 0.01, "a solid block"
    assert starved["tiles"] > 0.01
    means = {load: float(-np.log(np.maximum(counts / 2500, 1e-4)).mean()) for load, counts in quanta.items()}
    assert means["empty"] < means["pallets"]
    assert means["empty"] < means["tiles"]


def test_the_same_truck_is_the_same_and_another_seed_is_another():
    def picture(seed: int) -> np.ndarray:
        vehicle = Vehicle(name="t", plate="T", seed=seed)
        return Phantom(truck_solids(vehicle), FAN).transmission(np.arange(4, 11, 0.1))

    np.testing.assert_array_equal(picture(1), picture(1))
    assert (picture(1) != picture(2)).any()


def test_what_is_declared_is_what_is_traced():
    model = ColumnModel(FAN.detectors)
    _, geometry = parse(describe(FAN, model))
    assert geometry.detectors == FAN.detectors == 512
    assert geometry.pitch_m == pytest.approx(FAN.pitch_m)
    assert geometry.bottom_m == pytest.approx(FAN.bottom_m, abs=1e-6)
    assert geometry.plane_distance_m == pytest.approx(FAN.plane_distance_m)
    assert geometry.detector_distance_m == pytest.approx(FAN.detector_distance_m)
    assert geometry.full_scale == model.full_scale
    steps = -np.diff(FAN.height_at_lane_m)
    np.testing.assert_allclose(steps, 0.008, rtol=1e-9, err_msg="8 mm at the lane plane")
    np.testing.assert_array_equal(
        geometry.reference_detectors, np.arange(len(geometry.reference_detectors)), "the highest rows"
    )


def test_samples_are_poisson_on_a_dark_offset_rounded_not_cut():
    model = ColumnModel(64, air_counts=1000, read_noise=1.0)
    column = DetectorColumn(model, seed=1)
    dark = column.expose(np.zeros((4000, 64)))
    np.testing.assert_allclose(
        dark.mean(axis=0), column.dark, atol=0.1, err_msg="a cast would lose half a count"
    )
    assert dark.std(axis=0) == pytest.approx(np.sqrt(1 + 1 / 12), abs=0.08)
    air = column.expose(np.ones((4000, 64)))
    signal = air.mean(axis=0) - column.dark
    np.testing.assert_allclose(signal, 1000 * column.gain, rtol=0.005)
    assert air.var(axis=0).mean() == pytest.approx(signal.mean() + 1, rel=0.05), "k = 1"
    assert column.gain.std() == pytest.approx(0.05, rel=0.4)
    assert air.dtype == np.uint16


def test_a_bright_detector_saturates_and_a_dead_one_sees_nothing():
    column = DetectorColumn(ColumnModel(4, air_counts=8000, dead=(2,)), seed=1)
    air = column.expose(np.ones((10, 4)))
    assert (air[:, 0] == 4000).all()
    assert (air[:, 2] < 100).all()
