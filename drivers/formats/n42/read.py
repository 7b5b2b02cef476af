"""Read an N42.42-2012 document of a portal; prefixes do not matter, and no entity is expanded.

``CountData`` has one value per energy window, and windows may overlap (Annex D: 0–100, 0–3000, 100–400 keV):
they are never added. A spectrum counts with the sum of its channels. Where one detector has two different
totals in one measurement, it has none. The schema allows parts of a count: nobody can say how many such
counts were, so that detector has none in that measurement. ``TotalCountData``
is what came since the instrument was reset, hence no count of a measurement, and is not read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any
from xml.etree.ElementTree import ParseError, TreeBuilder

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

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
    Unfinished,
    Window,
)

NAMESPACE = "http://physics.nist.gov/N42/2011/N42"
MAX_BYTES = 64 * 2**20
MAX_ELEMENTS, MAX_DEPTH, MAX_TEXT = 500_000, 50, 2**20
"""Hours of samples, spectra of 100,000 channels: beyond it a document takes gigabytes, without an entity."""
PIECE = 2**16
MAX_COUNTS = 10**9
"""Of one value: no detector counts more in the time of a measurement."""
MAX_S = 1e9
_NOT_ALL = frozenset({3, 5, 6, 20})
"""Errors of expat for a text that ends too early: no (whole) element, an open token, character or section."""
_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d*)?)S)?)?")
_TRUE, _FALSE = ("1", "true"), ("0", "false")

Element = Any
"""``xml.etree.ElementTree.Element``: what the safe parser returns has no types."""


def read(data: bytes) -> Document:
    """Return what the document says; raises ``NotN42`` with a sentence."""
    root = _parsed(data)
    if root.tag != f"{{{NAMESPACE}}}RadInstrumentData":
        raise NotN42(f"the file is not N42.42-2012: it begins with {str(root.tag)[:100]}")
    detectors = tuple(_detector(at) for at in _all(root, "RadDetectorInformation"))
    windows = {_id(at): _ranges(at) for at in _all(root, "EnergyWindows")}
    known = {detector.id for detector in detectors}
    return Document(
        uuid=root.get("n42DocUUID", ""),
        remarks=tuple((at.text or "").strip() for at in _all(root, "Remark")),
        written=root.get("n42DocDateTime"),
        creator=_text(root, "RadInstrumentDataCreatorName"),
        instrument=_instrument(root),
        detectors=detectors,
        measurements=tuple(_measurement(at, windows, known) for at in _all(root, "RadMeasurement")),
        analyses=tuple(_analysis(at) for at in _all(root, "AnalysisResults")),
        item=_item(root),
    )


# --- elements -------------------------------------------------------------------------------------


class _Bounded(TreeBuilder):
    """Builds the tree, unless it would be a monster."""

    def __init__(self) -> None:
        super().__init__()
        self._elements = self._depth = self._text = 0

    def start(self, tag: Any, attrs: Any, /) -> Element:
        self._elements, self._depth, self._text = self._elements + 1, self._depth + 1, 0
        if self._elements > MAX_ELEMENTS or self._depth > MAX_DEPTH:
            raise NotN42(f"the file has more than {MAX_ELEMENTS} elements, or {MAX_DEPTH} in each other")
        return super().start(tag, attrs)

    def data(self, data: str, /) -> None:
        self._text += len(data)
        if self._text > MAX_TEXT:
            raise NotN42(f"the file has an element with more than {MAX_TEXT} characters")
        super().data(data)

    def end(self, tag: str, /) -> Element:
        self._depth, self._text = self._depth - 1, 0
        return super().end(tag)


def _parsed(data: bytes) -> Element:
    if len(data) > MAX_BYTES:
        raise NotN42(f"the file has {len(data)} bytes, at most {MAX_BYTES} are read")
    parser = DefusedXMLParser(target=_Bounded(), forbid_dtd=True)
    try:
        for at in range(0, len(data), PIECE):  # all at once would keep every other thread waiting
            parser.feed(data[at : at + PIECE])
        return parser.close()
    except DefusedXmlException as error:
        raise NotN42(
            f"the file defines types or entities, which N42 does not need ({type(error).__name__})"
        ) from error
    except ParseError as error:
        sort = Unfinished if error.code in _NOT_ALL else NotN42
        raise sort(f"the file is no XML: {error}") from error
    except (ValueError, LookupError) as error:  # an encoding that nobody knows
        if isinstance(error, NotN42):
            raise
        raise NotN42(f"the file is no XML: {error}") from error


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
    whole_s = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if whole_s > MAX_S:
        raise NotN42(f"{name} of {_name(at)} {_id(at)} is no duration of a measurement: {text[:50]!r}")
    return whole_s


def _numbers(text: str, what: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split()]
    except ValueError:
        raise NotN42(f"{what} has a value that is no number: {text[:50]!r}") from None
    if not all(math.isfinite(number) for number in numbers):
        raise NotN42(f"{what} has a value that is no number: {text[:50]!r}")
    return numbers


def _counts(text: str, what: str) -> list[int] | None:
    """Return the counts; ``None`` where they are no whole ones."""
    numbers = _numbers(text, what)
    if not numbers or any(number < 0 for number in numbers):
        raise NotN42(f"{what} has no counts: {text[:50]!r}")
    whole = all(number <= MAX_COUNTS and number % 1 == 0 for number in numbers)
    return [int(number) for number in numbers] if whole else None


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
    """Return the item's characteristics, also those in groups, and those that a measurement tells of it."""
    places = chain(_all(root, "RadItemInformation"), _all(root, "RadMeasurement", "RadItemState"))
    return {
        _text(at, "CharacteristicName"): _text(at, "CharacteristicValue")
        for place in places
        for at in place.iter(f"{{{NAMESPACE}}}Characteristic")
    }


