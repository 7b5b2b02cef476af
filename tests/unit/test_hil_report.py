"""Reports of the bench: every rendering says what the record says, whatever bytes a device sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from defusedxml.ElementTree import fromstring
from hypothesis import given
from hypothesis import strategies as st

from drivers.readings import Stamp
from hil.measure import Measured, judge
from hil.plan import load_plan
from hil.report import junit, legal, printout, record_of, write_reports
from hil.run import Attempt, PhaseRun, Result, Run
from station import plugins
from station.lanefile import load_lane, shipped

GARBAGE = bytes(range(256)).decode("latin-1") + "\ud800\uffff\U0001f69a"
DEMO = load_lane(shipped("lanes", "demo"), plugins.find)


def at(second: float) -> Stamp:
    return Stamp(round((1_800_000_000 + second) * 1e9), round(second * 1e9), "boot")


def record(values: dict[str, Measured], error: str | None = None) -> dict[str, Any]:
    """Return the record of a run of the shipped io plan in which only `inputs` and `open` ran."""
    plan = load_plan("io")
    phases = [PhaseRun("main", phase) for phase in (*plan.setup, *plan.main, *plan.teardown)]
    for one in phases[:2]:
        judged = tuple(judge(limits, values.get(limits.name)) for limits in one.phase.measure)
        result = Result.ERROR if error else Result.PASS if all(m.ok for m in judged) else Result.FAIL
        one.attempts.append(Attempt(at(1), at(2.5), result, judged, error))
    run = Run(plan, at(0), at(4), phases, Result.FAIL, [("aborted", error or "no")])
    return record_of("run-1", run, DEMO)


GOOD = {name: 50.0 for name in ("entry_loop_ms", "booth_loop_ms", "exit_loop_ms", "barrier_up_ms",
        "barrier_down_ms", "obstruction_ms", "estop_ok_ms")} | {"cabinet_closed_ms": 180.25}  # fmt: skip
GOOD_RUN: dict[str, Measured] = {**GOOD, "model": "emulated I/O board"}


def properties(case: Any) -> dict[str, str]:
    return {one.get("name"): one.get("value") for one in case.iter("property")}


def agree(told: dict[str, Any]) -> None:
    """Check JUnit against the record: outcomes, counts, and every number with all its digits."""
    suite = fromstring(junit(told))
    assert properties(suite.find("properties").iter().__next__())["outcome"] == told["outcome"]
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == [phase["id"] for phase in told["phases"]]
    children = {"PASS": None, "FAIL": "failure", "ERROR": "error", "SKIP": "skipped"}
    for case, phase in zip(cases, told["phases"], strict=True):
        marks = [child.tag for child in case if child.tag != "properties"]
        assert marks == [mark for mark in (children[phase["outcome"]],) if mark]
        shown = properties(case)
        assert len(shown) == 4 * len(phase["measurements"])
        for m in phase["measurements"]:
            value = shown[m["name"]]
            if isinstance(m["value"], str):
                assert value == legal(m["value"])
            else:
                assert (None if value == "" else json.loads(value)) == m["value"]
            assert (shown[m["name"] + ".unit"], shown[m["name"] + ".outcome"]) == (m["unit"], m["outcome"])
    for name, outcome in (("failures", "FAIL"), ("errors", "ERROR"), ("skipped", "SKIP")):
        assert int(suite.get(name)) == sum(phase["outcome"] == outcome for phase in told["phases"])


def test_junit_agrees_with_the_record() -> None:
    told = record(GOOD_RUN)
    agree(told)
    assert told["counts"] == {"PASS": 9, "FAIL": 0, "UNSET": 0, "SKIPPED": 15, "marginal": 1}


def test_json_is_canonical_and_read_back_unchanged(tmp_path: Path) -> None:
    told = record(GOOD_RUN)
    write_reports(told, tmp_path)
    content = (tmp_path / "run.json").read_bytes()
    assert json.loads(content) == told
    assert content == rfc8785.dumps(json.loads(content))
    assert (tmp_path / "junit.xml").read_bytes() == junit(told)


def test_a_fail_line_says_all_that_a_technician_needs() -> None:
    told = record({**GOOD_RUN, "entry_loop_ms": 200.5})
    (line,) = [line for line in printout(told).splitlines() if "entry_loop_ms" in line]
    assert line.strip() == (
        "! entry_loop_ms: FAIL: measured 200.5 ms, limit ≤ 200 ms; likely cause: The board is polled too "
        "seldom, or its link is slow; next step: lower poll_s of the board in the lane file, and look at its "
        "link"
    )
    agree(told)


def test_an_unset_value_is_a_failure_in_every_rendering() -> None:
    values = {name: value for name, value in GOOD_RUN.items() if name != "estop_ok_ms"}
    told = record(values)
    assert told["counts"]["UNSET"] == 1
    assert "estop_ok_ms: UNSET: measured nothing, limit ≤ 200 ms" in printout(told)
    agree(told)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, -(2**64)])
def test_canonical_json_has_no_nan_and_no_great_integer(value: float, tmp_path: Path) -> None:
    told = record({**GOOD_RUN, "entry_loop_ms": value})
    write_reports(told, tmp_path)
    assert json.loads((tmp_path / "run.json").read_bytes()) == told
    agree(told)


def test_garbage_bytes_leave_every_rendering_valid(tmp_path: Path) -> None:
    told = record({**GOOD_RUN, "model": GARBAGE}, error=GARBAGE)
    write_reports(told, tmp_path)
    assert json.loads((tmp_path / "run.json").read_bytes()) == told
    agree(told)
    assert "\\x00" in printout(told)
    assert not set(printout(told)) & set("\x00\x1b\r\x0b")
    assert all(line.startswith(("io v1", " ", "FAIL")) for line in printout(told).split("\n"))


@given(st.text(st.characters(), max_size=40))
def test_whatever_a_device_says_the_xml_is_valid(text: str) -> None:
    agree(record({**GOOD_RUN, "model": text}, error=text))
