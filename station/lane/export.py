"""A sealed inspection as an N42.42-2012 document: made of its records and profiles, of nothing else.

The same records give the same bytes. What became known later (a report that came late) is in it, what was not
measured is in it as a fault, and a panel without data counts nothing. The device's own alarms are the first
analysis, the station's second opinion the other one.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from drivers.formats.n42.document import (
    Alarm,
    Analysis,
    Detector,
    DetectorCounts,
    Document,
    Fault,
    Instrument,
    Measurement,
)
from drivers.formats.n42.write import write
from station.domain.values import OccupancySummary
from station.lane.restart import Record
from station.store.chain import rfc3339

CATEGORIES = {"gamma": "Gamma", "neutron": "Neutron"}
FLAGS = {
    "simulated": "Simulated: not every device of the lane was real. This is no evidence.",
    "test": "Test: authorised, no evidence.",
    "exercise": "Exercise: no evidence.",
}
NO_PROFILE = "Its profile is not kept any more, or damaged: counts of its panels are not here."
LEAST_S = 0.001
"""The schema wants every measurement to last."""
LEARNT = "Background as it was learnt before the vehicle came: the duration is that of counting."
NOBODY = Detector("Portal", "Other", "Other")


@dataclass(slots=True)
class _Panels:
    """Detectors of the document: their ids by channel and place among the panels."""

    detectors: list[Detector] = field(default_factory=list)
    _ids: dict[tuple[str, str], str] = field(default_factory=dict)

    def ids(self, channel: str, names: Sequence[str], number: int) -> list[str]:
        """Return the id of each of so many panels of one channel."""
        told = [names[n] if n < len(names) else "" for n in range(number)]
        told = [name if told.count(name) == 1 else f"{name}{n}" for n, name in enumerate(told, 1)]
        return [self._id(channel, name) for name in told]

    def _id(self, channel: str, name: str) -> str:
        if (known := self._ids.get((channel, name))) is not None:
            return known
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", f"{name}-{channel}")
        plain = plain if plain[:1].isalpha() else f"P{plain}"
        while any(detector.id == plain for detector in self.detectors):
            plain += "_"
        self._ids[channel, name] = plain
        self.detectors.append(Detector(plain, CATEGORIES[channel], "Other"))
        return plain

    def of(self, channel: str) -> tuple[str, ...]:
        """Return the ids of one channel; of all where it has none."""
        mine = [each.id for each in self.detectors if each.category == CATEGORIES[channel]]
        return tuple(mine or [each.id for each in self.detectors])


def sealed_record(told: Sequence[Record]) -> Mapping[str, Any] | None:
    """Return the data of the sealed record among an inspection's records."""
    return next((data for _, kind, data in told if kind == "carril.inspection.sealed"), None)


def occupancies(told: Sequence[Record]) -> list[OccupancySummary]:
    """Return what the portals saw of it: what its sealed record says, and what came later."""
    found: dict[str, OccupancySummary] = {}
    sealed = sealed_record(told)
    for data in sealed["radiation"]["occupancies"] if sealed is not None else ():
        found[data["occupancy_id"]] = OccupancySummary.model_validate(data)
    for _, kind, data in told:
        if kind == "carril.inspection.amended" and data.get("occupancy") is not None:
            summary = OccupancySummary.model_validate(data["occupancy"])
            found.setdefault(summary.occupancy_id, summary)
    return list(found.values())


