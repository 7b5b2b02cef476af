"""A sealed inspection fetched as N42 from a real store over a real socket."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path

import httpx2

from drivers.formats.n42.read import read
from station.lane.drafts import draft
from tests.support.journal import append, put_blob
from tests.support.lane_rig import Rig
from tests.support.served import Served, problem


async def recorded(central: Served, rig: Rig) -> None:
    """Put everything that the lane recorded into the station's store."""
    for data in rig.vault.blobs.values():
        await put_blob(central.store, data, "application/json")
    for each in rig.appends:
        await append(central.store, [draft(event, each) for event in each.events])


def arrived() -> Rig:
    rig = Rig()
    rig.background()
    rig.arrive(gamma="alarm")
    return rig


async def fetched(central: Served, inspection_id: str) -> httpx2.Response:
    return await central.client.get(f"/v1/inspections/{inspection_id}/n42")


async def test_a_sealed_inspection_is_fetched_as_n42_the_same_bytes_each_time(central: Served) -> None:
    rig = arrived()
    inspection_id = rig.seen.inspection_id
    rig.decide("secondary")
    rig.leave()
    await recorded(central, rig)
    reply, again = await fetched(central, inspection_id), await fetched(central, inspection_id)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/xml"
    assert reply.headers["etag"] == f'"{sha256(reply.content).hexdigest()}"'
    assert inspection_id in reply.headers["content-disposition"]
    assert reply.content == again.content
    document = read(reply.content)
    assert document.item["inspection"] == inspection_id
    assert document.item["lane"] == central.store.station
    assert len(document.measurements) == 20
    assert document.analyses[0].alarms[0].category == "Gamma"


async def test_a_profile_that_is_damaged_is_left_out_and_said(central: Served, tmp_path: Path) -> None:
    rig = arrived()
    inspection_id = rig.seen.inspection_id
    rig.decide("secondary")
    rig.leave()
    await recorded(central, rig)
    (profile,) = [each.profile for each in rig.last("inspection.sealed").radiation.occupancies]
    row = await central.store.find_blob(profile)
    assert row is not None
    path = tmp_path / "state" / "blobs" / profile[:2] / profile[2:4] / profile
    await asyncio.to_thread(path.write_bytes, b"x" * row.size)
    document = read((await fetched(central, inspection_id)).content)
    assert [each.counts for each in document.measurements] == [()]
    assert "damaged" in document.measurements[0].remark
    assert document.analyses[0].alarms, "an alarm needs no profile"


async def test_what_is_not_sealed_or_unknown_has_no_document(central: Served) -> None:
    rig = arrived()
    await recorded(central, rig)
    found = problem(await fetched(central, rig.seen.inspection_id), 404, "not-found")
    assert "is not sealed yet" in found["detail"]
    found = problem(await fetched(central, "nobody"), 404, "not-found")
    assert "There is no inspection" in found["detail"]
