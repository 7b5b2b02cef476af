"""Attenuation to areal density: what a ray passed through, in g/cm², if it were all of one material.

T(t) = Σ w·e^(−μ(E)·t) over the energies of the source; a = −ln T is inverted by a monotone table. For one
energy that is a/μ; for Co-60's two lines the beam hardens a little. The coefficients are NIST's
(``data/attenuation.csv``), log-log between them; no material here has an edge above 0.3 MeV.
"""

from __future__ import annotations

import csv
from functools import cache, cached_property
from importlib.resources import files
from types import MappingProxyType

import numpy as np

from imaging.radiograph.model import D16_AIR, D16_PER_NEPER, F64, U16, RadiographError

NODES = 512
MOST_ATTENUATION = 16.0
"""Beyond what D16 can say."""
ENERGY_MEV = (0.3, 10.0)

SOURCES = MappingProxyType({"Cs-137": ((0.6617, 1.0),), "Co-60": ((1.1732, 0.5), (1.3325, 0.5))})
"""Lines of the isotopes of cargo scanners: MeV and share of the quanta."""
STEEL = "iron"


@cache
def _table() -> tuple[F64, dict[str, F64]]:
    text = files(__package__).joinpath("data/attenuation.csv").read_text(encoding="utf-8")
    rows = list(csv.reader(line for line in text.splitlines() if not line.startswith("#")))
    values = np.log(np.array(rows[1:], dtype=np.float64))
    return values[:, 0], dict(zip(rows[0][1:], values[:, 1:].T, strict=True))


def materials() -> tuple[str, ...]:
    """Return the names of the materials, light to heavy."""
    return tuple(_table()[1])


def mass_attenuation(material: str, energy_mev: F64) -> F64:
    """Return μ/ρ in cm²/g at these energies, float64 of the same shape.

    Raises ``RadiographError`` for an unknown material, or an energy outside 0.3 to 10 MeV.
    """
    energies, coefficients = _table()
    if material not in coefficients:
        raise RadiographError(f"there is no material {material!r}; there are {', '.join(coefficients)}")
    if not ((energy_mev >= ENERGY_MEV[0]) & (energy_mev <= ENERGY_MEV[1])).all():
        raise RadiographError(
            f"energies of {ENERGY_MEV[0]} to {ENERGY_MEV[1]} MeV are known, not {energy_mev} MeV"
        )
    found: F64 = np.exp(np.interp(np.log(energy_mev), energies, coefficients[material]))
    return found


class ArealDensity:
    """Attenuation to g/cm² of one material for one source, and back.

    ``spectrum``: energies in MeV and their share of what the detector sees (quanta of a counter; weighted by
    energy where it integrates charge).
    """

    def __init__(self, material: str, spectrum: tuple[tuple[float, float], ...]) -> None:
        energy, weight = np.array(spectrum, dtype=np.float64).T
        self._mu = mass_attenuation(material, energy)
        self._weight = weight / weight.sum()
        self._density = np.linspace(0, MOST_ATTENUATION / float(self._mu.min()), NODES)
        self._attenuation = self.attenuation(self._density)

    def attenuation(self, density_g_cm2: F64) -> F64:
        """Return a = −ln T behind so much of the material, float64 of the same shape."""
        passed = np.exp(-np.multiply.outer(density_g_cm2, self._mu)) @ self._weight
        found: F64 = -np.log(passed)
        return found

    def density_g_cm2(self, attenuation: F64) -> F64:
        """Return g/cm², float64 of the same shape; below nothing is below nothing, as noise in air is."""
        slope = self._attenuation[1] / self._density[1]
        inside = np.interp(attenuation, self._attenuation, self._density)
        found: F64 = np.where(attenuation < 0, attenuation / slope, inside)
        return found

    @cached_property
    def of_d16(self) -> F64:
        """g/cm² of each D16 value, float64 (65,536,): a look-up for whole images."""
        return self.density_g_cm2((D16_AIR - np.arange(65_536)) / D16_PER_NEPER)


def areal_density(source: str, material: str = STEEL) -> ArealDensity | None:
    """Return the table of a scanner's source, or ``None`` where its spectrum is not known."""
    spectrum = SOURCES.get(source)
    return ArealDensity(material, spectrum) if spectrum else None


def mass_kg(d16: U16, table: ArealDensity, row_area_m2: F64) -> float:
    """Return the mass of lines × detectors of ``d16``, as if all were the table's material.

    ``row_area_m2`` float64 (detectors,): area that a pixel of the row covers across its ray, see
    ``FanGeometry.pixel_area_m2``. Pixels without data must have been left out by the caller.
    """
    return float(10 * table.of_d16[d16].sum(axis=0) @ row_area_m2)  # 1 g/cm² is 10 kg/m²
