"""Is each panel of a portal well, and does the portal follow its own rule? For the technician.

What is found is recorded once until it ends, is an alarm of the lowest rank and degrades the portal. Whether
a portal still measures, the portal says; but neutron panels that are all silent measure nothing (``blind``).
"""

from __future__ import annotations

from typing import Any

from drivers.api import PortalFacts
from drivers.readings import Channel, Counts
from imaging.radiation.health import Finding, Learnt, PanelHealth
from station.domain.device_events import PanelFaultEnded, PanelFaultFound
from station.domain.events import ReplicaDisagreed
from station.domain.second_opinion import contradicted
from station.domain.values import Args, OccupancySummary, PanelFinding, PanelsLearnt, StandingPortal
from station.lane.core import Core
from station.lane.effects import Suspect
from station.lane.measured import late_alarm

CODES = ("stuck", "silent", "drift", "dispersion")
Key = tuple[str, Channel]


class PanelWatch:
    """Every panel of every portal that counts."""

    def __init__(self, core: Core) -> None:
        """Know nothing of any panel."""
        self._core = core
        self._health: dict[Key, PanelHealth] = {}
        self._before: dict[Key, Learnt] = {}
        """What the journal says of panels that have not counted since the start."""

    def background(self, device: str, portal: PortalFacts, reading: Counts) -> None:
        """Take a record that entered the background."""
        key, counts = (device, reading.channel), reading.counts
        health = self._health.get(key)
        if health is None:
            averaged = self._core.facts.averaged(portal, reading)
            neutron = reading.channel == Channel.NEUTRON
            before = self._before.pop(key, None)
            health = PanelHealth(len(counts), averaged=averaged, neutron=neutron, before=before)
            self._health[key] = health
        if len(counts) != health.detectors:
            return
        known = health.learnt
        for finding in health.push(counts):
            self._found(device, portal, reading.channel, finding)
        self._core.learnt |= (known.shares, known.dispersions) != (
            health.learnt.shares,
            health.learnt.dispersions,
        )

    def judged(self, summary: OccupancySummary, inspection_id: str, plate: str) -> None:
        """A portal's occupancy was judged: hold what it did against what its own rule says."""
        core, device = self._core, summary.device
        if (relation := contradicted(summary)) is not None:
            subject = {"inspection_id": inspection_id, "version": 0}
            core.emit(ReplicaDisagreed, **subject, device=device, relation=relation)
            if core.book.find("portal_rule", device) is None:
                late_alarm(core, "portal_rule", device, inspection_id, plate)

    def blind(self, device: str, portal: PortalFacts) -> bool:
        """Whether all neutron panels of a portal are silent."""
        key = (device, Channel.NEUTRON)
        panels = self._health[key].detectors if key in self._health else len(portal.detectors)
        silent = [found for found in self._learnt(key).standing if found[0] == "silent"]
        return bool(silent) and len(silent) >= panels

    # --- over a restart -------------------------------------------------------------------------

    def standing(self, device: str) -> dict[str, Any]:
        """Return of a portal's panels what a restart must know, as fields of ``StandingPortal``."""
        known = {channel: self._learnt((device, channel)) for channel in Channel}
        return {
            "findings": tuple(
                PanelFinding.model_validate({"channel": str(channel), "code": code, "detector": detector})
                for channel, learnt in known.items()
                for code, detector in sorted(learnt.standing)
            ),
            "panels": tuple(
                PanelsLearnt.model_validate(
                    {"channel": str(channel), "shares": learnt.shares, "dispersions": learnt.dispersions}
                )
                for channel, learnt in known.items()
                if learnt.shares or any(learnt.dispersions)
            ),
        }

    def restore(self, known: StandingPortal, portal: PortalFacts) -> None:
        """Go on from what the journal says of a portal."""
        for channel in Channel:
            panels = next((each for each in known.panels if each.channel == channel), None)
            standing = ((each.code, each.detector) for each in known.findings if each.channel == channel)
            learnt = Learnt(
                panels.shares if panels else (), panels.dispersions if panels else (), frozenset(standing)
            )
            if learnt != Learnt():
                self._before[known.device, channel] = learnt
        for code in CODES:
            self._show(known.device, portal, code)

    def _learnt(self, key: Key) -> Learnt:
        health = self._health.get(key)
        return health.learnt if health else self._before.get(key, Learnt())

    # --- what is found --------------------------------------------------------------------------

    def _found(self, device: str, portal: PortalFacts, channel: Channel, finding: Finding) -> None:
        self._core.emit(
            PanelFaultEnded if finding.over else PanelFaultFound,
            device=device,
            channel=str(channel),
            detector=finding.detector,
            panel=_panel(portal, finding.detector),
            code=finding.code,
            value=finding.value,
        )
        self._show(device, portal, finding.code)

    def _show(self, device: str, portal: PortalFacts, code: str) -> None:
        """One alarm and one suspicion for all panels of a portal with the same fault."""
        core, name = self._core, f"panel_{code}"
        known = (self._learnt((device, channel)).standing for channel in Channel)
        detectors = sorted(detector for standing in known for found, detector in standing if found == code)
        values: Args = {"panel": " ".join(_panel(portal, detector) for detector in detectors)}
        alarm = core.book.find(name, device)
        if detectors:
            core.lane_alarm(name, device, values)
            core.effects.append(Suspect(device, name, on=True))
            if alarm is not None:
                core.book.revise(alarm.alarm_id, values)
        elif alarm is not None:
            core.end_alarm(alarm.alarm_id)
            core.effects.append(Suspect(device, name, on=False))


def _panel(portal: PortalFacts, detector: int) -> str:
    """Return a panel's name in the lane file, or its number from 1."""
    return portal.detectors[detector] if detector < len(portal.detectors) else str(detector + 1)
