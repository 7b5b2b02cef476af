"""Wait times: moments as the loops saw them, keys that name no plate, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from station.api.wait_times import vehicle_key
from station.lanefile import LaneFileError, load_lane
from station.plugins import find
from station.store.draft import Draft
from tests.support.journal import append, draft, of_inspection, open_small
from tests.support.lane_rig import Rig
from tests.support.served import Served, serve
from tests.support.station import Station
from tests.support.station import lane_file as demo_lane

SALT = "0123456789abcdef0123456789abcdef"
# By another implementation: openssl dgst -sha256 -hmac SALT over the date, then -macopt hexkey: over AB1234.
KEYS = {"2026-11-24": "1161eb4426542a68f080a9926de1bb86", "2026-11-25": "aa1c6e8d5da6151ccd126e53d411f40e"}
MIDNIGHT_US = 1_795_564_800_000_000  # 2026-11-25T00:00:00Z


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[Served]:
    """A station whose port has a secret."""
    store = await asyncio.to_thread(open_small, tmp_path / "state")
    async with serve(store) as served:
        served.app.state.services = replace(served.services, port_salt=SALT.encode(), direction="in")
        yield served
    await asyncio.to_thread(store.close)


def sealed(
    name: str, plate: str | None = "ab 12-34", flags: dict[str, bool] | None = None, **moments: int | None
) -> Draft:
    """The record of one vehicle."""
    told = {f"{place}_at_utc_us": moment for place, moment in moments.items()}
    identity = {"status": "accepted", "plate": plate and {"text": plate}, "container": None}
    data = {"opened_at_utc_us": MIDNIGHT_US, "stamp": {"clock": "sync"}, "identity": identity} | told
    made = of_inspection(name, "carril.inspection.sealed", **data)
    own = {**made.data, **(flags or {})}
    bits = {"simulated": 1, "test": 2, "exercise": 4}
    return replace(made, data=own, flags=sum(bit for flag, bit in bits.items() if own[flag]))


async def page(port: Served, **parameters: Any) -> dict[str, Any]:
    reply = await port.client.get("/v1/wait-times", params=parameters)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def test_the_key_is_the_one_that_another_implementation_makes() -> None:
    for day, key in KEYS.items():
        assert vehicle_key(SALT.encode(), day, "AB1234") == key


async def test_a_page_has_the_moments_of_each_vehicle_and_keys_that_change_at_midnight(port: Served) -> None:
    vehicles = [
        sealed("i1", entry=MIDNIGHT_US - 1, booth=MIDNIGHT_US + 60_000_000, exit=MIDNIGHT_US + 90_500_000),
        sealed("i2", entry=MIDNIGHT_US, booth=None),
        sealed("i3"),  # an older record, or one after a restart
        sealed("i4", plate=None, entry=MIDNIGHT_US),
    ]
    await append(port.store, vehicles)
    first, second, third, fourth = (await page(port))["items"]
    assert first == {
        "seq": 1,
        "key": KEYS["2026-11-24"],
        "entry_at": "2026-11-24T23:59:59.999Z",
        "booth_at": "2026-11-25T00:01:00.000Z",
        "exit_at": "2026-11-25T00:01:30.500Z",
        "program": None,
        "direction": "in",
        "clock": "sync",
    }
    assert [each["key"] for each in (second, third, fourth)] == [KEYS["2026-11-25"]] * 2 + [None]
    assert (second["booth_at"], third["entry_at"], third["exit_at"]) == (None, None, None)


async def test_no_plate_and_no_picture_leaves(port: Served) -> None:
    await append(port.store, [sealed("i1", plate="SECRET99", photo="ab" * 32)])
    reply = await port.client.get("/v1/wait-times")
    assert reply.json()["items"][0]["key"]
    for secret in ("SECRET99", "ab" * 32, "i1", SALT):
        assert secret not in reply.text
    assert set(reply.json()["items"][0]) == {
        *("seq", "key", "entry_at", "booth_at", "exit_at", "program", "direction", "clock")
    }


@pytest.mark.parametrize("flag", ["simulated", "test", "exercise"])
async def test_only_real_vehicles_count_unless_the_others_are_asked_for(port: Served, flag: str) -> None:
    await append(port.store, [sealed("i1"), sealed("i2", flags={flag: True}), sealed("i3")])
    assert [item["seq"] for item in (await page(port))["items"]] == [1, 3]
    assert [item["seq"] for item in (await page(port, include="simulated"))["items"]] == [1, 2, 3]


async def test_pages_lead_through_the_whole_journal(port: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("station.store.passages.STRETCH", 7)
    for n in range(6):
        await append(port.store, [*(draft(n=n) for _ in range(n * 2)), sealed(f"i{n}")])
    last, after, seen, empty = port.store.published, 0, [], 0
    more = True
    while more:
        found = await page(port, after=after, limit=1)
        assert found["next"] > after
        empty += not found["items"]
        seen += [item["seq"] for item in found["items"]]
        after, more = found["next"], found["more"]
    assert (seen, after) == ([1, 4, 9, 16, 25, 36], last)
    assert empty, "a stretch without vehicles is an empty page, not the end"
    assert await page(port, after=last) == {"items": [], "next": last, "more": False}


@pytest.mark.parametrize("limit", [500, 1000])
async def test_more_records_than_one_look_are_read_to_the_end(port: Served, limit: int) -> None:
    """A quiet journal of 12,000 records with four vehicles, then 1,700 vehicles in a row."""
    busy = [draft(n=n) for n in range(2_999)]
    for n in range(4):
        await append(port.store, [*busy, sealed(f"quiet{n}")])
    await append(port.store, [sealed(f"busy{n}") for n in range(1_700)])
    wanted = [3_000, 6_000, 9_000, 12_000, *range(12_001, 13_701)]
    seen: list[int] = []
    after, pages = 0, 0
    while True:
        found = await page(port, after=after, limit=limit)
        pages += 1
        assert len(found["items"]) <= limit
        assert all(after < item["seq"] <= found["next"] for item in found["items"])
        assert found["more"] == (found["next"] < port.store.published)
        seen += [item["seq"] for item in found["items"]]
        after = found["next"]
        if not found["more"]:
            break
    assert seen == wanted
    assert after == port.store.published == 13_700
    # Two looks at 5,000 records; then as many pages as the vehicles fill.
    assert pages == 2 + -(-1_702 // limit)


def problem(reply: httpx2.Response, status: int, name: str) -> dict[str, Any]:
    assert reply.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = reply.json()
    assert (reply.status_code, found["type"]) == (status, f"urn:carril:problem:{name}")
    return found


async def test_wrong_cursors_are_told_how_to_go_on(port: Served) -> None:
    await append(port.store, [sealed("i1")])
    assert problem(await port.client.get("/v1/wait-times?after=2"), 409, "beyond-head")["head"] == 1
    wrong = problem(await port.client.get("/v1/wait-times?since=yesterday"), 400, "bad-parameter")
    assert wrong["errors"][0]["field"] == "query.since"
    problem(await port.client.get("/v1/wait-times?limit=1001"), 400, "bad-parameter")


async def test_without_the_secret_of_the_port_there_are_none(central: Served) -> None:
    found = problem(await central.client.get("/v1/wait-times"), 404, "not-found")
    assert 'port_salt = { credential = "port_salt" } under [lane]' in found["detail"]


# --- the lane file --------------------------------------------------------------------------------


def lane_file(root: Path, folder: Path, value: str) -> Path:
    demo = (root / "config" / "lanes" / "demo.toml").read_text(encoding="utf-8")
    path = folder / "lane.toml"
    path.write_text(demo.replace("[lane]\n", f"[lane]\nport_salt = {value}\n", 1), encoding="utf-8")
    return path


def test_the_secret_is_a_credential_of_the_lane(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    path = lane_file(root, tmp_path, '{ credential = "port_salt" }')
    with pytest.raises(LaneFileError, match=r"lane\.port_salt = .*cannot be read"):
        load_lane(path, find)
    (tmp_path / "port_salt").write_text("too short\n")
    with pytest.raises(LaneFileError, match=r"lane\.port_salt") as short:
        load_lane(path, find)
    assert "too short" not in str(short.value)
    (tmp_path / "port_salt").write_text(SALT + "\n")
    loaded = load_lane(path, find)
    assert loaded.lane.port_salt is not None
    assert loaded.lane.port_salt.get_secret_value() == SALT
    assert SALT not in repr(loaded)
    with pytest.raises(LaneFileError, match="a lane file holds no secret"):
        load_lane(lane_file(root, tmp_path, f'"{SALT}"'), find)


# --- the moments ----------------------------------------------------------------------------------


def moments(rig: Rig) -> dict[str, float | None]:
    """Seconds of the rig's clock at which the sealed vehicle came where."""
    record = rig.last("inspection.sealed")
    told = {place: getattr(record, f"{place}_at_utc_us") for place in ("entry", "booth", "exit")}
    zero_us = 1_795_000_000_000_000
    return {place: at and round((at - zero_us) / 1e6, 1) for place, at in told.items()}


