"""An alarm is adjudicated after its vehicle has gone: amendments of the record, counted in the day."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.station import TRUCK, Station, running_station

MANY = 32
HOT = TRUCK.format(n=1, plate="LXR 4801", cab="blue")
HOT += "[[truck.sources]]\nat_m = 4.0\ngamma_cps = 9000.0\nneutron_cps = 90.0\n"


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    path = tmp_path / "trucks.toml"
    path.write_text(f'title = "A hot truck"\ngap_s = 60.0\n{HOT}', "utf-8")
    with running_station(tmp_path, options=("--scenario", str(path))) as running:
        yield running


async def at_once(station: Station, body: Any) -> list[httpx2.Response]:
    """Post the same by many connections that are open already, each under a key of its own."""
    limits = httpx2.Limits(max_connections=MANY, max_keepalive_connections=MANY)
    url = f"http://127.0.0.1:{station.port}"
    head = {"X-Carril": "1"}
    async with httpx2.AsyncClient(base_url=url, limits=limits, headers=head) as client:
        await asyncio.gather(*(client.get("/v1/lane") for _ in range(MANY)))
        posts = (
            client.post("/v1/lane/adjudications", json=body, headers={"Idempotency-Key": f"key-no-{n}"})
            for n in range(MANY)
        )
        return await asyncio.gather(*posts)


def codes(station: Station, sealed: Any) -> dict[str, int]:
    """Return the codes of the day's alarms that somebody adjudicated: more trucks come meanwhile."""
    day = datetime.fromtimestamp(sealed["stamp"]["utc_us"] / 1e6, UTC).date()
    stats = station.get(f"/v1/stats?day={day}&kind=simulated").json()
    return {code: count for code, count in stats["total"]["codes"].items() if count and code != "0"}


def test_findings_amend_the_record_and_the_newest_counts(station: Station) -> None:
    sealed = station.until(lambda: station.records("inspection.sealed"), "the truck is sealed", 60)[0]
    vehicle = sealed["inspection_id"]
    raised = station.records("radiation_alarm.raised", inspection_id=vehicle)
    alarms = {each["channel"]: each for each in raised}
    of = {"inspection_id": vehicle, "alarm_id": alarms["gamma"]["alarm_id"]}

    def post(key: str | None = None, **said: Any) -> Any:
        return station.post("/v1/lane/adjudications", {**of, "before": 0, **said}, key)

    refused = post(code=4)
    assert (refused.status, refused.json()["type"]) == (409, "urn:carril:problem:refused")
    assert "needs an isotope" in refused.json()["detail"]
    assert post(code=6, alarm_id="none").status == 404
    assert post(code=12).status == 422

    found = {"code": 4, "isotopes": ["K-40"], "riid": "riid-7"}
    replies = asyncio.run(at_once(station, {**of, "before": 0, **found}))
    assert sorted(reply.status_code for reply in replies) == [201] + (MANY - 1) * [409]
    first = next(n for n, reply in enumerate(replies) if reply.status_code == 201)
    again = post(f"key-no-{first}", **found)
    assert (again.status, again.body) == (201, replies[first].content)
    assert post(code=6).json()["type"] == "urn:carril:problem:version-conflict"
    assert post(code=6, before=4).status == 201

    neutron = {"alarm_id": alarms["neutron"]["alarm_id"], "code": 8}
    assert post(**neutron).status == 409
    assert post(**neutron, second_person="A. Diaz", reachback="RB-1").status == 201

    findings = station.records("inspection.amended", what="adjudication")
    assert [each["fields"]["code"] for each in findings] == [4, 6, 8]
    assert {each["inspection_id"] for each in findings} == {vehicle}
    assert {each["version"] for each in findings} == {0}
    (still,) = station.records("inspection.sealed", inspection_id=vehicle)
    assert still == sealed
    assert codes(station, sealed) == {"6": 1, "8": 1}

    station.kill()
    station.start()
    assert codes(station, sealed) == {"6": 1, "8": 1}
    assert post(code=1, before=4).status == 409
    assert post(code=1, before=6).status == 201
