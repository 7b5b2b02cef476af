"""DICOS digital X-ray images (NEMA IIC 1), read and written by way of pydicom: Explicit VR Little Endian.

Rows are detectors, the highest first; columns are lines. Beyond ordinary DICOM a reader of DICOS wants the
elements of groups 4010 and 4300 and a version in the file's head [found by trial against another reader].
"""

from __future__ import annotations

import io
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from drivers.formats.raster import Quantity, Raster, check_size, read_file

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

RAW = "1.2.840.10008.5.1.4.1.1.501.2.2"
PRESENTATION = "1.2.840.10008.5.1.4.1.1.501.2.1"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
RLE = "1.2.840.10008.1.2.5"
IMPLEMENTATION = "2.25.129391230519342167519480431262349815437"
"""Of this writer: a UUID of its own."""
READ = {EXPLICIT_LITTLE, "1.2.840.10008.1.2", RLE}
QUANTITIES: dict[str, Quantity] = {"LIN": "counts", "LOG": "log", "DISP": "display"}
HEAD_BYTES = 4_096
SCANNED = {
    "PatientID": "item",
    "StationName": "station",
    "Manufacturer": "make",
    "ManufacturerModelName": "model",
    "DeviceSerialNumber": "serial",
    "SoftwareVersions": "firmware",
}
WHEN = re.compile(r"(\d{8})(\d{6})(?:\.(\d{1,6}))?")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is said of an image; empty where it is not known. Times are UTC microseconds."""

    inspection_id: str
    scan_id: str
    taken_us: int
    calibrated_us: int
    item: str = ""
    """Plate or container."""
    make: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""
    site: str = ""
    station: str = ""
    effective_mev: float = 1.25
    pixel_mm: float = 0.0
    simulated: bool = False
    test: bool = False


def read(data: bytes) -> Raster:
    """Read the one image of a file.

    Raises ``ValueError`` with one sentence: no DICOS image, of another kind, too large, or damaged.
    """
    return read_file(data, "DICOS file", _raster)


def _raster(data: bytes) -> Raster:
    if data[128:132] != b"DICM":
        raise ValueError("no DICOS file: it has no DICM at byte 128")
    import pydicom
    from pydicom import config

    # Files with place-holders and odd identifiers are read all the same; what counts is checked below.
    config.settings.reading_validation_mode = config.IGNORE
    # A deflated file would be inflated as a whole before anything could be asked of it.
    if b"1.2.840.10008.1.2.1.99" in data[:HEAD_BYTES]:
        raise ValueError("a deflated DICOS file is not read: write it in Explicit VR Little Endian")
    found = pydicom.dcmread(io.BytesIO(data))
    syntax = str(found.file_meta.TransferSyntaxUID)
    if syntax not in READ:
        raise ValueError(f"the transfer syntax {syntax} is not read: write it in Explicit VR Little Endian")
    form = (
        found.BitsAllocated,
        found.SamplesPerPixel,
        found.PixelRepresentation,
        found.get("NumberOfFrames", 1),
    )
    if form != (16, 1, 0, 1):
        raise ValueError(
            "pixels of {} bits, {} samples, sign {}, {} frames are not read: one frame of 16 bit grey, "
            "unsigned, is expected".format(*form)
        )
    check_size(found.Rows, found.Columns)
    pixels = np.ascontiguousarray(found.pixel_array, dtype="<u2")
    words = {word: str(found.get(name, "") or "") for name, word in SCANNED.items()}
    spacing = found.get("ImagerPixelSpacing")
    return Raster(
        pixels,
        QUANTITIES.get(str(found.get("PixelIntensityRelationship", ""))),
        (float(spacing[1]), float(spacing[0])) if spacing and len(spacing) == 2 else None,
        _time(str(found.get("ContentDate", "")), str(found.get("ContentTime", ""))),
        {word: text for word, text in words.items() if text},
    )


def _time(date: str, time: str) -> str | None:
    """Return the time of a picture, or ``None`` where it is none. DICOM says nothing of the zone."""
    if not (parts := WHEN.fullmatch(date + time)):
        return None
    try:
        moment = datetime.strptime("".join(parts.group(1, 2)), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return moment.replace(microsecond=int((parts[3] or "0").ljust(6, "0"))).isoformat()


def write(
    pixels: NDArray[np.uint16],
    kind: Literal["raw", "presentation"],
    facts: Facts,
    window: tuple[int, int] = (0, 65_535),
) -> bytes:
    """Return a file of ``pixels`` uint16 (rows, columns); the same image and facts give the same bytes.

    ``raw`` are samples, linear in intensity; ``presentation`` is D16, which is logarithmic, with the
    ``window`` in which it is first shown.
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID

    shown = kind == "presentation"
    uid = PRESENTATION if shown else RAW
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(uid)
    meta.MediaStorageSOPInstanceUID = UID(_uid(facts.scan_id, kind))
    meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE)
    meta.ImplementationClassUID = UID(IMPLEMENTATION)
    meta.ImplementationVersionName = "CARRIL"
    meta.add_new(0x00020004, "CS", "V03")
    image = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    _identify(image, uid, kind, facts)
    _scanned(image, facts)
    image.PixelIntensityRelationship = "LOG" if shown else "LIN"
    image.PixelIntensityRelationshipSign = 1
    if shown:
        image.WindowCenter, image.WindowWidth = (window[0] + window[1]) / 2, float(window[1] - window[0])
    _fill(image, pixels)
    buffer = io.BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _uid(*names: str) -> str:
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_URL, '/'.join(('urn:carril', *names))).int}"