def arrived(rig: Rig) -> tuple[float, float]:
    """Bring a vehicle to the booth; when it came upon the entry loop, and upon the booth loop."""
    rig.background()
    entry_s = rig.now_s
    rig.arrive()
    return round(entry_s, 1), round(rig.now_s - 0.6, 1)


def test_the_loops_tell_when_it_came_and_left() -> None:
    rig = Rig()
    entry_s, booth_s = arrived(rig)
    rig.wait(20.0)
    rig.decide()
    left_s = round(rig.now_s + 2.8, 1)
    rig.leave()
    assert moments(rig) == {"entry": entry_s, "booth": booth_s, "exit": left_s}


def test_after_a_restart_only_what_the_records_say_is_known() -> None:
    rig = Rig()
    entry_s, _ = arrived(rig)
    rig.restart()
    rig.decide()
    left_s = round(rig.now_s + 2.8, 1)
    rig.leave()
    assert moments(rig) == {"entry": entry_s, "booth": None, "exit": left_s}


def test_of_a_vehicle_that_was_there_before_the_station_nobody_knows_when_it_came() -> None:
    rig = Rig()
    rig.background()
    rig.restart()
    rig.inputs["booth_loop"] = True
    rig.restart()
    rig.wait(1.0)
    rig.occupancy()
    rig.decide("secondary")
    rig.leave()
    assert {key: at is None for key, at in moments(rig).items()} == {
        "entry": True,
        "booth": True,
        "exit": False,
    }


