"""What was seen, for whoever asks later: images and radiation strips, running, recent or from their blobs."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from imaging.radiation.verdict import Outcome
from imaging.radiograph.model import D16_WINDOW
from station.domain.events import InspectionSealed
from station.domain.second_opinion import opinions
from station.domain.values import OccupancySummary, ScanSummary
from station.lane.export import n42, occupancies
from station.lane.host import LaneHost
from station.lane.image import from_npy, reduced, reduced_flags
from station.lane.restart import Record
from station.lane.strips import strips
from station.store.blobs import CHUNK_BYTES, DamagedBlob
from station.store.feed import read_inspection
from station.store.journal import Store

PRESETS = {"light": [50_000, 63_600], "dense": [10_000, 45_000]}


async def whole_blob(store: Store, sha256: str) -> bytes | None:
    """Return a blob; ``None`` where it never was or was removed. Raises ``DamagedBlob``."""
    row = await store.find_blob(sha256)
    if row is None or not row.present:
        return None
    chunks = range(-(-row.size // CHUNK_BYTES))
    return b"".join([await store.read_blob(row, chunk) for chunk in chunks])


async def document(store: Store, lane_id: str, told: Sequence[Record]) -> bytes | None:
    """Return a sealed inspection's N42 document, made of its records and of the profiles that are kept."""
    kept: dict[str, bytes] = {}
    for one in occupancies(told):
        with contextlib.suppress(DamagedBlob):
            if one.profile is not None and (data := await whole_blob(store, one.profile)) is not None:
                kept[one.profile] = data

    def made() -> bytes | None:
        return n42(lane_id, told, {sha256: json.loads(data) for sha256, data in kept.items()})

    return await asyncio.to_thread(made)


def most_telling(seen: Sequence[OccupancySummary]) -> str | None:
    """Return the profile of the occupancy that alarmed, else of one with a hot spot, else of the first."""

    def weight(one: OccupancySummary) -> tuple[bool, bool, bool, bool]:
        stations = any(opinion.outcome == Outcome.ALARM for opinion, _ in opinions(one))
        return one.neutron_alarm, one.gamma_alarm, stations, bool(one.hot_spots)

    kept = [one for one in seen if one.profile is not None]
    return max(kept, key=weight).profile if kept else None


class Evidence:
    """Reads images and profiles from memory while they are there, then from the store."""

    def __init__(self, host: LaneHost, store: Store) -> None:
        """Lend the lane's host and the store."""
        self._host = host
        self._store = store
        self._cached: tuple[str, dict[str, Any]] | None = None

    async def image_facts(self, scan_id: str) -> dict[str, Any] | None:
        """Return what an image is, in the words of the screen's image contract."""
        scan = await self._scan(scan_id)
        if scan is None:
            return None
        image = self._host.image(scan_id)
        done = image.width if image is not None else scan.width or scan.lines + scan.lines_lost
        complete = image.complete if image is not None else scan.state != "scanning"
        return {
            "id": scan_id,
            "width": done,
            "height": scan.height,
            "bits": 16,
            "scale": "D16",
            "level_count": 7,
            "kinds": ["mean", "flags"],
            "px_mm_x": scan.px_mm_x,
            "px_mm_y": scan.px_mm_y,
            "flip": False,
            "col_nose": scan.col_nose,
            "cols_done": done,
            "complete": complete,
            "window_default": list(D16_WINDOW),
            "presets": PRESETS,
            "simulated": self._host.lane.core.facts.simulated,
        }

    async def columns(self, scan_id: str, first: int, last: int, level: int, kind: str) -> bytes | None:
        """Return columns of an image made so far: its values (``mean``) or their ``flags``."""
        image = self._host.image(scan_id)
        if kind == "flags":
            flags = image.flags() if image is not None else await self._stored(scan_id, "flags")
            work = None if flags is None else partial(reduced_flags, flags, first, last, level)
        else:
            d16 = image.d16() if image is not None else await self._stored(scan_id, "image")
            work = None if d16 is None else partial(reduced, d16, first, last, level)
        return None if work is None else await asyncio.to_thread(work)

    async def _stored(self, scan_id: str, what: str) -> Any:
        """Return the array of a sealed scan; the last image and its flags stay in memory."""
        if self._cached is None or self._cached[0] != scan_id:
            self._cached = (scan_id, {})
        _, arrays = self._cached
        if what not in arrays:
            scan = await self._scan(scan_id)
            sha256 = getattr(scan, what) if scan is not None else None
            data = await self._read_blob(sha256) if sha256 else None
            arrays[what] = None if data is None else await asyncio.to_thread(from_npy, data)
        return arrays[what]

    async def profile(self, inspection_id: str) -> dict[str, Any] | None:
        """Return the strips of a vehicle in the lane, or those that tell most of one that is sealed."""
        passage = self._host.lane.core.passage
        if passage is not None and passage.inspection.inspection_id == inspection_id:
            gamma, neutron = self._host.live.samples(inspection_id)
            return strips(passage, gamma, neutron, self._portal_m)
        trace = most_telling(occupancies(await self._told(inspection_id)))
        data = await self._read_blob(trace) if trace is not None else None
        if data is None:
            return None
        found: dict[str, Any] = json.loads(data)
        return found

    async def _scan(self, scan_id: str) -> ScanSummary | None:
        passage = self._host.lane.core.passage
        if passage is not None and passage.scan is not None and passage.scan.scan_id == scan_id:
            return passage.scan
        inspection_id = self._host.lane.core.scanned.get(scan_id)
        record = await self._sealed(inspection_id) if inspection_id else None
        return ScanSummary.model_validate(record["scan"]) if record and record["scan"] else None

    async def _sealed(self, inspection_id: str) -> Mapping[str, Any] | None:
        """Return the data of an inspection's sealed record."""
        told = await self._told(inspection_id)
        return next((data for _, kind, data in reversed(told) if kind == InspectionSealed.type_name()), None)

    async def _told(self, inspection_id: str) -> list[Record]:
        _, rows = await self._store.read(lambda view: read_inspection(view, inspection_id))
        return [row.told() for row in rows]

    async def _read_blob(self, sha256: str) -> bytes | None:
        return await whole_blob(self._store, sha256)

    @property
    def _portal_m(self) -> float:
        return self._host.lane.core.facts.geometry.portal_m