def _identify(image: Dataset, uid: str, kind: str, facts: Facts) -> None:
    taken, calibrated = (
        datetime.fromtimestamp(us / 1e6, UTC) for us in (facts.taken_us, facts.calibrated_us)
    )
    date, time = f"{taken:%Y%m%d}", f"{taken:%H%M%S.%f}"
    image.SOPClassUID, image.SOPInstanceUID = uid, _uid(facts.scan_id, kind)
    image.StudyInstanceUID, image.SeriesInstanceUID = _uid(facts.inspection_id), _uid(facts.scan_id)
    image.StudyID, image.InstanceNumber = "1", 0
    image.InstanceCreationDate = image.StudyDate = image.SeriesDate = image.ContentDate = date
    image.InstanceCreationTime = image.StudyTime = image.SeriesTime = image.ContentTime = time
    image.DateOfLastCalibration, image.TimeOfLastCalibration = (
        f"{calibrated:%Y%m%d}",
        f"{calibrated:%H%M%S.%f}",
    )
    image.ImageType = ["ORIGINAL", "INTENSITY"]
    image.Modality = "XRAY"
    image.PresentationIntentType = "FOR PRESENTATION" if kind == "presentation" else "FOR PROCESSING"


def _scanned(image: Dataset, facts: Facts) -> None:
    """Say what was scanned by what; DICOS wants a word where nothing is known."""

    def known(word: str) -> str:
        return word or "unknown"

    image.Manufacturer, image.ManufacturerModelName = known(facts.make), known(facts.model)
    image.DeviceSerialNumber, image.SoftwareVersions = known(facts.serial), known(facts.firmware)
    image.InstitutionName = image.InstitutionAddress = known(facts.site)
    image.StationName = known(facts.station)[:16]
    image.InstitutionalDepartmentName = ""
    image.PatientID, image.IssuerOfPatientID, image.TypeOfPatientID = (
        known(facts.item),
        known(facts.site),
        "TEXT",
    )
    image.PatientSex, image.OtherPatientIDsSequence = "U", []
    image.KVP, image.DetectorType = round(1000 * facts.effective_mev), "SCINTILLATOR"
    image.XRayTubeCurrentInuA = 1
    image.TableSpeed = 0.0
    image.ImagePositionPatient, image.ImageOrientationPatient = (
        [0.0, 0.0, 0.0],
        [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    )
    if facts.pixel_mm > 0:
        image.ImagerPixelSpacing = [facts.pixel_mm, facts.pixel_mm]
    image.AcquisitionContextSequence = []
    elements: tuple[tuple[int, str, Any], ...] = (
        (0x00080118, "CS", "SYNTHETIC" if facts.simulated else "MACHINE"),
        (0x00082108, "CS", "LHS"),
        (0x4010103A, "CS", "V03"),
        (0x40101042, "CS", "CARGO"),
        (0x40101044, "CS", "SUCCESSFUL"),
        (0x40101048, "CS", "NON_OPERATIONAL" if facts.test else "OPERATIONAL"),
        (0x40101062, "FL", 0.0),
        (0x40101064, "SQ", []),
        (0x43000902, "FL", facts.effective_mev),
    )
    for tag, representation, value in elements:
        image.add_new(tag, representation, value)


def _fill(image: Dataset, pixels: NDArray[np.uint16]) -> None:
    image.Rows, image.Columns = pixels.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
    image.BurnedInAnnotation, image.LossyImageCompression = "NO", "00"
    image.RescaleIntercept, image.RescaleSlope, image.RescaleType = 0, 1, "US"
    image.PresentationLUTShape = "IDENTITY"
    image.PixelData = pixels.astype("<u2", copy=False).tobytes()
    image["PixelData"].VR = "OW"