def n42(lane_id: str, told: Sequence[Record], profiles: Mapping[str, Mapping[str, Any]]) -> bytes | None:
    """Return a sealed inspection's document; ``None`` where the lane had no portal.

    ``told`` are all its records, ``profiles`` those of its occupancies that are kept, by SHA-256.
    """
    sealed = sealed_record(told)
    if sealed is None:
        raise ValueError("the inspection is not sealed")
    seen = occupancies(told)
    if not seen and sealed["coverage"]["rpm"]["state"] == "not_fitted":
        return None
    panels = _Panels()
    opened_us = int(sealed["opened_at_utc_us"])
    measurements = [
        each for one in seen for each in _measured(one, profiles.get(one.profile or ""), opened_us, panels)
    ]
    if not seen:
        measurements.append(_unmeasured(sealed))
    if not panels.detectors:
        panels.detectors.append(NOBODY)
    latest = max((data["stamp"]["utc_us"] for _, _, data in told), default=0)
    devices = ", ".join(dict.fromkeys(one.device for one in seen))
    document = Document(
        uuid=str(uuid.UUID(int=0)),
        written=rfc3339(latest),
        creator="Carril",
        instrument=Instrument(
            "unknown", "unknown", devices, versions={"Lane file": str(sealed["config_sha256"])}
        ),
        detectors=tuple(panels.detectors),
        measurements=tuple(measurements),
        analyses=(_device(told, seen, panels), _station(seen, profiles, panels)),
        item=dict(_item(lane_id, sealed)),
        remarks=tuple(_remarks(sealed)),
    )
    digest = hashlib.sha256(write(document)).digest()
    return write(replace(document, uuid=str(uuid.UUID(bytes=digest[:16], version=5))))


# --- the vehicle ----------------------------------------------------------------------------------


