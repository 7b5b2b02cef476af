"""Write an N42.42-2012 document, its elements in the order of the NIST schema."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree as ET

from drivers.formats.n42.document import Analysis, Document, Fault, Measurement

NAMESPACE = "http://physics.nist.gov/N42/2011/N42"
_INSTRUMENT, _ITEM, _GROUP = "Instrument", "Item", "Passage"


def write(document: Document) -> bytes:
    """Return the document as UTF-8 XML. Detector ids must be XML names (``ValueError``)."""
    names = [detector.id for detector in document.detectors]
    taken = {_INSTRUMENT, _ITEM, _GROUP}
    for name in names:
        plain = (
            name.isascii()
            and (name[:1].isalpha() or name[:1] == "_")
            and name.replace("-", "").isidentifier()
        )
        if not plain or name in taken:
            raise ValueError(
                f"a detector cannot be called {name!r}: letters, digits, - and _, not one name twice"
            )
        taken.add(name)
    root = ET.Element("RadInstrumentData", {"xmlns": NAMESPACE, "n42DocUUID": document.uuid})
    if document.written:
        root.set("n42DocDateTime", document.written)
    for remark in document.remarks:
        _text(root, "Remark", remark)
    if document.creator:
        _text(root, "RadInstrumentDataCreatorName", document.creator)
    _instrument(root, document)
    for detector in document.detectors:
        at = ET.SubElement(root, "RadDetectorInformation", id=detector.id)
        _text(at, "RadDetectorCategoryCode", detector.category)
        _text(at, "RadDetectorKindCode", detector.kind)
    _item(root, document)
    windows = _windows(root, document)
    ET.SubElement(root, "RadMeasurementGroup", id=_GROUP)
    for number, measurement in enumerate(document.measurements, 1):
        _measurement(root, number, measurement, windows)
    for analysis in document.analyses:
        _analysis(root, analysis)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _text(parent: ET.Element, name: str, text: str) -> None:
    # What XML 1.0 cannot hold is not worth losing a document for.
    ET.SubElement(parent, name).text = "".join(each if each.isprintable() else " " for each in text)


def _duration(seconds: float) -> str:
    return f"PT{seconds:.6f}".rstrip("0").rstrip(".") + "S"


def _instrument(root: ET.Element, document: Document) -> None:
    known = document.instrument
    at = ET.SubElement(root, "RadInstrumentInformation", id=_INSTRUMENT)
    _text(at, "RadInstrumentManufacturerName", known.manufacturer)
    if known.identifier:
        _text(at, "RadInstrumentIdentifier", known.identifier)
    _text(at, "RadInstrumentModelName", known.model)
    _text(at, "RadInstrumentClassCode", known.class_code)
    for component, version in known.versions.items():
        part = ET.SubElement(at, "RadInstrumentVersion")
        _text(part, "RadInstrumentComponentName", component)
        _text(part, "RadInstrumentComponentVersion", version)


def _item(root: ET.Element, document: Document) -> None:
    at = ET.SubElement(root, "RadItemInformation", id=_ITEM)
    if not document.item:
        return
    into = ET.SubElement(at, "RadItemCharacteristics")
    for name, value in document.item.items():
        one = ET.SubElement(into, "Characteristic")
        _text(one, "CharacteristicName", name)
        _text(one, "CharacteristicValue", value)
        _text(one, "CharacteristicValueUnits", "unit-less")
        _text(one, "CharacteristicValueDataClassCode", "string")


def _windows(root: ET.Element, document: Document) -> dict[tuple[tuple[float, float], ...], str]:
    """Write each set of windows once; return its id by its ranges."""
    known: dict[tuple[tuple[float, float], ...], str] = {}
    for measurement in document.measurements:
        for counts in measurement.counts:
            ranges = tuple((window.low_kev, window.high_kev) for window in counts.windows)
            if ranges and ranges not in known:
                known[ranges] = f"Windows-{len(known) + 1}"
                at = ET.SubElement(root, "EnergyWindows", id=known[ranges])
                _text(at, "WindowStartEnergyValues", " ".join(f"{low:g}" for low, _ in ranges))
                _text(at, "WindowEndEnergyValues", " ".join(f"{high:g}" for _, high in ranges))
    return known


def _measurement(
    root: ET.Element,
    number: int,
    measurement: Measurement,
    windows: dict[tuple[tuple[float, float], ...], str],
) -> None:
    at = ET.SubElement(root, "RadMeasurement", id=f"M-{number}", radMeasurementGroupReferences=_GROUP)
    if measurement.remark:
        _text(at, "Remark", measurement.remark)
    _text(at, "MeasurementClassCode", measurement.class_code)
    _text(at, "StartDateTime", measurement.start)
    _text(at, "RealTimeDuration", _duration(measurement.real_time_s))
    for counts in measurement.counts:
        values = [window.counts for window in counts.windows]
        if not values and counts.total is not None:
            values = [counts.total]
        if not values:
            continue  # a panel without data writes none
        of = {"id": f"C-{number}-{counts.detector}", "radDetectorInformationReference": counts.detector}
        if counts.windows:
            of["energyWindowsReference"] = windows[tuple((w.low_kev, w.high_kev) for w in counts.windows)]
        gross = ET.SubElement(at, "GrossCounts", of)
        _text(gross, "LiveTimeDuration", _duration(counts.live_time_s))
        _text(gross, "CountData", " ".join(map(str, values)))
    if measurement.faults:
        state = ET.SubElement(at, "RadInstrumentState", radInstrumentInformationReference=_INSTRUMENT)
        _faults(state, measurement.faults)
    if measurement.speed_mps is not None:
        item = ET.SubElement(at, "RadItemState", radItemInformationReference=_ITEM)
        _text(ET.SubElement(item, "StateVector"), "SpeedValue", f"{measurement.speed_mps:g}")
    if measurement.occupied is not None:
        _text(at, "OccupancyIndicator", str(measurement.occupied).lower())


def _faults(at: ET.Element, faults: Iterable[Fault]) -> None:
    for fault in faults:
        one = ET.SubElement(at, "Fault")
        _text(one, "FaultCodeValue", fault.code)
        _text(one, "FaultDescription", fault.description)
        _text(one, "FaultSeverityCode", fault.severity)


def _analysis(root: ET.Element, analysis: Analysis) -> None:
    at = ET.SubElement(root, "AnalysisResults", radMeasurementGroupReferences=_GROUP)
    _text(at, "AnalysisAlgorithmName", analysis.algorithm)
    if analysis.description:
        _text(at, "AnalysisResultDescription", analysis.description)
    for alarm in analysis.alarms:
        one = ET.SubElement(at, "RadAlarm", radDetectorInformationReferences=" ".join(alarm.detectors))
        if alarm.time:
            _text(one, "RadAlarmDateTime", alarm.time)
        _text(one, "RadAlarmCategoryCode", alarm.category)
        if alarm.description:
            _text(one, "RadAlarmDescription", alarm.description)
    _faults(at, analysis.faults)