def _ranges(at: Element) -> list[tuple[float, float]]:
    what = f"EnergyWindows {_id(at)}"
    lows = _numbers(_text(at, "WindowStartEnergyValues"), what)
    highs = _numbers(_text(at, "WindowEndEnergyValues"), what)
    if len(lows) != len(highs):
        raise NotN42(f"{what} has {len(lows)} begins and {len(highs)} ends")
    return list(zip(lows, highs, strict=True))


def _measurement(at: Element, windows: dict[str, list[tuple[float, float]]], known: set[str]) -> Measurement:
    counts: dict[str, list[DetectorCounts]] = {}
    for of in [*_all(at, "Spectrum"), *_all(at, "GrossCounts")]:
        detector = str(of.get("radDetectorInformationReference", ""))
        if detector not in known:
            raise NotN42(f"{_name(of)} {_id(of)} is of a detector that is not described: {detector[:50]!r}")
        one = _spectrum(of, detector) if _name(of) == "Spectrum" else _gross(of, detector, windows)
        if one is not None:
            counts.setdefault(detector, []).append(one)
    speeds = _numbers(_text(at, "RadItemState", "StateVector", "SpeedValue"), "SpeedValue")
    return Measurement(
        remark=" ".join((of.text or "").strip() for of in _all(at, "Remark")),
        start=_text(at, "StartDateTime"),
        real_time_s=_duration(at, "RealTimeDuration"),
        class_code=_text(at, "MeasurementClassCode"),
        counts=tuple(map(_together, counts.values())),
        faults=tuple(
            _fault(of)
            for state in ("RadInstrumentState", "RadDetectorState")
            for of in _all(at, state, "Fault")
        ),
        speed_mps=speeds[0] if speeds else None,
        occupied=_flag(_text(at, "OccupancyIndicator")),
    )


def _together(found: list[DetectorCounts]) -> DetectorCounts:
    """Return what all elements say that are of one detector: nobody knows which of two totals is right."""
    totals = {one.total for one in found if one.total is not None}
    if len(totals) > 1:
        return replace(found[0], total=None, windows=())
    windows = next((one.windows for one in found if one.windows), ())
    return replace(found[0], total=next(iter(totals), None), windows=windows)


def _gross(
    at: Element, detector: str, windows: dict[str, list[tuple[float, float]]]
) -> DetectorCounts | None:
    what = f"CountData of {_id(at)}"
    values = _counts(_text(at, "CountData"), what)
    live_s, reference = _duration(at, "LiveTimeDuration"), at.get("energyWindowsReference")
    if values is None:
        return None
    if reference is None:
        return DetectorCounts(detector, live_s, values[0] if len(values) == 1 else None)
    ranges = windows.get(reference, [])
    if len(ranges) != len(values):
        raise NotN42(f"{what} has {len(values)} values for {len(ranges)} energy windows")
    found = tuple(Window(low, high, count) for (low, high), count in zip(ranges, values, strict=True))
    whole = (min(low for low, _ in ranges), max(high for _, high in ranges))
    total = next((window.counts for window in found if (window.low_kev, window.high_kev) == whole), None)
    return DetectorCounts(detector, live_s, total, found)


def _spectrum(at: Element, detector: str) -> DetectorCounts | None:
    what = f"ChannelData of {_id(at)}"
    values, live_s = _counts(_text(at, "ChannelData"), what), _duration(at, "LiveTimeDuration")
    if values is None:
        return None
    packed = [each.get("compressionCode") for each in _all(at, "ChannelData")] == ["CountedZeroes"]
    total = sum(_unpacked(values, what)) if packed else sum(values)
    return DetectorCounts(detector, live_s, total) if total <= MAX_COUNTS else None


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
    faults = tuple(_fault(of) for of in _all(at, "Fault"))
    return Analysis(
        _text(at, "AnalysisAlgorithmName"), alarms, _text(at, "AnalysisResultDescription"), faults
    )
