"""What only the lane can see of a device's health: a camera that misses vehicles, loops that never change.

A device that is suspected is degraded by the supervisor, which alone owns health; the lane only says so.
"""

from __future__ import annotations

from station.lane.core import Core
from station.lane.effects import Suspect

SILENT_PASSAGES = 3
"""A push camera says nothing when it is well and nothing when it is dead: this many vehicles tell."""
ARM_LIMIT_S = 10.0
"""Permission to raise for so long, and the arm still reads as down."""


class Suspicion:
    """Counts what did not come."""

    def __init__(self, core: Core) -> None:
        """Suspect nobody."""
        self._core = core
        self._silent = {device.name: 0 for device in core.facts.of_role("Camera")}
        self._seen: set[str] = set()
        """Cameras that reported the vehicle in the lane."""
        self._board: str | None = None
        """The board whose inputs are suspected to stand still."""
        self._changed_s = core.now_s
        self._permit_since_s: float | None = None

    def camera_spoke(self, device: str) -> None:
        """A camera event came."""
        self._seen.add(device)
        if self._silent.get(device, 0) >= SILENT_PASSAGES:
            self._core.effects.append(Suspect(device, "no_reads", on=False))
        self._silent[device] = 0

    def vehicle_left(self) -> None:
        """The vehicle in the lane has been sealed: who did not see it?"""
        for device in self._silent.keys() - self._seen:
            self._silent[device] += 1
            if self._silent[device] == SILENT_PASSAGES:
                self._core.effects.append(Suspect(device, "no_reads", on=True))
        self._seen.clear()

    def input_changed(self) -> None:
        """A loop, the arm or another input changed: the board is alive."""
        self._permit_since_s = None
        self._changed_s = self._core.now_s
        if self._board is not None:
            self._core.effects.append(Suspect(self._board, "frozen", on=False))
            self._board = None

    def tick(self, device: str | None, permit: bool, arm_down: bool) -> None:
        """Let time pass; ``device`` is the board that was read last, ``permit`` what it was told."""
        core, passage = self._core, self._core.passage
        if not permit or not arm_down:
            self._permit_since_s = None
        elif self._permit_since_s is None:
            self._permit_since_s = core.now_s
        stuck = self._permit_since_s is not None and core.now_s - self._permit_since_s >= ARM_LIMIT_S
        # Between its arrival and the end of its occupancy a vehicle leaves the entry loop.
        unseen = (
            passage is not None and passage.occupancies and self._changed_s <= passage.inspection.opened_s
        )
        if device is not None and self._board is None and (stuck or unseen):
            self._board = device
            core.effects.append(Suspect(device, "frozen", on=True))