def test_a_vehicle_that_follows_closely_has_its_own_moments() -> None:
    rig = Rig()
    arrived(rig)
    rig.board(entry_loop=True)  # the next one, while the first stands at the booth
    second_s = round(rig.now_s, 1)
    rig.wait(1.0)
    rig.board(entry_loop=False)
    rig.decide("secondary")
    rig.leave()
    first = moments(rig)
    rig.wait(1.0)
    booth_s = round(rig.now_s, 1)
    rig.board(booth_loop=True)
    rig.wait(6.0)
    rig.decide("secondary")
    rig.leave()
    assert first["entry"] is not None
    assert first["entry"] < second_s
    assert {key: at for key, at in moments(rig).items() if key != "exit"} == {
        "entry": second_s,
        "booth": booth_s,
    }


def test_the_booth_of_one_who_drives_through_behind_another_is_its_own() -> None:
    rig = Rig()
    _, booth_s = arrived(rig)
    rig.decide("secondary")
    rig.board(barrier_down=False)
    rig.wait(1.0)
    rig.board(barrier_up=True)
    rig.board(exit_loop=True)
    rig.board(booth_loop=False)
    rig.wait(1.0)
    rig.board(exit_loop=False)
    second_s = round(rig.now_s, 1)
    rig.board(booth_loop=True)  # before the arm is down
    rig.wait(1.0)
    rig.board(barrier_up=False, barrier_down=True)
    rig.wait(6.0)
    assert moments(rig)["booth"] == booth_s
    rig.decide("secondary")
    rig.leave()
    assert (moments(rig)["entry"], moments(rig)["booth"]) == (None, second_s)


@pytest.mark.soak
@pytest.mark.timeout(120)
def test_a_running_lane_gives_the_wait_times_of_its_port(tmp_path: Path) -> None:
    path = demo_lane(tmp_path, "demo", rate=10)
    written = path.read_text(encoding="utf-8")
    path.write_text(
        written.replace("[lane]\n", '[lane]\nport_salt = { credential = "port_salt" }\n', 1), encoding="utf-8"
    )
    (tmp_path / "port_salt").write_text(SALT)
    station = Station(path, tmp_path / "state", tmp_path / "daemon.log")
    station.environment["CREDENTIALS_DIRECTORY"] = str(tmp_path)
    found: list[dict[str, Any]] = []

    def told() -> bool:
        found.extend(station.get("/v1/wait-times?include=simulated").json()["items"])
        return bool(found)

    try:
        station.start()
        station.until(told, "a vehicle has left")
        record = station.get(f"/v1/records/{found[0]['seq']}").json()
    finally:
        station.stop()
    vehicle, data = found[0], record["data"]
    plate = data["identity"]["plate"]["text"]
    day = vehicle["entry_at"][:10]
    assert vehicle["key"] == vehicle_key(SALT.encode(), day, plate.replace("-", "").replace(" ", ""))
    assert vehicle["entry_at"] < vehicle["booth_at"] < vehicle["exit_at"]
    assert vehicle["direction"] == "in"
