"""What the lane records, the journal accepts: every event of real passages, in a real database."""

from __future__ import annotations

from pathlib import Path

import pytest

from station.lane.drafts import draft
from station.lane.vault import StoreVault
from station.store.open import open_store
from tests.support.journal import append, open_subjects
from tests.support.lane_rig import Rig
from tests.support.manual_clock import ManualClock


def eventful(rig: Rig) -> None:
    """A vehicle of which two cameras, or one camera twice, took pictures, with everything that can happen."""
    rig.background()
    rig.board(entry_loop=True)
    rig.board(entry_loop=False)
    rig.plate()
    rig.occupancy(gamma="alarm", neutron="alarm")
    rig.plate("R4K 7719")
    rig.scan()
    rig.board(booth_loop=True, cabinet_closed=False)
    rig.board(estop_ok=False)
    rig.wait(0.6)
    rig.board(estop_ok=True, cabinet_closed=True)
    rig.decide("hold")
    rig.decide("secondary")
    rig.leave()
    rig.plate(late=True)


async def test_every_record_of_an_eventful_passage_is_kept_with_its_blobs(tmp_path: Path) -> None:
    state = tmp_path / "state"
    store = open_store(state, "LANE-1", ManualClock(), consumers=[("central", True)])
    try:
        rig = Rig(vault=StoreVault(store, state / "scans"))
        eventful(rig)
        for made in rig.appends:
            receipt = await append(store, [draft(event, made) for event in made.events])
        assert receipt.last == len(rig.events)
        sealed = rig.last("inspection.sealed")
        photos = [blob for blob in sealed.blobs if blob.role == "photo"]
        assert len(photos) == 2
        for blob in sealed.blobs:
            assert await store.find_blob(blob.sha256) is not None
        assert await open_subjects(store) == []
    finally:
        store.close()


@pytest.mark.parametrize("kind", ["plate.read", "occupancy.ended", "inspection.sealed"])
async def test_a_record_names_the_blobs_that_it_keeps(kind: str) -> None:
    rig = Rig()
    eventful(rig)
    event = next(event for event in rig.events if event.type_name() == f"carril.{kind}")
    append = next(append for append in rig.appends if event in append.events)
    named = [(ref.role, ref.sha256, ref.media) for ref in draft(event, append).blobs]
    assert named == [(blob.role, blob.sha256, blob.media) for blob in event.blobs] != []
