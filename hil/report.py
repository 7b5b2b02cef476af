"""What a run leaves behind: the record as canonical JSON; JUnit and print-out are rendered from it alone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree  # written only; nothing is ever parsed with it

import rfc8785

from drivers.api import Stamp
from hil.measure import Limits, Measured, Measurement, show
from hil.run import Attempt, PhaseRun, Run
from station import __version__
from station.lanefile import LaneFile

RECORD_VERSION = 1
RUN_FILE = "run.json"
JUNIT_FILE = "junit.xml"
GREATEST_INTEGER = 2**53 - 1
"""Of canonical JSON [RFC 8785, 3.2.2.3]."""
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 allows in no form. [W3C, Extensible Markup Language 1.0, fifth edition, section 2.2]"""

Record = dict[str, Any]


def record_of(run_id: str, run: Run, lane_file: LaneFile) -> Record:
    """Return the run as JSON values: what ran on what, and every attempt with every value."""
    head = run.plan.head
    record: Record = {
        "record_version": RECORD_VERSION,
        "run_id": run_id,
        "plan": {"id": head.id, "version": head.version, "sha256": run.plan.sha256, "target": head.target},
        "title": head.title.model_dump(),
        "software": __version__,
        "lane": {"id": lane_file.lane.id, "config_sha256": lane_file.sha256},
        "devices": [
            {"name": d.name, "role": str(d.role), "driver": d.spec.name, "mode": d.mode}
            for d in lane_file.devices
        ],
        "bench": True,
        "simulated": any(device.mode != "real" for device in lane_file.devices),
        "started": _stamp(run.started),
        "ended": _stamp(run.ended),
        "outcome": str(run.result),
        "outcome_details": [{"code": code, "text": _text(text)} for code, text in run.details],
        "phases": [_phase(one) for one in run.phases],
    }
    measured = [m for phase in record["phases"] for m in phase["measurements"]]
    record["counts"] = {
        outcome: sum(m["outcome"] == outcome for m in measured)
        for outcome in ("PASS", "FAIL", "UNSET", "SKIPPED")
    } | {"marginal": sum(m["marginal"] for m in measured)}
    return record


def _stamp(stamp: Stamp) -> Record:
    return {
        "utc_us": stamp.utc_ns // 1000,
        "mono_us": stamp.mono_ns // 1000,
        "boot_id": stamp.boot_id,
    }


def _phase(one: PhaseRun) -> Record:
    gives = one.phase.step.gives
    return {
        "id": one.phase.id,
        "part": one.part,
        "step": one.phase.use,
        "outcome": str(one.result),
        "attempts": [_attempt(attempt) for attempt in one.attempts],
        "measurements": [_measurement(m) for m in one.measurements],
        "help": {m.limits.name: [gives[m.limits.name].cause, gives[m.limits.name].advice]
                 for m in one.measurements if not m.ok and one.attempts},
    }  # fmt: skip


def _attempt(attempt: Attempt) -> Record:
    return {
        "started": _stamp(attempt.started),
        "ended": _stamp(attempt.ended),
        "outcome": str(attempt.result),
        "error": None if attempt.error is None else _text(attempt.error),
        "measurements": [_measurement(m) for m in attempt.measurements],
    }


def _measurement(m: Measurement) -> Record:
    return {
        "name": m.limits.name,
        "unit": m.limits.unit,
        "value": _value(m.value),
        "limit": m.limits.text(),
        "limits": _limits(m.limits),
        "outcome": str(m.outcome),
        "marginal": m.marginal,
    }


def _value(value: Measured | None) -> Measured | None:
    """Return a value as canonical JSON can hold it: no NaN, nothing infinite, no integer above 2^53 - 1."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return str(value) if isinstance(value, int) and abs(value) > GREATEST_INTEGER else value


def _limits(limits: Limits) -> Record:
    rules = limits.model_dump(exclude={"name", "unit"}, exclude_none=True)
    return {
        name: [_value(one) for one in rule] if isinstance(rule, tuple) else _value(rule)
        for name, rule in rules.items()
    }


def _text(text: str) -> str:
    """Return a text that UTF-8 can carry: a device's odd byte must not cost the record."""
    return text.encode("utf-8", "backslashreplace").decode()


