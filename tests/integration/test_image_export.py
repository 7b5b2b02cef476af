"""The radiograph as files that other programs open: over the interface of a station and at a terminal."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
import tifffile

from drivers.formats import dicos
from station.cli.main import main
from station.lane.image import from_npy
from tests.support.station import Reply, Station, running_station, short_trucks

KINDS = {"tiff": "tif", "dicos": "dcs", "dicos-raw": "raw.dcs", "png": "png"}


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    folder = tmp_path_factory.mktemp("export")
    with running_station(folder, rate=4.0, options=short_trucks(folder)) as running:
        running.until(lambda: running.records("inspection.sealed"), "a truck is sealed")
        yield running


@pytest.fixture(scope="module")
def sealed(station: Station) -> Any:
    return station.records("inspection.sealed")[0]


def exported(station: Station, sealed: Any, kind: str) -> Reply:
    reply = station.get(f"/v1/inspections/{sealed['inspection_id']}/image?as={kind}")
    assert reply.status == 200
    assert f"{sealed['inspection_id']}.{KINDS[kind]}" in reply.headers["content-disposition"]
    return reply


def stored(station: Station, sealed: Any, role: str) -> Any:
    (use,) = (use for use in sealed["blobs"] if use["role"] == role)
    return from_npy(station.get(f"/v1/blobs/{use['sha256']}").body)


def test_dicos_for_people_is_the_image_to_the_pixel(station: Station, sealed: Any) -> None:
    body = exported(station, sealed, "dicos").body
    found = pydicom.dcmread(io.BytesIO(body))
    np.testing.assert_array_equal(found.pixel_array, stored(station, sealed, "image").T)
    assert found[0x00080118].value == "SYNTHETIC"
    assert found.PatientID == sealed["identity"]["plate"]["text"]
    assert found.StationName == "DEMO-01"
    assert found.Manufacturer == "Carril"
    assert found.ImagerPixelSpacing == [8, 8]
    assert body == exported(station, sealed, "dicos").body, "the same records give the same bytes"


def test_raw_dicos_and_the_archive_hold_the_same_samples_and_their_calibration(
    station: Station, sealed: Any
) -> None:
    raw = dicos.read(exported(station, sealed, "dicos-raw").body)
    with tifffile.TiffFile(io.BytesIO(exported(station, sealed, "tiff").body)) as file:
        samples, calibration, lines = (page.asarray() for page in file.pages)
        assert sealed["scan"]["scan_id"] in file.pages.first.description
    np.testing.assert_array_equal(raw.pixels, samples.T)
    assert samples.shape == (sealed["scan"]["lines"], sealed["scan"]["height"])
    assert calibration.shape == (3, samples.shape[1])
    assert calibration[2].mean() == pytest.approx(1, abs=0.05)
    words = lines.view(np.uint32).reshape(len(samples), 8)
    assert (words[:, 7] >> 16 & 1).all(), "the beam was on in every line"


def test_the_picture_is_as_large_as_the_image(station: Station, sealed: Any) -> None:
    drawn = cv2.imdecode(np.frombuffer(exported(station, sealed, "png").body, np.uint8), cv2.IMREAD_UNCHANGED)
    assert drawn.shape == (sealed["scan"]["height"], sealed["scan"]["width"])


@pytest.mark.parametrize("kind", list(KINDS))
def test_at_a_terminal_a_plate_is_enough(
    station: Station, sealed: Any, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "picture"
    where = ("--station", f"http://127.0.0.1:{station.port}", "--out", str(out))
    assert main(["image", sealed["inspection_id"], "--as", kind, *where]) == 0
    assert f"{out}: {out.stat().st_size:,} bytes" in capsys.readouterr().out
    assert out.read_bytes() == exported(station, sealed, kind).body
    assert main(["image", sealed["identity"]["plate"]["text"], "--as", kind, *where]) == 0
    assert out.stat().st_size > 10_000


def test_what_is_not_there_is_said(
    station: Station, sealed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"http://127.0.0.1:{station.port}"
    assert main(["image", "NOT HERE", "--station", url]) == 1
    assert "no inspection of a vehicle with the plate 'NOT HERE'" in capsys.readouterr().err
    nobody = "01a21ded-0000-7000-8000-000000000000"
    assert main(["image", nobody, "--station", url]) == 1
    assert f"There is no inspection '{nobody}'." in capsys.readouterr().err
    inside = tmp_path / "no folder" / "x.png"
    assert main(["image", sealed["inspection_id"], "--station", url, "--out", str(inside)]) == 1
    assert "cannot be written: No such file" in capsys.readouterr().err
    assert station.get(f"/v1/inspections/{sealed['inspection_id']}/image?as=jpeg2000").status == 400
