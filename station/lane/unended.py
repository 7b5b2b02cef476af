"""Occupancies that were open when the daemon was killed: each gets a record, of a vehicle not measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from station.domain.values import OccupancySummary
from station.lane.restart import Record, spared

CAUSE = "station_restart"


@dataclass(slots=True)
class Unended:
    """An occupancy whose end no record tells; of which inspection, and where the device alarmed in it."""

    occupancy_id: str
    device: str
    inspection_id: str
    gamma: bool = False
    neutron: bool = False

    def summary(self) -> OccupancySummary:
        """Return its record: its counts are lost, the device's alarms are not."""
        return OccupancySummary(
            occupancy_id=self.occupancy_id,
            device=self.device,
            close_reason=CAUSE,
            complete=False,
            missing=(CAUSE,),
            start_known=False,
            duration_s=0.0,
            gamma_max_1s=None,
            gamma_background=None,
            gamma_limit=None,
            neutron_max=None,
            neutron_limit=None,
            sigma_max=None,
            gamma_alarm=self.gamma,
            neutron_alarm=self.neutron,
            tamper=False,
            gaps=0,
        )


def unended(records: Iterable[Record]) -> tuple[Unended, ...]:
    """Return the occupancies that the newest records of the journal, oldest first, leave open."""
    found: dict[str, Unended] = {}
    for record in records:
        with spared(record):
            _follow(found, record[1], record[2])
    return tuple(found.values())


def _follow(found: dict[str, Unended], kind: str, data: Mapping[str, Any]) -> None:
    if kind == "carril.occupancy.started":
        if (known := data.get("occupancy_id")) is not None:  # records of earlier versions name none
            found[known] = Unended(known, data["device"], data["inspection_id"])
    elif kind == "carril.occupancy.ended":
        found.pop(data["occupancy_id"], None)
    elif kind == "carril.inspection.amended" and data["what"] == "occupancy":
        found.pop(data["fields"]["occupancy_id"], None)
    elif kind == "carril.radiation_alarm.raised":
        for one in found.values():
            if (one.device, one.inspection_id) == (data["device"], data["inspection_id"]):
                one.gamma |= data["channel"] == "gamma"
                one.neutron |= data["channel"] == "neutron"
