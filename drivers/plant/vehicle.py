"""What drives through the virtual lane: trucks, the sources in them, and the list of a scenario."""

from __future__ import annotations

import csv
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Model):
    """A radiation source in the load, seen through the inverse-square law by one portal pillar pair.

    ``at_m`` is its middle in metres behind the nose, ``span_m`` the length over which it is spread
    (0: a point). ``gamma_cps`` and ``neutron_cps`` are net counts per second, summed over all panels,
    at closest approach of a point source; ``distance_m`` is the panel-to-axis distance.
    """

    at_m: float
    span_m: float = Field(default=0.0, ge=0)
    gamma_cps: float = Field(default=0.0, ge=0)
    neutron_cps: float = Field(default=0.0, ge=0)
    distance_m: float = Field(default=2.5, gt=0)

    def response(self, s_m: float) -> float:
        """Return the fraction of the closest-approach rate with the portal ``s_m`` behind the nose."""
        parts = 1 if self.span_m == 0 else 9
        offsets = [self.span_m * (i / (parts - 1) - 0.5) for i in range(parts)] if parts > 1 else [0.0]
        return sum(1 / (1 + ((s_m - self.at_m - o) / self.distance_m) ** 2) for o in offsets) / parts


class RecordedProfile(_Model):
    """A recorded passage used as the shape of a source: net rate against distance from its peak.

    The file is a table with the columns ``real_time_s`` and ``gamma_live_cps``: counts over live time,
    because dead time flattens the top of the plain counts. The first sample's level is background.
    """

    path: Path
    speed_mps: float = Field(gt=0)
    peak_cps: float = Field(gt=0)
    at_m: float

    @cached_property
    def _table(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        with self.path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
        time_s = np.cumsum([float(row["real_time_s"]) for row in rows])
        rate = np.array([float(row["gamma_live_cps"]) for row in rows])
        net = np.clip(rate - rate[0], 0, None)
        place_m = (time_s - time_s[int(net.argmax())]) * self.speed_mps
        return place_m, net / net.max()

    def response_cps(self, s_m: float) -> float:
        """Return the net rate in counts per second with the portal ``s_m`` behind the nose."""
        place_m, shape = self._table
        return self.peak_cps * float(np.interp(s_m - self.at_m, place_m, shape, left=0.0, right=0.0))


class Halt(_Model):
    """A stop with the nose at ``at_m`` (metres along the lane), for ``wait_s``, then so far backwards."""

    at_m: float
    wait_s: float = Field(default=0.0, ge=0)
    back_m: float = Field(default=0.0, ge=0)


class Vehicle(_Model):
    """One truck of a scenario."""

    name: str
    plate: str
    region: str = "US-TX"
    plate_readable: bool = True
    container: str = ""
    length_m: float = Field(default=12.0, ge=6, le=40)
    speed_mps: float = Field(default=4.0, gt=0.2, le=15)
    load: Literal["pallets", "drums", "tiles", "machine", "empty"] = "pallets"
    cab: Literal["white", "blue", "green", "sand", "red"] = "white"
    suppression: float = Field(default=0.08, ge=0, le=0.6)
    """Share of the natural background that this vehicle keeps from the panels."""
    halts: tuple[Halt, ...] = ()
    """Where it stops on its way, in the order of travel."""
    sources: tuple[Source, ...] = ()
    recorded: RecordedProfile | None = None
    seed: int = 0
    faults: tuple[str, ...] = ()
    """Link faults while this truck passes, each ``device:fault``."""


class Scenario(_Model):
    """A list of trucks, driven in order and then again from the start."""

    title: str
    needs: Path | None = None
    """A file without which the scenario cannot run."""
    gap_s: float = Field(default=15.0, ge=0)
    truck: tuple[Vehicle, ...] = Field(min_length=1)


def load_scenario(path: Path) -> Scenario:
    """Read a scenario file.

    Raises ``ValueError`` with one sentence that names the file, the place in it and what is allowed.
    """
    try:
        return Scenario.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"the scenario {path} cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{path}: {place} = {first['input']!r}: {first['msg']}") from error
