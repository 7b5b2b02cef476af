"""Coefficients, areal density and the fan: against published figures and against the phantom's own rays."""

from __future__ import annotations

import numpy as np
import pytest

from drivers.plant.phantom import Ellipsoid, Fan, Solid, transmission
from imaging.radiograph.attenuation import (
    SOURCES,
    ArealDensity,
    areal_density,
    mass_attenuation,
    mass_kg,
    materials,
)
from imaging.radiograph.geometry import FanGeometry
from imaging.radiograph.model import D16_AIR, D16_PER_NEPER, RadiographError

FAN = Fan(512, 0.008, 0.3, 5.0, 6.5, 2.0)
GEOMETRY = FanGeometry(512, 0.008, 0.3, 2.0, 5.0, 6.5)


@pytest.mark.parametrize(
    ("material", "at_662_kev", "at_1250_kev", "at_6_mev"),
    [
        ("polyethylene", 0.0880, 0.0650, 0.0276),
        ("water", 0.0857, 0.0632, 0.0277),
        ("aluminium", 0.0746, 0.0550, 0.0266),
        ("iron", 0.0735, 0.0535, 0.0306),
        ("lead", 0.1102, 0.0588, 0.0439),
    ],
)
def test_coefficients_are_the_published_ones(
    material: str, at_662_kev: float, at_1250_kev: float, at_6_mev: float
) -> None:
    found = mass_attenuation(material, np.array([0.6617, 1.25, 6.0]))
    assert found == pytest.approx([at_662_kev, at_1250_kev, at_6_mev], rel=0.005)


def test_between_two_energies_it_is_a_power_law() -> None:
    low, middle, high = mass_attenuation("iron", np.array([2.0, np.sqrt(6.0), 3.0]))
    assert middle == pytest.approx(np.sqrt(low * high))


def test_what_is_not_known_is_refused_in_words() -> None:
    with pytest.raises(
        RadiographError, match="there is no material 'kryptonite'; there are polyethylene, water"
    ):
        mass_attenuation("kryptonite", np.array([1.0]))
    with pytest.raises(RadiographError, match=r"energies of 0.3 to 10.0 MeV are known"):
        mass_attenuation("iron", np.array([0.1]))
    assert areal_density("9 MV") is None


@pytest.mark.parametrize("source", list(SOURCES))
@pytest.mark.parametrize("material", ["water", "iron", "lead"])
def test_the_table_is_its_own_inverse(source: str, material: str) -> None:
    table = areal_density(source, material)
    assert table is not None
    density = np.linspace(0, 120, 1_000)
    assert table.density_g_cm2(table.attenuation(density)) == pytest.approx(density, rel=1e-4, abs=1e-4)
    assert (np.diff(table.attenuation(density)) > 0).all()


def test_the_noise_of_air_has_the_mean_nothing() -> None:
    table = areal_density("Co-60")
    assert table is not None
    noise = np.random.default_rng(3).normal(0, 0.02, 100_000)
    assert table.density_g_cm2(noise).mean() == pytest.approx(0, abs=0.01)
    assert table.of_d16[D16_AIR] == pytest.approx(0, abs=1e-3)


def test_steel_reads_water_as_too_much_of_it() -> None:
    steel, water = areal_density("Co-60"), areal_density("Co-60", "water")
    assert steel is not None
    assert water is not None
    through = water.attenuation(np.array([50.0]))
    assert float(steel.density_g_cm2(through)[0]) / 50 == pytest.approx(1.18, abs=0.01)


def test_two_lines_harden_less_than_their_mean_says() -> None:
    two = ArealDensity("iron", SOURCES["Co-60"])
    mean = float(mass_attenuation("iron", np.array([1.1732, 1.3325])).mean())
    thick = float(two.attenuation(np.array([120.0]))[0])
    assert 0.98 < thick / (120 * mean) < 1.0


@pytest.mark.parametrize(
    ("away_m", "error"), [(0.0, 0.002), (-0.8, -0.14), (0.8, 0.19)], ids=["plane", "far", "near"]
)
def test_a_sphere_weighs_what_it_weighs_on_the_plane_and_off_it_by_what_the_fan_says(
    away_m: float, error: float
) -> None:
    """Towards the source it looks larger, behind the plane smaller: radiograph.md, section 3, step 8."""
    sphere = Solid(Ellipsoid((0.6, -away_m, 1.5), (0.5, 0.5, 0.5)), "steel", 1.0)
    width_m = 0.005
    x_m = (np.arange(240) + 0.5) * width_m
    a = -np.log(transmission([sphere], FAN, x_m))
    d16 = np.rint(D16_AIR - D16_PER_NEPER * a).astype(np.uint16)
    table = areal_density("Co-60")
    assert table is not None
    found_kg = mass_kg(d16, table, GEOMETRY.pixel_area_m2(width_m))
    true_kg = 4 / 3 * np.pi * 0.5**3 * 1_000
    assert found_kg / true_kg - 1 == pytest.approx(error, abs=0.015)
    where_it_is = mass_kg(d16, table, GEOMETRY.pixel_area_m2(width_m, 5.0 - away_m))
    assert where_it_is == pytest.approx(true_kg, rel=0.01)


def test_rays_are_where_the_phantom_has_them() -> None:
    assert pytest.approx(FAN.slope, abs=1e-11) == GEOMETRY.slope
    assert GEOMETRY.height_m(0) == pytest.approx(FAN.height_at_lane_m[0])
    assert GEOMETRY.height_m(511, 6.5) == pytest.approx(0.3)
    assert GEOMETRY.pixel_height_m == pytest.approx(-np.diff(FAN.height_at_lane_m).mean())


def test_materials_are_named() -> None:
    assert len(materials()) == 15
    assert materials()[0] == "polyethylene"
