"""16-bit TIFF: the archive of a scan, and what other scanners leave."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
import tifffile

from drivers.formats import raster, tiff

SAMPLES = np.random.default_rng(1).poisson(300, (300, 520)).astype(np.uint16)
CALIBRATION = np.array([[10.0] * 520, [1.5] * 520, [0.97] * 520], np.float32)
LINES = np.arange(300 * 8, dtype=np.uint32).reshape(300, 8)


def archive(calibration: Any = CALIBRATION) -> bytes:
    return tiff.write_archive(SAMPLES, calibration, LINES, {"scan_id": "s-1", "lane": "DEMO-01"})


def picture(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def test_the_archive_holds_samples_calibration_and_line_records() -> None:
    with tifffile.TiffFile(io.BytesIO(archive())) as file:
        samples, calibration, lines = file.pages
        np.testing.assert_array_equal(samples.asarray(), SAMPLES)
        np.testing.assert_array_equal(calibration.asarray(), CALIBRATION)
        np.testing.assert_array_equal(lines.asarray(), LINES)
        assert json.loads(samples.description) == {"scan_id": "s-1", "lane": "DEMO-01"}
        assert (samples.tilewidth, samples.tilelength, samples.predictor) == (256, 256, 2)


def test_without_a_calibration_there_is_no_page_of_it() -> None:
    with tifffile.TiffFile(io.BytesIO(archive(None))) as file:
        assert [page.shape for page in file.pages] == [(300, 520), (300, 8)]


def test_the_same_scan_gives_the_same_bytes() -> None:
    assert archive() == archive()


def test_the_archive_is_read_again() -> None:
    found = tiff.read(archive())
    np.testing.assert_array_equal(found.pixels, SAMPLES)
    assert found.quantity is None
    assert "DEMO-01" in found.words["description"]


@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "rowsperstrip": 7}, {"byteorder": ">"}])
def test_strips_tiles_and_either_byte_order_are_read(options: dict[str, Any]) -> None:
    found = tiff.read(picture(SAMPLES, metadata=None, **options))
    np.testing.assert_array_equal(found.pixels, SAMPLES)
    assert found.pixels.dtype == np.dtype("<u2")
    assert found.words == {}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "no TIFF"),
        (b"GIF89a" + bytes(50), "no TIFF"),
        (archive()[:3_000], "damaged TIFF"),
        (picture(SAMPLES, compression="zlib")[:-20_000], "TIFF"),
        (picture(SAMPLES.astype(np.uint8)), "pixels of 8 bits"),
        (picture(np.zeros((30, 40, 3), np.uint16), photometric="rgb"), "3 samples"),
        (picture(SAMPLES.astype(np.float32)), "pixels of 32 bits"),
        (picture(SAMPLES, photometric="miniswhite"), "white is zero"),
        (picture(np.zeros((8_200, 4), np.uint16)), "8200 x 4 pixels: at most 8,192 rows"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        tiff.read(data)


def test_a_file_that_is_too_large_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raster, "MAX_BYTES", 1_000)
    with pytest.raises(ValueError, match="at most 0 MiB"):
        tiff.read(bytes(1_001))


def test_a_tile_that_claims_more_than_its_pixels_is_refused() -> None:
    """It could be inflated a thousand times."""
    data = picture(np.zeros((16, 16), np.uint16), compression="zlib", metadata=None)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tag = file.pages.first.tags["StripByteCounts"]
        at, size = tag.valueoffset, tag.dtype.itemsize if hasattr(tag.dtype, "itemsize") else 4
    swollen = bytearray(data)
    swollen[at : at + 4] = (100_000).to_bytes(4, "little")
    assert size
    with pytest.raises(ValueError, match="longer than its pixels"):
        tiff.read(bytes(swollen))
