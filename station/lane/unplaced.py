"""Occupancies of a vehicle whose speed nothing measured: located when its radiograph tells how long it is."""

from __future__ import annotations

from dataclasses import replace

from station.domain.radiation_events import HotSpotLocated
from station.domain.values import OccupancySummary
from station.lane.core import Core
from station.lane.effects import TraceKept
from station.lane.hotspot import imaged_length_m, paced
from station.lane.strips import trace


def imaged(core: Core) -> None:
    """A scan has ended: if it tells the vehicle's length, locate what waits for it."""
    passage = core.passage
    length_m = imaged_length_m(passage.scan) if passage is not None else None
    if passage is None or length_m is None:
        return
    for work in passage.unplaced:
        if work.sought is not None:
            sought = paced(replace(work.sought, length_m=length_m), passage.track)
            strips = trace(passage, sought.occupancy, core.facts.geometry.portal_m)
            core.effects.append(replace(work, trace={**work.trace, **strips}, sought=sought))
    passage.unplaced.clear()


def located(core: Core, result: TraceKept) -> None:
    """Add the places, and the trace that has them, to an occupancy that is on the record already."""
    passage, work = core.passage, result.work
    if passage is None or passage.inspection.inspection_id != work.inspection_id:
        return  # it is sealed: without a place, and it says why
    for i, summary in enumerate(passage.occupancies):
        if summary.occupancy_id == work.occupancy_id:
            known = with_places(summary, result).on(passage.scan)
            passage.occupancies[i] = known
            core.tell(
                HotSpotLocated,
                device=summary.device,
                occupancy_id=summary.occupancy_id,
                hot_spots=known.hot_spots,
                unlocated=known.unlocated,
                profile=known.profile,
                blobs=passage.keep({"trace": result.blob}) if result.blob else (),
            )


def with_places(summary: OccupancySummary, result: TraceKept) -> OccupancySummary:
    """Return an occupancy with what was found of it, and with its trace if that is kept."""
    profile = result.blob.sha256 if result.blob else summary.profile
    found = {"hot_spots": result.found.hot_spots, "unlocated": result.found.unlocated}
    return summary.model_copy(update={**found, "profile": profile})
