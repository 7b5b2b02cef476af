"""DICOS files: those of others read as they are, ours read by others, bad ones refused in a sentence."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from drivers.formats import dicos, raster
from drivers.formats.raster import MAX_COLUMNS, check_size

FACTS = dicos.Facts(
    inspection_id="i-1",
    scan_id="s-1",
    taken_us=1_764_270_000_000_000,
    calibrated_us=1_764_260_000_000_000,
    item="LXR 4827",
    make="Carril",
    model="emulated",
    serial="7",
    firmware="1.2",
    site="Demonstration",
    station="DEMO-01",
    pixel_mm=8.0,
)
PIXELS = np.random.default_rng(1).integers(0, 65_536, (60, 90)).astype(np.uint16)


def written(kind: Any = "raw", **change: Any) -> bytes:
    return dicos.write(PIXELS, kind, replace(FACTS, **change), (42_000, 64_000))


def changed(**elements: Any) -> bytes:
    """One of our files with other elements; ``None`` takes one out."""
    image = pydicom.dcmread(io.BytesIO(written()))
    for name, value in elements.items():
        if value is None:
            delattr(image, name)
        else:
            setattr(image, name, value)
    buffer = io.BytesIO()
    image.save_as(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "shape", "sha256"),
    [
        ("pyd_explicitLE", (1024, 2048), "1bae10684cbe5e881caccc66c7d73d280bd1618f9fd30f3c47c5b676e3d7401f"),
        ("pyd_rle", (1024, 2048), "1bae10684cbe5e881caccc66c7d73d280bd1618f9fd30f3c47c5b676e3d7401f"),
        ("strat_dx", (16, 32), "407715b8ded48be4426df98401cecd0e7ad61b9ad742649eb844de452d1c5f91"),
    ],
)
def test_files_of_others_are_read_to_the_pixel(
    shared_data: Path, name: str, shape: tuple[int, int], sha256: str
) -> None:
    path = shared_data / "dicos" / f"{name}.dcs"
    if not path.is_file():
        pytest.skip(f"{path} is not on this machine")
    found = dicos.read(path.read_bytes())
    assert found.pixels.shape == shape
    assert hashlib.sha256(found.pixels.tobytes()).hexdigest() == sha256
    assert found.quantity == "counts"
    assert found.taken_at is not None


@pytest.mark.parametrize(("kind", "quantity"), [("raw", "counts"), ("presentation", "log")])
def test_what_is_written_is_read_again(kind: Any, quantity: str) -> None:
    found = dicos.read(written(kind))
    np.testing.assert_array_equal(found.pixels, PIXELS)
    assert (found.quantity, found.pitch_mm) == (quantity, (8.0, 8.0))
    assert found.taken_at == "2025-11-27T19:00:00+00:00"
    assert found.words == {"item": "LXR 4827", "station": "DEMO-01", "make": "Carril", "model": "emulated",
                           "serial": "7", "firmware": "1.2"}  # fmt: skip


def test_the_same_image_gives_the_same_bytes_and_each_kind_its_own_identifier() -> None:
    assert written() == written()
    one, other = (pydicom.dcmread(io.BytesIO(written(kind))) for kind in ("raw", "presentation"))
    assert one.SOPInstanceUID != other.SOPInstanceUID
    assert (one.StudyInstanceUID, one.SeriesInstanceUID) == (other.StudyInstanceUID, other.SeriesInstanceUID)


def test_pydicom_reads_what_it_is() -> None:
    raw, shown = (pydicom.dcmread(io.BytesIO(written(kind))) for kind in ("raw", "presentation"))
    np.testing.assert_array_equal(raw.pixel_array, PIXELS)
    assert (raw.PresentationIntentType, raw.PixelIntensityRelationship) == ("FOR PROCESSING", "LIN")
    assert (shown.PresentationIntentType, shown.PixelIntensityRelationship) == ("FOR PRESENTATION", "LOG")
    assert (shown.WindowCenter, shown.WindowWidth) == (53_000, 22_000)
    assert "WindowCenter" not in raw
    assert raw.file_meta[0x00020004].value == "V03"


@pytest.mark.parametrize(
    ("change", "tag", "value"),
    [
        ({}, 0x00080118, "MACHINE"),
        ({"simulated": True}, 0x00080118, "SYNTHETIC"),
        ({}, 0x40101048, "OPERATIONAL"),
        ({"test": True}, 0x40101048, "NON_OPERATIONAL"),
    ],
)
def test_what_is_not_real_says_so(change: dict[str, Any], tag: int, value: str) -> None:
    assert pydicom.dcmread(io.BytesIO(written(**change)))[tag].value == value


def test_what_is_not_known_says_so() -> None:
    image = pydicom.dcmread(io.BytesIO(written(item="", pixel_mm=0.0)))
    assert image.PatientID == "unknown"
    assert "ImagerPixelSpacing" not in image
    assert dicos.read(written(pixel_mm=0.0)).pitch_mm is None


@pytest.mark.parametrize("kind", ["raw", "presentation"])
def test_an_independent_reader_has_nothing_to_say_against_it(tmp_path: Path, kind: Any) -> None:
    pydicos = pytest.importorskip("pydicos", reason="the validator of DICOS is made for x86-64 alone")
    path = tmp_path / "scan.dcs"
    path.write_bytes(written(kind))
    found = pydicos.dcsread(str(path))
    np.testing.assert_array_equal(np.asarray(found.get_data()).reshape(PIXELS.shape), PIXELS)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "no DICOS file"),
        (b"\x89PNG" + bytes(200), "no DICOS file"),
        (bytes(128) + b"DICM", "damaged DICOS file"),
        (changed(BitsAllocated=8, BitsStored=8, HighBit=7), "pixels of 8 bits"),
        (changed(NumberOfFrames=2), "2 frames"),
        (changed(Rows=9_000), "9000 x 90 pixels: at most 8,192 rows"),
        (changed(Columns=0), "60 x 0 pixels"),
        (changed(PixelData=None), "damaged DICOS file"),
        (changed(Rows=None), "damaged DICOS file"),
        (changed(Rows=61), "damaged DICOS file|bytes of pixel data|length"),
        (written()[:-1_000], "damaged DICOS file|bytes|length"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        dicos.read(data)


def test_a_file_that_would_be_inflated_is_refused_before_anything_is() -> None:
    data = written().replace(b"1.2.840.10008.1.2.1\x00", b"1.2.840.10008.1.2.1.99", 1)
    with pytest.raises(ValueError, match="deflated"):
        dicos.read(data)


def test_pixels_packed_in_a_way_that_is_not_read_are_refused() -> None:
    data = written().replace(b"1.2.840.10008.1.2.1\x00", b"1.2.840.10008.1.2.2\x00", 1)
    with pytest.raises(ValueError, match=r"transfer syntax 1.2.840.10008.1.2.2|damaged"):
        dicos.read(data)


def test_a_file_that_is_too_large_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raster, "MAX_BYTES", 1_000)
    with pytest.raises(ValueError, match="at most 0 MiB"):
        dicos.read(bytes(1_001))


@pytest.mark.parametrize(("rows", "columns"), [(0, 5), (5, MAX_COLUMNS + 1), (8_192, 40_000)])
def test_no_scanner_makes_such_a_picture(rows: int, columns: int) -> None:
    with pytest.raises(ValueError, match="at most"):
        check_size(rows, columns)


@pytest.mark.parametrize(("date", "time"), [("", ""), ("20260230", "120000"), ("20261124", "9")])
def test_a_time_that_is_none_is_none(date: str, time: str) -> None:
    assert dicos.read(changed(ContentDate=date, ContentTime=time)).taken_at is None


def test_a_time_without_a_fraction_is_one() -> None:
    assert dicos.read(changed(ContentTime="120000")).taken_at == "2025-11-27T12:00:00+00:00"


def test_an_unknown_relation_is_unknown() -> None:
    assert dicos.read(changed(PixelIntensityRelationship=None)).quantity is None