def write_reports(record: Record, folder: Path) -> None:
    """Write ``run.json`` and ``junit.xml``; raises ``OSError``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RUN_FILE).write_bytes(rfc8785.dumps(record))
    (folder / JUNIT_FILE).write_bytes(junit(record))


# --- JUnit ----------------------------------------------------------------------------------------


def junit(record: Record) -> bytes:
    """Return the record as JUnit: the plan is the suite, a phase a case, a measurement its properties."""
    phases = record["phases"]
    suite = ElementTree.Element("testsuite", name=legal(record["plan"]["id"]), tests=str(len(phases)))
    for name, outcomes in _JUNIT.items():
        suite.set(f"{name}s" if name != "skipped" else name, str(_count(phases, outcomes)))
    suite.set("time", _seconds(record))
    _properties(suite, [("outcome", record["outcome"]), ("run_id", record["run_id"])])
    for phase in phases:
        case = ElementTree.SubElement(suite, "testcase", classname=record["plan"]["id"], name=phase["id"])
        case.set("time", f"{sum(float(_seconds(one)) for one in phase['attempts']):.3f}")
        _properties(case, _named_values(phase))
        for name, outcomes in _JUNIT.items():
            if phase["outcome"] in outcomes:
                told = ElementTree.SubElement(case, name, message=legal(phase["outcome"]))
                told.text = legal("\n".join(complaints(phase)))
    ElementTree.indent(suite)
    content: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return content


_JUNIT = {"failure": ("FAIL",), "error": ("ERROR", "TIMEOUT", "ABORTED"), "skipped": ("SKIP",)}


def _count(phases: list[Record], outcomes: tuple[str, ...]) -> int:
    return sum(phase["outcome"] in outcomes for phase in phases)


def _seconds(span: Record) -> str:
    return f"{(span['ended']['mono_us'] - span['started']['mono_us']) / 1e6:.3f}"


def _named_values(phase: Record) -> Iterator[tuple[str, str]]:
    for m in phase["measurements"]:
        yield m["name"], "" if m["value"] is None else _exact(m["value"])
        yield f"{m['name']}.unit", m["unit"]
        yield f"{m['name']}.limit", m["limit"]
        yield f"{m['name']}.outcome", m["outcome"]


def _exact(value: object) -> str:
    """Return a value with all its digits, as JSON has it: the renderings must agree."""
    return value if isinstance(value, str) else rfc8785.dumps(value).decode()  # type: ignore[arg-type]  # JSON


def _properties(parent: ElementTree.Element, values: Any) -> None:
    properties = ElementTree.SubElement(parent, "properties")
    for name, value in values:
        ElementTree.SubElement(properties, "property", name=legal(name), value=legal(value))


def legal(text: str) -> str:
    r"""Return ``text`` with each character that XML 1.0 forbids written as ``\xNN``."""
    return _ILLEGAL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


# --- print-out ------------------------------------------------------------------------------------


def complaints(phase: Record) -> Iterator[str]:
    """Yield one line for each error and for each value outside its limits."""
    for number, attempt in enumerate(phase["attempts"], 1):
        if attempt["error"] is not None:
            yield f"attempt {number}: {attempt['outcome']}: {attempt['error']}"
    for m in phase["measurements"]:
        if m["name"] in phase["help"]:
            cause, advice = phase["help"][m["name"]]
            unit = "" if m["unit"] == "1" else f" {m['unit']}"
            measured = f"measured {show(m['value'])}{unit if m['value'] is not None else ''}"
            yield (
                f"{m['name']}: {m['outcome']}: {measured}, limit {m['limit']}{unit}; "
                f"likely cause: {cause}; next step: {advice}"
            )


def printout(record: Record) -> str:
    """Return the run as a few lines for a terminal."""
    plan, counts = record["plan"], record["counts"]
    lines = [f"{plan['id']} v{plan['version']}: {record['title']['en']} (lane {record['lane']['id']})"]
    for phase in record["phases"]:
        lines.append(f"  {phase['outcome']:<8}{phase['id']}")
        for m in phase["measurements"]:
            if m["outcome"] == "PASS":
                unit = "" if m["unit"] == "1" else f" {m['unit']}"
                band = "  MARGINAL" if m["marginal"] else ""
                lines.append(f"            {m['name']} {show(m['value'])}{unit} ({m['limit']}{unit}){band}")
        lines += [f"          ! {line}" for line in complaints(phase)]
    lines += [f"  {one['code']}: {one['text']}" for one in record["outcome_details"]]
    lines.append(
        f"{record['outcome']}  {counts['PASS']} passed, {counts['marginal']} of them marginal, "
        f"{counts['FAIL']} failed, {counts['UNSET']} unset, {counts['SKIPPED']} skipped"
    )
    return "\n".join(legal(line).replace("\n", "\\x0a").replace("\r", "\\x0d") for line in lines)
