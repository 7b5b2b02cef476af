"""`carril hil run --plan lane_full --bench`: five trucks through a whole lane; what it must find."""

from __future__ import annotations

import copy
import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hil.steps.lane import Seen, tell

CARRIL = (sys.executable, "-c", "from station.cli.main import main; raise SystemExit(main())")


def measured(plan: str, tmp_path: Path, root: Path) -> dict[str, Any]:
    """Run a plan that must pass, and return what was measured."""
    command = ("hil", "run", "--plan", plan, "--bench", "--state", str(tmp_path / "bench"))
    out = tmp_path / "out"
    ran = subprocess.run(
        (*CARRIL, *command, "--out", str(out)),
        cwd=root, capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    log = (out / "station.log").read_text()[-2000:] if ran.returncode else ""
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout + log
    record = json.loads((out / "run.json").read_bytes())
    assert record["simulated"]
    feed = [json.loads(line) for line in (out / "feed.ndjson").read_text().splitlines()]
    assert [item["seq"] for item in feed] == list(range(1, len(feed) + 1))
    return {m["name"]: m["value"] for phase in record["phases"] for m in phase["measurements"]}


@pytest.mark.timeout(180)
def test_five_trucks(tmp_path: Path, root: Path) -> None:
    values = measured("lane_full", tmp_path, root)
    assert [values[name] for name in ("sealed", "images", "barrier_openings", "exit_code")] == [5, 5, 5, 0]
    assert values["alarms"] >= 2  # the tiles, the scanner's cut link
    assert values["alarm_to_screen_p99_ms"] > 0


def test_a_bench_that_is_killed_leaves_no_station_behind(tmp_path: Path, root: Path) -> None:
    out = tmp_path / "out"
    command = ("hil", "run", "--plan", "lane_full", "--bench", "--state", str(tmp_path / "bench"))
    with subprocess.Popen((*CARRIL, *command, "--out", str(out)), cwd=root) as bench:
        found = None
        until_s = time.monotonic() + 40
        while found is None and time.monotonic() < until_s:
            time.sleep(0.1)
            log = (out / "station.log").read_text() if (out / "station.log").exists() else ""
            found = re.search(r"screen +http://127\.0\.0\.1:(\d+)/", log)
        bench.kill()
    assert found is not None
    until_s = time.monotonic() + 15
    while time.monotonic() < until_s:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(found[1]))) != 0:
                return
        time.sleep(0.1)
    pytest.fail("the station serves on without its bench")


# --- each measure finds what it is there for ------------------------------------------------------


def item(seq: int, kind: str, utc_s: float, **data: Any) -> dict[str, Any]:
    data = {"inspection_id": "i1", "stamp": {"utc_us": round(utc_s * 1e6)}, **data}
    return {"seq": seq, "hash": f"{seq}", "event": {"type": f"carril.{kind}", "data": data}}


def passage() -> Seen:
    """One truck, on a lane clock at rate 2 that stood at 1,000 s when ours stood at 0."""
    seen = Seen(ahead_us=1000e6)
    seen.records = [
        item(1, "radiation_alarm.raised", 1010.0),
        item(2, "scan.completed", 1012.0),
        item(3, "decision.requested", 1012.0),
        item(4, "decision.recorded", 1013.0),
        item(5, "barrier.moved", 1015.0, to="up", decision_seq=4),
        item(6, "inspection.sealed", 1019.0),
    ]
    seen.screen_s = {1: 5.05, 2: 6.1, 3: 6.2, 4: 6.6, 5: 7.6, 6: 9.6}
    seen.columns_s, seen.image_s = {"s": 6.0}, {"s": 6.5}
    return seen


def told(seen: Seen) -> dict[str, Any]:
    values: dict[str, Any] = {}
    tell(2.0, seen, values.__setitem__)
    return values


def test_a_passage_in_order() -> None:
    assert {name: round(value, 6) for name, value in told(passage()).items()} == {
        "sealed": 1, "barrier_openings": 1, "openings_without_decision": 0, "alarms": 1, "images": 1,
        "alarm_to_screen_p99_ms": 50.0, "decision_offered_s": 0.4, "image_available_s": 1.0,
        "records_lost": 0, "records_doubled": 0,
    }  # fmt: skip


@pytest.mark.parametrize("change", [{"decision_seq": None}, {"decision_seq": 3}, {"inspection_id": "i2"}])
def test_an_opening_without_a_decision_is_found(change: dict[str, Any]) -> None:
    seen = passage()
    seen.records[4]["event"]["data"].update(change)
    assert told(seen)["openings_without_decision"] == 1


def test_an_opening_before_its_decision_is_found() -> None:
    seen = passage()
    seen.records[4]["seq"], seen.records[3]["seq"] = 4, 5
    seen.records[4]["event"]["data"]["decision_seq"] = 5
    assert told(seen)["openings_without_decision"] == 1


def test_a_hole_a_double_and_a_broken_chain_are_found() -> None:
    seen = passage()
    del seen.records[1]
    assert told(seen)["records_lost"] == 1
    seen = passage()
    seen.records.append(copy.deepcopy(seen.records[0]))
    assert (told(seen)["records_lost"], told(seen)["records_doubled"]) == (0, 1)
    seen = passage()
    del seen.screen_s[4]
    seen.breaks = 1
    assert told(seen)["records_lost"] == 2


def test_what_nobody_saw_stays_unset() -> None:
    assert told(Seen()) == {
        "sealed": 0, "barrier_openings": 0, "openings_without_decision": 0, "alarms": 0, "images": 0,
    }  # fmt: skip
