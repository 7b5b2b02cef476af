"""How the lane is, for whoever asks over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from station.api.services import LaneHealth
from station.lane.daily import Daily
from station.lane.lane import Lane
from station.lane.record import degraded_reasons
from station.runtime.device import DeviceStatus
from station.runtime.health import Health
from station.runtime.supervisor import Supervisor
from station.runtime.watchdog import Watchdog
from station.store.journal import Store
from station.store.quota import Pressure


def store_reasons(store: Store) -> tuple[str, ...]:
    """Return what a person must know of the journal.

    ``manual``: room is nearly used up. ``new_epoch``: the journal was lost or damaged and began anew, until
    the required consumers have taken that. ``damaged_records``: the feed withholds some.
    ``refused_records``: a consumer has refused very many, see its quarantine.
    ``consumer_left_behind``: a required one is no longer in the lane file; nothing goes until it is dropped.
    """
    said = {
        "manual": store.pressure >= Pressure.MANUAL,
        "new_epoch": store.is_news,
        "damaged_records": bool(store.damaged),
        "refused_records": bool(store.troubles.refused),
        "consumer_left_behind": bool(store.left_behind),
    }
    return tuple(code for code, is_so in said.items() if is_so)


@dataclass(frozen=True, slots=True)
class LaneReport:
    """What health, metrics and the technician need of the lane."""

    lane: Lane
    supervisor: Supervisor
    watchdog: Watchdog
    store: Store
    daily: Daily

    def health(self) -> LaneHealth:
        """Return how the lane is now."""
        core = self.lane.core
        reasons = (*degraded_reasons(core), *store_reasons(self.store), *self.daily.reasons)
        lane = "degraded" if reasons else "ok"
        return LaneHealth(
            lane="out_of_service" if core.mode == "out_of_service" else lane,
            devices={view.name: view.state for view in core.devices.values()},
            clock=core.clock_quality,
            silent_s=max(self.watchdog.late().values(), default=0.0),
            reasons=reasons,
        )

    def sealed(self) -> Mapping[bool, int]:
        """Return how many inspections were sealed since the start."""
        return {self.lane.core.facts.simulated: self.lane.core.sealed_count}

    def device(self, name: str) -> DeviceStatus | None:
        """Return what is known of a device; of a portal of contacts, what is known of its board."""
        core = self.lane.core
        if name not in core.devices:
            return None
        board = next((device.board for device in core.facts.devices if device.name == name), "")
        status, view = self.supervisor.health(board or name), core.devices[name]
        return replace(status, state=Health(view.state), cause=view.cause) if board else status
