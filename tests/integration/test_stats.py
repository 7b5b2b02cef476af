"""The statistics of a day over the interface and at the command line, from the journal alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from station.api.stats import stats_router
from station.cli import stats
from station.cli.main import main
from station.domain.day_events import HourCounted
from station.domain.events import Event
from station.lane.drafts import draft as as_draft
from station.lane.hours import KEPT
from station.store.draft import Draft
from tests.support.journal import append, draft, open_small
from tests.support.lane_rig import Rig
from tests.support.manual_clock import ManualClock
from tests.support.served import Served, problem, serve
from tests.support.trimming import ack

DAY_US = 1_795_478_400_000_000  # 2026-11-24T00:00:00Z
HOUR_US = 3_600_000_000
DAY = "2026-11-24"


@dataclass
class Day:
    """A lane whose hours are in a served journal."""

    served: Served
    rig: Rig

    async def get(self, day: str | None = DAY, **more: str) -> Any:
        wanted = more if day is None else {"day": day, **more}
        reply = await self.served.client.get("/v1/stats", params=wanted)
        assert reply.status_code == 200, reply.text
        return reply.json()


@pytest.fixture
async def day(tmp_path: Path) -> AsyncIterator[Day]:
    store = await asyncio.to_thread(open_small, tmp_path / "state")
    rig = Rig()
    async with serve(store) as served:
        clock = ManualClock(utc_ns=(DAY_US + 15 * HOUR_US) * 1000)
        served.app.state.services = replace(served.services, clock=clock)
        served.app.include_router(stats_router(rig.lane.hours))
        yield Day(served, rig)
    await asyncio.to_thread(store.close)


def hour(number: int, at_us: int | None = None, mono_us: int | None = None, **counts: Any) -> Draft:
    """The record of an hour of the day."""
    utc_us = DAY_US + (number + 1) * HOUR_US if at_us is None else at_us
    told = {
        "stamp": {"utc_us": utc_us, "mono_us": utc_us if mono_us is None else mono_us, "boot_id": "b"},
        "config_sha256": "c" * 64,
        "hour": f"{DAY}T{number:02d}",
        "down": {},
        **counts,
    }
    event: Event = HourCounted.model_validate(told)
    return as_draft(event, Rig().appends[0])


async def test_a_day_is_the_sum_of_its_hours(day: Day) -> None:
    store = day.served.store
    await append(store, [draft(), hour(8, occupancies=3, gamma=1, covered_s=3600, codes={"0": 1})])
    await append(store, [hour(9, occupancies=2, covered_s=1200), draft("lane")])
    await append(store, [hour(9, mono_us=7, occupancies=5, neutron=1, covered_s=2400, codes={"4": 1})])
    found = await day.get()
    assert [(each["hour"], each["occupancies"]) for each in found["hours"]] == [(8, 3), (9, 7)]
    total = found["total"]
    assert (total["occupancies"], total["gamma"], total["neutron"], total["covered_s"]) == (10, 1, 1, 7200)
    assert (total["alarm_rate"]["count"], total["alarm_rate"]["of"]) == (2, 10)
    assert total["alarm_rate"]["low"] == pytest.approx(0.0252, abs=1e-4)  # Clopper and Pearson's own table
    assert total["alarm_rate"]["high"] == pytest.approx(0.5561, abs=1e-4)
    assert (total["innocent_rate"]["rate"], total["false_rate"]["rate"]) == (1.0, 0.0)
    assert found["lacks"] == ["running", "not_covered"]
    assert (await day.get("2026-11-23"))["total"] is None
    assert (await day.get(None))["day"] == DAY, "today"


async def test_a_whole_day_lacks_nothing(day: Day) -> None:
    await append(day.served.store, [hour(number, covered_s=3599.8) for number in range(24)])
    clock = ManualClock(utc_ns=(DAY_US + 25 * HOUR_US) * 1000)
    day.served.app.state.services = replace(day.served.app.state.services, clock=clock)
    assert (await day.get())["lacks"] == []


async def test_what_is_not_real_is_asked_for(day: Day) -> None:
    kinds = ("real", "simulated", "test", "exercise")
    for number, kind in enumerate(kinds):
        flags = {} if kind == "real" else {kind: True}
        await append(day.served.store, [hour(8, mono_us=number, occupancies=number + 1, **flags)])
    for number, kind in enumerate(kinds):
        found = await day.get(kind=kind)
        assert (found["kind"], found["total"]["occupancies"]) == (kind, number + 1)


async def test_an_hour_counts_once_on_its_way_to_the_journal(day: Day) -> None:
    """Running, recorded but not durable, durable but not confirmed: at each moment the same number."""
    rig, store = day.rig, day.served.store
    rig.background()
    name = next(iter(rig.lane.hours.running()))[0]

    async def records() -> int:
        found = await day.get(name[:10], kind="simulated")
        return int(found["total"]["portals"][0]["panels"][0]["records"])

    assert await records() == 6
    rig.hold_appends = True
    rig.now_s += 3600
    rig.carry(rig.lane.tick(rig.stamp()))
    (held,) = [each for each in rig.take_held() if any(isinstance(e, HourCounted) for e in each.events)]
    assert await records() == 6
    await append(store, [as_draft(event, held) for event in held.events])
    assert await records() == 6
    for _ in range(KEPT + 1):  # the lane forgets what it recorded long ago
        rig.now_s += 3600
        rig.carry(rig.lane.tick(rig.stamp()))
    assert (name, "simulated") not in {part[:2] for part in rig.lane.hours.recorded}
    assert await records() == 6


async def test_an_hour_that_is_recorded_while_somebody_reads_counts_once(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, store = day.rig, day.served.store
    rig.background()
    name = next(iter(rig.lane.hours.running()))[0]
    read, turned = store.read, [False]

    async def slow(fn: Any) -> Any:
        found = await read(fn)
        if not turned[0]:
            turned[0] = True
            rig.now_s += 3600
            rig.carry(rig.lane.tick(rig.stamp()))
        return found

    monkeypatch.setattr(store, "read", slow)
    found = await day.get(name[:10], kind="simulated")
    assert found["total"]["portals"][0]["panels"][0]["records"] == 6


async def test_a_day_that_was_removed_says_so(day: Day) -> None:
    store = day.served.store
    last = await append(store, [hour(8, occupancies=3), draft(time_us=0)])
    await append(store, [hour(9, occupancies=2)])

    def trim() -> None:
        store._submitted(lambda: _trim(store, last.last)).result(10)

    await asyncio.to_thread(ack, store, store.published)
    await asyncio.to_thread(trim)
    found = await day.get()
    assert "trimmed" in found["lacks"]
    assert found["total"]["occupancies"] == 2
    gone = problem(await day.served.client.get("/v1/stats?day=2026-11-23"), 410, "trimmed")
    assert "2026-11-23" in gone["detail"]


def _trim(store: Any, upto: int) -> Any:
    """Remove the records up to one, as retention does when room runs out."""
    from station.store.retention import TrimRecords, _hash_of

    hash_ = _hash_of(store._writer.journal, upto)
    return TrimRecords(0, upto, hash_, store.stats)


@pytest.mark.parametrize("wrong", ["day=2026-13-01", "day=20261124", "day=yesterday", "kind=all", "hour=3"])
async def test_what_is_no_day_is_a_bad_parameter(day: Day, wrong: str) -> None:
    found = problem(await day.served.client.get(f"/v1/stats?{wrong}"), 400, "bad-parameter")
    assert found["errors"][0]["field"] == f"query.{wrong.partition('=')[0]}"


# --- at the command line --------------------------------------------------------------------------


async def printed(day: Day, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{day.served.port}"
    code = await asyncio.to_thread(main, ["stats", url, "--day", DAY, *arguments])
    return code, capsys.readouterr().out


async def test_a_person_reads_a_table(day: Day, capsys: pytest.CaptureFixture[str]) -> None:
    records = {"records": 600}
    counts: dict[str, Any] = {
        "covered_s": 3600,
        "occupancies": 40,
        "gamma": 2,
        "incomplete": {"timeout": 1},
        "alarms": 2,
        "codes": {"0": 1, "4": 1},
        "decisions_s": (12.0, 40.5),
        "down_s": {"rpm1": {"silence": 75.0}},
        "suppressions": {"rpm1": (0.1, 0.3)},
        "panels": {
            "rpm1": {
                "gamma": {
                    "ML": {"records": 600, "counts": 468_000, "counted_s": 600, "dispersions": [0.9, 1.1]}
                },
                "neutron": {"ML": {"counts": 300, "counted_s": 0, **records}},
            }
        },
    }
    await append(day.served.store, [hour(7, **counts), hour(8, covered_s=3600, occupancies=2)])
    code, out = await printed(day, capsys)
    assert code == 1, "the station did not run all of it"
    assert out.splitlines() == [
        "LAR-04, 2026-11-24 UTC",
        "2 h 00 min of 24 h: the day is not over; the station did not run all of it",
        "",
        "UTC   occ.      γ      n    γ+n  faults      γ      n  tamper  missed   long  incomplete",
        " 07     40      2      0      0       0      0      0       0       0      0           1",
        " 08      2      0      0      0       0      0      0       0       0      0           0",
        "all     42      2      0      0       0      0      0       0       0      0           1",
        "",
        "alarmed:               4.76 % (0.58 to 16.16 % at 95 %): 2 of 42 occupancies",
        "real:                  0.00 % (0.00 to 97.50 % at 95 %): 0 of 1 adjudicated alarms",
        "innocent:              100.00 % (2.50 to 100.00 % at 95 %): 1 of 1 adjudicated alarms",
        "false:                 0.00 % (0.00 to 97.50 % at 95 %): 0 of 1 adjudicated alarms",
        "alarms by code:        0 1, 4 1",
        "opinion disagreed:     -",
        "incomplete:            timeout 1",
        "alarm to decision:     median 12.0 s, 95 % 40.5 s, most 40.5 s (2)",
        "rpm1 down:             silence 1 min 15 s",
        "",
        "rpm1 suppression:      median 0.100, 95 % 0.300, most 0.300 (2)",
        "rpm1 gamma ML:         background 780.0 cps, dispersion 1.00 (600 records)",
        "rpm1 neutron ML:       background -, dispersion - (600 records)",
    ]


async def test_a_program_reads_json(day: Day, capsys: pytest.CaptureFixture[str]) -> None:
    await append(day.served.store, [hour(7, occupancies=40)])
    _, out = await printed(day, capsys, "--json")
    assert json.loads(out) == await day.get()


async def test_a_day_of_which_nothing_is_known_has_no_numbers(
    day: Day, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = await printed(day, capsys, "--kind", "exercise")
    assert (code, out.splitlines()[0]) == (1, "LAR-04, 2026-11-24 UTC, exercise: no evidence")
    assert out.splitlines()[-1] == "nothing is known of it"


async def test_a_removed_day_and_an_absent_station_are_told(
    day: Day, capsys: pytest.CaptureFixture[str]
) -> None:
    await append(day.served.store, [draft()])
    assert main(["stats", "http://127.0.0.1:1", "--day", DAY]) == 1
    assert "no station answers at http://127.0.0.1:1" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["stats", "--day", "2026-02-30"])
    assert "give a day like 2026-11-24" in capsys.readouterr().err
    assert stats.LACKS.keys() == {"running", "not_covered", "trimmed"}
