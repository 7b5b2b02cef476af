"""16-bit grey TIFF: read from scanners that leave one, and written as the archive of a scan.

The archive holds, a page each: the samples as they came, the calibration (mean and noise in the dark, gain,
as float32 rows), and the line records of the wire. Tiles and plain deflate, which every reader knows.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.formats.raster import Raster, check_size, read_file

TILE = (256, 256)
BLACK_IS_ZERO = 1


def read(data: bytes) -> Raster:
    """Read the first page, 16-bit grey.

    Raises ``ValueError`` with one sentence: no TIFF, of another kind, too large, or damaged.
    """
    return read_file(data, "TIFF", _raster)


def _raster(data: bytes) -> Raster:
    import tifffile

    try:
        file = tifffile.TiffFile(io.BytesIO(data))
    except tifffile.TiffFileError as error:
        raise ValueError(f"no TIFF: {error}") from error
    with file:
        page = file.pages.first
        if page.dtype != np.uint16 or page.samplesperpixel != 1 or len(page.shape) != 2:
            raise ValueError(
                f"pixels of {page.bitspersample} bits, {page.samplesperpixel} samples are not read: one "
                "sample of 16 bit grey, unsigned, is expected"
            )
        if page.photometric != BLACK_IS_ZERO:
            raise ValueError("white is zero in this TIFF, or it has colours: black must be zero")
        rows, columns = (int(side) for side in page.shape)
        check_size(rows, columns)
        whole = 2 * page.rowsperstrip * columns if not page.is_tiled else 2 * page.tilewidth * page.tilelength
        if any(count > whole + 1024 for count in page.databytecounts):
            raise ValueError("a tile or strip of the TIFF is longer than its pixels")
        pixels = np.ascontiguousarray(page.asarray(), dtype="<u2")
        return Raster(pixels, words={"description": page.description} if page.description else {})


def write_archive(
    samples: NDArray[np.uint16],
    calibration: NDArray[np.float32] | None,
    lines: NDArray[np.uint32],
    told: Mapping[str, Any],
) -> bytes:
    """Return the archive of a scan; the same scan gives the same bytes.

    ``samples`` uint16 (lines, detectors) as they came, ``calibration`` float32 (3, detectors) or ``None``,
    ``lines`` uint32 (lines, 8): the line records, each 32 bytes as on the wire, little-endian. ``told`` is
    the description of the first page, as JSON.
    """
    import tifffile

    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, bigtiff=samples.nbytes > 2**31) as file:

        def page(array: NDArray[Any], description: str) -> None:
            file.write(
                array,
                photometric="minisblack",
                tile=TILE if array.dtype == np.uint16 else None,
                compression="zlib",
                compressionargs={"level": 1},
                predictor=array.dtype == np.uint16,
                description=description,
                software="Carril",
                datetime=False,
                metadata=None,
            )

        page(samples, json.dumps(told, sort_keys=True))
        if calibration is not None:
            page(calibration, "rows: mean in the dark, noise in the dark, gain")
        page(lines, "line records of linestream v1, 32 bytes each, as little-endian 32-bit words")
    return buffer.getvalue()
