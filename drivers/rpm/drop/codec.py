"""An N42.42-2012 document of a portal as one report of one passage; no clock, no file, one exception.

Which samples are of the vehicle ``OccupancyIndicator`` says, and the class of the measurement only where that
is missing (Annex D calls occupied samples Background); calibrations are neither. An alarm of the category
Neutron is one of neutrons, every other one is taken for gamma: none is dropped because of its name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from drivers.formats.n42.document import Document, Measurement, NotN42
from drivers.formats.n42.read import read
from drivers.readings import Channel, Counts, Phase, PortalReport, Speed, Stamp

MAX_DETECTORS = 64
"""Of one channel; sums of their counts stay numbers that a record can hold."""
MAX_WORDS, MAX_CHARACTERS = 32, 100
"""Characteristics, faults and alarms of one document, and the length of each text, as they are told."""
MAX_MPS = 100.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEARS = range(1970, 2200)
_CATEGORIES = {Channel.GAMMA: "Gamma", Channel.NEUTRON: "Neutron"}
_PHASES = {"Background": Phase.BACKGROUND, "Calibration": None, "IntrinsicActivity": None}
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def decode(body: bytes, name: str, arrival: Stamp) -> PortalReport:
    """Return what the document says; raises ``NotN42`` with a sentence, and nothing else."""
    document = read(body)
    detectors = {channel: document.detectors_of(category) for channel, category in _CATEGORIES.items()}
    if any(len(ids) > MAX_DETECTORS for ids in detectors.values()):
        raise NotN42(f"the file describes more than {MAX_DETECTORS} detectors of one kind")
    timed = [(_utc_ns(each.start), each) for each in document.measurements]
    timed.sort(key=lambda pair: pair[0])
    counts = [count for each in timed for count in _counts(*each, detectors, arrival)]
    faults = [fault for each in document.measurements for fault in each.faults]
    faults += [fault for each in document.analyses for fault in each.faults]
    said = [(fault.severity, f"{fault.code} {fault.description}".strip()) for fault in faults]
    return PortalReport(
        stamp=arrival,
        key=hashlib.sha256(body).hexdigest(),
        name=name,
        body=body,
        span=_span(timed),
        detectors={channel: ids for channel, ids in detectors.items() if ids},
        counts=tuple(counts),
        speeds=tuple(_speeds(timed, arrival)),
        alarms=_alarms(document),
        faults=_texts(words for severity, words in said if severity != "Warning"),
        tamper=any("tamper" in words.casefold() for _, words in said),
        item={_text(name): _text(value) for name, value in list(document.item.items())[:MAX_WORDS]},
    )


# --- times ----------------------------------------------------------------------------------------


def _utc_ns(text: str) -> int:
    """Return UTC in nanoseconds; a time without an offset is taken for UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise NotN42(f"the file has a time that is none: {text[:50]!r}") from None
    if found.year not in _YEARS:
        raise NotN42(f"the file has a time that is none of a passage: {text[:50]!r}")
    aware = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1) * 1000


def _at(utc_ns: int, arrival: Stamp) -> Stamp:
    """Return a moment of the portal's clock as if that were the station's own."""
    return Stamp(utc_ns, arrival.mono_ns - (arrival.utc_ns - utc_ns), arrival.boot_id)


def _phase(measurement: Measurement) -> Phase | None:
    if measurement.occupied is not None:
        return Phase.SCAN if measurement.occupied else Phase.BACKGROUND
    return _PHASES.get(measurement.class_code, Phase.SCAN)


def _end_ns(start_ns: int, seconds: float) -> int:
    return start_ns + round(seconds * 1e9)


def _span(timed: list[tuple[int, Measurement]]) -> tuple[int, int] | None:
    """Return begin and end of the occupied time; without any, of all that was measured."""
    occupied = [each for each in timed if _phase(each[1]) is Phase.SCAN] or timed
    if not occupied:
        return None
    return occupied[0][0], max(_end_ns(start_ns, each.real_time_s) for start_ns, each in occupied)


# --- counts ---------------------------------------------------------------------------------------


def _counts(
    start_ns: int, measurement: Measurement, detectors: Mapping[Channel, tuple[str, ...]], arrival: Stamp
) -> Iterator[Counts]:
    """Yield one record for each channel that has counts in a measurement."""
    phase = _phase(measurement)
    found = {count.detector: count for count in measurement.counts}
    for channel, ids in detectors.items():
        mine = [found[each] for each in ids if each in found]
        if phase is None or not mine:
            continue
        # Neutrons may be counted over more than the measurement that tells of them.
        interval_s = max(measurement.real_time_s, *(count.live_time_s for count in mine))
        totals = tuple(found[each].total if each in found else None for each in ids)
        end = _at(_end_ns(start_ns, measurement.real_time_s), arrival)
        yield Counts(end, channel, phase, interval_s, totals)


def _speeds(timed: list[tuple[int, Measurement]], arrival: Stamp) -> Iterator[Speed]:
    for start_ns, measurement in timed:
        speed_mps = measurement.speed_mps
        if speed_mps is not None and abs(speed_mps) <= MAX_MPS:
            yield Speed(_at(start_ns, arrival), abs(speed_mps))


# --- words ----------------------------------------------------------------------------------------


def _alarms(document: Document) -> dict[Channel, str]:
    words: dict[Channel, list[str]] = {}
    for analysis in document.analyses:
        for alarm in analysis.alarms:
            channel = Channel.NEUTRON if alarm.category == "Neutron" else Channel.GAMMA
            words.setdefault(channel, []).append(f"{alarm.category} {alarm.description}")
    return {channel: _text("; ".join(_texts(said))) for channel, said in words.items()}


def _text(text: str) -> str:
    return _NO_TEXT.sub(" ", text).strip()[:MAX_CHARACTERS]


def _texts(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(_text, texts)))[:MAX_WORDS]
