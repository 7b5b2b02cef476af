"""What is found of a vehicle's radiation after its occupancy has closed."""

from __future__ import annotations

from station.domain.events import InspectionEvent
from station.domain.values import BlobUse, HotSpot, Unlocated


class HotSpotLocated(InspectionEvent):
    """The radiograph has told the vehicle's length, and so its speed through a portal that measures none."""

    device: str
    occupancy_id: str
    hot_spots: tuple[HotSpot, ...]
    unlocated: tuple[Unlocated, ...]
    profile: str | None
    blobs: tuple[BlobUse, ...] = ()
