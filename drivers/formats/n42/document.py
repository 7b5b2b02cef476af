"""What an N42.42-2012 document of a portal says, as frozen values; only what a lane uses of it.

Times are text as in the document (RFC 3339), durations seconds, speeds m/s, energies keV.
Source: the NIST schema of N42.42-2012 (n42.xsd) and its informative Annexes D and E.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["Fatal", "Error", "Warning"]


class NotN42(ValueError):
    """The bytes are no N42.42-2012 document that can be used; the message says why."""


class Unfinished(NotN42):
    """The bytes end before the document does: whoever writes them may not be done."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """The portal. The schema wants a manufacturer, a model and at least one of ``versions``, by component."""

    manufacturer: str
    model: str
    identifier: str = ""
    class_code: str = "Portal Monitor"
    versions: Mapping[str, str] = field(default_factory=lambda: {"Firmware": "unknown"})


@dataclass(frozen=True, slots=True)
class Detector:
    """One panel or tube: ``category`` is Gamma or Neutron (others exist), ``kind`` PVT or He3, say."""

    id: str
    category: str
    kind: str = "Other"


@dataclass(frozen=True, slots=True)
class Window:
    """Counts of one range of energies, in keV. Windows of a document may overlap: never add them."""

    low_kev: float
    high_kev: float
    counts: int


@dataclass(frozen=True, slots=True)
class DetectorCounts:
    """Counts of one detector in one measurement.

    ``total`` is of the whole range: that of a single value, of the window that covers all others, or of a
    spectrum; ``None`` where no such window is there.
    """

    detector: str
    live_time_s: float
    total: int | None
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """What the instrument said of itself."""

    code: str
    description: str
    severity: Severity = "Error"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One interval. ``occupied`` is ``None`` where the document does not say.

    Annex D calls occupied samples Background: ``occupied`` is what counts.
    """

    start: str
    real_time_s: float
    class_code: str
    counts: tuple[DetectorCounts, ...] = ()
    faults: tuple[Fault, ...] = ()
    speed_mps: float | None = None
    occupied: bool | None = None
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm of ``detectors`` in a category of the standard: Gamma, Neutron, Isotope, Other."""

    detectors: tuple[str, ...]
    category: str
    time: str | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Analysis:
    """What one algorithm, or the instrument itself, made of the measurements."""

    algorithm: str
    alarms: tuple[Alarm, ...] = ()
    description: str = ""
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """A passage of one vehicle. ``item`` are its characteristics by name: plate, container."""

    uuid: str
    instrument: Instrument
    detectors: tuple[Detector, ...]
    measurements: tuple[Measurement, ...]
    analyses: tuple[Analysis, ...] = ()
    item: Mapping[str, str] = field(default_factory=dict)
    creator: str = ""
    written: str | None = None
    """When the document was made."""
    remarks: tuple[str, ...] = ()
    """On the document as a whole, for people."""

    def detectors_of(self, category: str) -> tuple[str, ...]:
        """Return the ids of the detectors of one category, in the document's order."""
        return tuple(detector.id for detector in self.detectors if detector.category == category)
