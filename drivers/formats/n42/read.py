"""Read an N42.42-2012 document of a portal; prefixes do not matter, and no entity is expanded.

``CountData`` has one value per energy window, and windows may overlap (Annex D: 0–100, 0–3000, 100–400 keV):
they are never added. A spectrum counts with the sum of its channels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from drivers.formats.n42.document import (
    Alarm,
    Analysis,
    Detector,
    DetectorCounts,
    Document,
    Fault,
    Instrument,
    Measurement,
    NotN42,
    Window,
)

NAMESPACE = "http://physics.nist.gov/N42/2011/N42"
MAX_BYTES = 64 * 2**20
MAX_COUNTS = 2**53
_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d*)?)S)?)?")
_TRUE, _FALSE = ("1", "true"), ("0", "false")

Element = Any
"""``xml.etree.ElementTree.Element``: what the safe parser returns has no types."""


def read(data: bytes) -> Document:
    """Return what the document says; raises ``NotN42`` with a sentence."""
    if len(data) > MAX_BYTES:
        raise NotN42(f"the file has {len(data)} bytes, at most {MAX_BYTES} are read")
    try:
        root = fromstring(data, forbid_dtd=True)
    except DefusedXmlException as error:
        raise NotN42(
            f"the file defines types or entities, which N42 does not need ({type(error).__name__})"
        ) from error
    except (SyntaxError, ValueError, LookupError) as error:  # ParseError is a SyntaxError
        raise NotN42(f"the file is no XML: {error}") from error
    if root.tag != f"{{{NAMESPACE}}}RadInstrumentData":
        raise NotN42(f"the file is not N42.42-2012: it begins with {str(root.tag)[:100]}")
    detectors = tuple(_detector(at) for at in _all(root, "RadDetectorInformation"))
    windows = {_id(at): _ranges(at) for at in _all(root, "EnergyWindows")}
    known = {detector.id for detector in detectors}
    return Document(
        uuid=root.get("n42DocUUID", ""),
        written=root.get("n42DocDateTime"),
        creator=_text(root, "RadInstrumentDataCreatorName"),
        instrument=_instrument(root),
        detectors=detectors,
        measurements=tuple(_measurement(at, windows, known) for at in _all(root, "RadMeasurement")),
        analyses=tuple(_analysis(at) for at in _all(root, "AnalysisResults")),
        item=_item(root),
    )


# --- elements -------------------------------------------------------------------------------------


def _all(at: Element, *path: str) -> Iterator[Element]:
    found = at.iterfind("/".join(f"{{{NAMESPACE}}}{name}" for name in path))
    yield from found


def _text(at: Element, *path: str) -> str:
    for found in _all(at, *path):
        return (found.text or "").strip()
    return ""


def _id(at: Element) -> str:
    return str(at.get("id", ""))


def _name(at: Element) -> str:
    return str(at.tag).rpartition("}")[2]


# --- values ---------------------------------------------------------------------------------------


def _duration(at: Element, name: str) -> float:
    text = _text(at, name)
    found = _DURATION.fullmatch(text)
    if not found or not any(found.groups()):
        raise NotN42(f"{name} of {_name(at)} {_id(at)} is no duration: {text[:50]!r}")
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _numbers(text: str, what: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split()]
    except ValueError:
        raise NotN42(f"{what} has a value that is no number: {text[:50]!r}") from None
    if not all(math.isfinite(number) for number in numbers):
        raise NotN42(f"{what} has a value that is no number: {text[:50]!r}")
    return numbers


def _counts(text: str, what: str) -> list[int]:
    numbers = _numbers(text, what)
    if not numbers or any(number < 0 or number > MAX_COUNTS or number % 1 for number in numbers):
        raise NotN42(f"{what} has no whole counts: {text[:50]!r}")
    return [int(number) for number in numbers]


def _flag(text: str) -> bool | None:
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    return None


# --- parts ----------------------------------------------------------------------------------------


def _instrument(root: Element) -> Instrument:
    for at in _all(root, "RadInstrumentInformation"):
        versions = {
            _text(part, "RadInstrumentComponentName"): _text(part, "RadInstrumentComponentVersion")
            for part in _all(at, "RadInstrumentVersion")
        }
        return Instrument(
            manufacturer=_text(at, "RadInstrumentManufacturerName"),
            model=_text(at, "RadInstrumentModelName"),
            identifier=_text(at, "RadInstrumentIdentifier"),
            class_code=_text(at, "RadInstrumentClassCode"),
            versions=versions,
        )
    raise NotN42("the file names no instrument (RadInstrumentInformation)")


def _detector(at: Element) -> Detector:
    return Detector(_id(at), _text(at, "RadDetectorCategoryCode"), _text(at, "RadDetectorKindCode"))


def _item(root: Element) -> dict[str, str]:
    return {
        _text(at, "CharacteristicName"): _text(at, "CharacteristicValue")
        for at in _all(root, "RadItemInformation", "RadItemCharacteristics", "Characteristic")
    }


def _ranges(at: Element) -> list[tuple[float, float]]:
    what = f"EnergyWindows {_id(at)}"
    lows = _numbers(_text(at, "WindowStartEnergyValues"), what)
    highs = _numbers(_text(at, "WindowEndEnergyValues"), what)
    if len(lows) != len(highs):
        raise NotN42(f"{what} has {len(lows)} begins and {len(highs)} ends")
    return list(zip(lows, highs, strict=True))


def _measurement(at: Element, windows: dict[str, list[tuple[float, float]]], known: set[str]) -> Measurement:
    counts = {}
    for of in [*_all(at, "Spectrum"), *_all(at, "GrossCounts")]:
        one = _spectrum(of) if _name(of) == "Spectrum" else _gross(of, windows)
        if one.detector not in known:
            raise NotN42(
                f"{_name(of)} {_id(of)} is of a detector that is not described: {one.detector[:50]!r}"
            )
        counts[one.detector] = one
    speeds = _numbers(_text(at, "RadItemState", "StateVector", "SpeedValue"), "SpeedValue")
    return Measurement(
        start=_text(at, "StartDateTime"),
        real_time_s=_duration(at, "RealTimeDuration"),
        class_code=_text(at, "MeasurementClassCode"),
        counts=tuple(counts.values()),
        faults=tuple(_fault(of) for of in _all(at, "RadInstrumentState", "Fault")),
        speed_mps=speeds[0] if speeds else None,
        occupied=_flag(_text(at, "OccupancyIndicator")),
    )


def _gross(at: Element, windows: dict[str, list[tuple[float, float]]]) -> DetectorCounts:
    what = f"CountData of {_id(at)}"
    values = _counts(_text(at, "CountData"), what)
    detector, live_s = str(at.get("radDetectorInformationReference", "")), _duration(at, "LiveTimeDuration")
    reference = at.get("energyWindowsReference")
    if reference is None:
        return DetectorCounts(detector, live_s, values[0] if len(values) == 1 else None)
    ranges = windows.get(reference, [])
    if len(ranges) != len(values):
        raise NotN42(f"{what} has {len(values)} values for {len(ranges)} energy windows")
    found = tuple(Window(low, high, count) for (low, high), count in zip(ranges, values, strict=True))
    whole = (min(low for low, _ in ranges), max(high for _, high in ranges))
    total = next((window.counts for window in found if (window.low_kev, window.high_kev) == whole), None)
    return DetectorCounts(detector, live_s, total, found)


def _spectrum(at: Element) -> DetectorCounts:
    what = f"ChannelData of {_id(at)}"
    values = _counts(_text(at, "ChannelData"), what)
    packed = [each.get("compressionCode") for each in _all(at, "ChannelData")] == ["CountedZeroes"]
    total = sum(_unpacked(values, what)) if packed else sum(values)
    detector = str(at.get("radDetectorInformationReference", ""))
    return DetectorCounts(detector, _duration(at, "LiveTimeDuration"), total)


def _unpacked(values: list[int], what: str) -> Iterator[int]:
    """Return the counts that are not zero: behind each 0 stands how many zeros there are."""
    rest = iter(values)
    for value in rest:
        if value:
            yield value
        elif next(rest, None) is None:
            raise NotN42(f"{what} ends within a run of zeros")


def _fault(at: Element) -> Fault:
    severity = _text(at, "FaultSeverityCode")
    known = {"Fatal": "Fatal", "Warning": "Warning"}.get(severity, "Error")
    return Fault(_text(at, "FaultCodeValue"), _text(at, "FaultDescription"), known)  # type: ignore[arg-type]


def _analysis(at: Element) -> Analysis:
    alarms = tuple(
        Alarm(
            detectors=tuple(str(of.get("radDetectorInformationReferences", "")).split()),
            category=_text(of, "RadAlarmCategoryCode"),
            time=_text(of, "RadAlarmDateTime") or None,
            description=_text(of, "RadAlarmDescription"),
        )
        for of in _all(at, "RadAlarm")
    )
    return Analysis(_text(at, "AnalysisAlgorithmName"), alarms, _text(at, "AnalysisResultDescription"))
