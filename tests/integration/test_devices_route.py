"""What the technician sees of one device, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from drivers.readings import BadFrame, DeviceIdentity, Stamp
from station.runtime.clock import SystemClock
from station.runtime.device import DeviceStatus
from station.runtime.health import Health
from station.store.open import open_store
from tests.support.served import Served, serve

STATUS = DeviceStatus(
    state=Health.DEGRADED,
    cause="bad_frames",
    detail="",
    identity=DeviceIdentity(make="TSA"),
    age_s=0.21049,
    readings=1200,
    opened=2,
    crashes=1,
    abandoned=0,
    bad_frames={"not_ascii": 3},
    last_bad_frames=((Stamp(1_795_000_000_000_000_999, 0, ""), BadFrame("not_ascii", 4096, b"GS,\xff1")),),
    tail=b"GS,000012\r\n",
)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    store = open_store(tmp_path / "state", "LANE-1", SystemClock(), consumers=[("central", True)])
    try:
        async with serve(store) as served:
            served.lane.reports["rpm1"] = STATUS
            yield served
    finally:
        store.close()


async def test_malformed_bytes_are_shown_as_they_came(served: Served) -> None:
    answer = (await served.client.get("/v1/devices/rpm1")).json()
    assert answer["bad_frames"] == {"not_ascii": 3}
    (bad,) = answer["last_bad_frames"]
    assert bad == {
        "utc_us": 1_795_000_000_000_000,
        "kind": "not_ascii",
        "offset": 4096,
        "head_hex": "47 53 2c ff 31",
    }
    assert bytes.fromhex(answer["tail_hex"]) == STATUS.tail
    assert (answer["state"], answer["age_s"]) == ("degraded", 0.21)
    assert answer["identity"] == {"make": "TSA", "model": "", "serial": "", "firmware": ""}


async def test_a_device_that_is_not_there_is_named_with_those_that_are(served: Served) -> None:
    answer = await served.client.get("/v1/devices/rpm9")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:carril:problem:not-found")
    assert "rpm1" in answer.json()["detail"]


async def test_bad_frames_and_crashes_are_metrics(served: Served) -> None:
    text = (await served.client.get("/metrics")).text
    assert 'carril_device_bad_frames_total{device="rpm1",kind="not_ascii"} 3.0' in text
    assert 'carril_device_crashes_total{device="rpm1"} 1.0' in text
