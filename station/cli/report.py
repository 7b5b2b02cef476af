"""How the lane is, for whoever asks over HTTP."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from station.api.services import DeviceReport, LaneHealth
from station.lane.lane import Lane
from station.lane.record import degraded_reasons
from station.runtime.supervisor import Supervisor
from station.runtime.watchdog import Watchdog


@dataclass(frozen=True, slots=True)
class LaneReport:
    """What health, metrics and the technician need of the lane."""

    lane: Lane
    supervisor: Supervisor
    watchdog: Watchdog

    def health(self) -> LaneHealth:
        """Return how the lane is now."""
        core = self.lane.core
        reasons = tuple(degraded_reasons(core))
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

    def device(self, name: str) -> DeviceReport | None:
        """Return what is known of a device."""
        if name not in self.lane.core.devices:
            return None
        status = self.supervisor.health(name)
        return DeviceReport(
            state=str(status.state),
            cause=status.cause or "",
            detail=status.detail,
            identity=dataclasses.asdict(status.identity) if status.identity else {},
            age_s=status.age_s,
            readings=status.readings,
            opened=status.opened,
            crashes=status.crashes,
            abandoned=status.abandoned,
            bad_frames=status.bad_frames,
            last_bad_frames=[
                (stamp.utc_ns // 1000, bad.kind, bad.offset, bad.head)
                for stamp, bad in status.last_bad_frames
            ],
            tail=self.supervisor.raw_tail(name),
        )