def _item(lane_id: str, sealed: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("plate", "container"):
        if (known := sealed["identity"][name]) is not None and known["text"]:
            yield name, str(known["text"])
    yield "lane", lane_id
    yield "inspection", str(sealed["inspection_id"])
    yield "outcome", str(sealed["outcome"])
    for flag in FLAGS:
        if sealed.get(flag):
            yield flag, "true"


def _remarks(sealed: Mapping[str, Any]) -> Iterator[str]:
    for flag, words in FLAGS.items():
        if sealed.get(flag):
            yield words
    missing = [name for name, is_missing in sealed["incomplete"].items() if is_missing]
    if missing:
        yield f"Not complete: {', '.join(missing)}."
    if sealed["stamp"]["clock"] != "sync":
        yield "Times are of a clock that was not known to be synchronised."


# --- what was measured ----------------------------------------------------------------------------


def _measured(
    one: OccupancySummary, profile: Mapping[str, Any] | None, opened_us: int, panels: _Panels
) -> Iterator[Measurement]:
    """Yield the backgrounds and then the samples of one occupancy, in the order of their times."""
    known = profile.get("panels") if profile is not None else None
    if known is None:
        yield Measurement(
            rfc3339(opened_us),
            max(one.duration_s, LEAST_S),
            "NotSpecified",
            (),
            tuple(_faults(one)),
            occupied=True,
            remark=NO_PROFILE,
        )
        return
    channels = {name: known[name] for name in CATEGORIES}
    start_us = int(known["start_utc_us"])
    for name, channel in channels.items():
        if (background := channel["background"]) is not None:
            yield _background(name, channel["detectors"], background, start_us, panels)
    samples = [sample for name, channel in channels.items() for sample in _samples(name, channel, panels)]
    samples.sort(key=lambda sample: sample[0])
    if not samples:
        samples = [(0.0, max(one.duration_s, LEAST_S), ())]
    faults = tuple(_faults(one))
    for from_s, interval_s, counts in samples:
        start = rfc3339(start_us + round(from_s * 1e6))
        speed_mps = _speed(known["speeds"], from_s + interval_s)
        yield Measurement(start, interval_s, "Foreground", counts, faults, speed_mps, occupied=True)
        faults = ()


def _background(
    name: str, names: Sequence[str], background: Mapping[str, Any], start_us: int, panels: _Panels
) -> Measurement:
    counting_s = float(background["counting_s"])
    ids = panels.ids(name, names, len(background["cps"]))
    counts = tuple(
        DetectorCounts(each, counting_s, round(cps * counting_s))
        for each, cps in zip(ids, background["cps"], strict=True)
    )
    start = rfc3339(start_us - round(counting_s * 1e6))
    return Measurement(start, counting_s, "Background", counts, occupied=False, remark=LEARNT)


def _samples(
    name: str, channel: Mapping[str, Any], panels: _Panels
) -> Iterator[tuple[float, float, tuple[DetectorCounts, ...]]]:
    """Yield begin, counting time and counts of each record; what has no number the writer leaves out.

    The standard knows no counts without their time: where nobody knows that, there are none.
    """
    interval_s = float(channel["interval_s"])
    if interval_s <= 0:
        return
    for middle_s, counts in zip(channel["t_s"], channel["counts"], strict=True):
        ids = panels.ids(name, channel["detectors"], len(counts))
        told = zip(ids, counts, strict=True)
        yield (
            middle_s - interval_s / 2,
            interval_s,
            tuple(DetectorCounts(each, interval_s, count) for each, count in told),
        )


def _speed(speeds: Sequence[Sequence[float]], at_s: float) -> float | None:
    """Return the last speed that was measured by then."""
    return next((speed_mps for t_s, speed_mps in reversed(speeds) if t_s <= at_s), None)


def _faults(one: OccupancySummary) -> Iterator[Fault]:
    """Yield what speaks against a measurement; tamper has no category of alarm in the standard."""
    if one.tamper:
        yield Fault("Tamper", "The portal was open.", "Error")
    for code in one.missing:
        yield Fault(code, "The measurement is not complete.", "Error")


def _unmeasured(sealed: Mapping[str, Any]) -> Measurement:
    opened_us, sealed_us = int(sealed["opened_at_utc_us"]), int(sealed["stamp"]["utc_us"])
    reason = str(sealed["coverage"]["rpm"]["reason"])
    seconds = max(LEAST_S, (sealed_us - opened_us) / 1e6)
    fault = Fault(reason, "The vehicle was not measured.", "Error")
    return Measurement(rfc3339(opened_us), seconds, "NotSpecified", (), (fault,))


# --- what was made of it --------------------------------------------------------------------------


def _device(told: Sequence[Record], seen: Sequence[OccupancySummary], panels: _Panels) -> Analysis:
    """Return the device's own alarms: never taken back, also those that were told late."""
    alarms, raised = [], set[tuple[str, str]]()
    for _, kind, data in told:
        if kind == "carril.radiation_alarm.raised":
            channel = data["channel"]
            raised.add((data["device"], channel))
            alarms.append(
                Alarm(
                    panels.of(channel), CATEGORIES[channel], rfc3339(data["stamp"]["utc_us"]), data["device"]
                )
            )
    words = []
    for one in seen:
        for channel, alarm in (("gamma", one.gamma_alarm), ("neutron", one.neutron_alarm)):
            words.append(f"{one.device}: {'alarm' if alarm else 'no alarm'} ({channel})")
            if alarm and (one.device, channel) not in raised:
                alarms.append(
                    Alarm(panels.of(channel), CATEGORIES[channel], None, f"{one.device}, told late")
                )
    return Analysis("Portal", tuple(alarms), "; ".join(words) or "no occupancy")


def _station(
    seen: Sequence[OccupancySummary], profiles: Mapping[str, Mapping[str, Any]], panels: _Panels
) -> Analysis:
    """Return the station's second opinion, which never changes the device's."""
    alarms, words = [], []
    for one in seen:
        told = (profiles.get(one.profile or "") or {}).get("panels", {})
        start_us, arrived_s = told.get("start_utc_us"), told.get("first_s", 0.0)  # old ones do not tell
        for test in one.verdicts:
            said = f"{test.algo} {test.version} ({test.channel}): {test.outcome}"
            if test.statistic is not None and test.threshold is not None:
                said += f", {test.statistic:g} against {test.threshold:g}"
            words.append(said + (f", {test.reason}" if test.reason else ""))
            if test.outcome == "alarm":
                knows = start_us is not None and test.t_first_s is not None
                first_us = start_us + round((arrived_s + (test.t_first_s or 0.0)) * 1e6) if knows else None
                time = None if first_us is None else rfc3339(first_us)
                alarms.append(Alarm(panels.of(test.channel), CATEGORIES[test.channel], time, said))
    return Analysis("Carril second opinion", tuple(alarms), "; ".join(words) or "not possible: no occupancy")
