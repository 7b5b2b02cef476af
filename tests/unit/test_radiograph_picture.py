"""What people see of a radiograph, and where the vehicle is in it."""

import cv2
import numpy as np
import pytest

from imaging.radiograph.measure import VehicleFinder, least_attenuation
from imaging.radiograph.model import D16_AIR, D16_WINDOW, NO_DATA, Columns, RadiographError
from imaging.radiograph.normalize import ScanChain
from imaging.radiograph.render import preview_jpeg, render, window_table
from tests.support.detector_column import Column, assemble, beam_on, steel

AIR_GREY = window_table(*D16_WINDOW)[D16_AIR]


@pytest.mark.parametrize(("low", "high"), [(30_000, 62_000), (0, 65_535), (5, 6), (60_000, 60_101)])
def test_the_window_is_the_integer_formula_of_every_screen(low: int, high: int) -> None:
    d = high - low
    expected = [max(0, min(255, ((v - low) * 255 + d // 2) // d)) for v in range(65_536)]
    assert window_table(low, high).tolist() == expected


def test_air_is_light_and_thin_goods_are_darker() -> None:
    """White air would swallow what absorbs little."""
    assert 240 <= AIR_GREY < 255
    assert window_table(*D16_WINDOW)[D16_AIR - round(4096 * 0.1)] < AIR_GREY - 3


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(RadiographError, match="upper end"):
        window_table(100, 100)


def test_rows_are_detectors_columns_are_lines_and_air_is_light() -> None:
    d16 = np.full((40, 20), D16_AIR, dtype=np.uint16)
    d16[7, 3] = 30_000
    drawn = render(d16)
    assert drawn.shape == (20, 40)
    assert drawn[3, 7] == 0
    assert (np.delete(drawn.ravel(), 3 * 40 + 7) == AIR_GREY).all()


def test_missing_lines_are_hatched_never_air() -> None:
    d16 = np.full((40, 20), D16_AIR, dtype=np.uint16)
    flags = np.zeros((40, 20), dtype=np.uint8)
    d16[10:20], flags[10:20] = 65_535, NO_DATA
    drawn = render(d16, flags)
    assert set(np.unique(drawn[:, 10:20])) == {70, 120}
    assert (drawn[:, :10] == AIR_GREY).all()
    assert (drawn[:, 20:] == AIR_GREY).all()
    np.testing.assert_array_equal(render(d16, np.zeros_like(flags)), window_table(*D16_WINDOW)[d16].T)


def test_the_preview_is_a_jpeg_of_the_whole_image() -> None:
    ramp = np.linspace(30_000, 62_000, 300).astype(np.uint16)[:, None].repeat(64, axis=1)
    jpeg = preview_jpeg(ramp)
    assert jpeg[:2] == b"\xff\xd8"
    back = cv2.imdecode(np.frombuffer(jpeg, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    assert back.shape == (64, 300)
    assert np.abs(back.astype(int) - render(ramp)).max() <= 3


def test_an_image_longer_than_a_jpeg_is_refused_and_an_empty_one_too() -> None:
    assert preview_jpeg(np.full((65_500, 8), D16_AIR, dtype=np.uint16))[:2] == b"\xff\xd8"
    with pytest.raises(RadiographError, match=r"65,536 lines.*cut the scan"):
        preview_jpeg(np.zeros((65_536, 8), dtype=np.uint16))
    with pytest.raises(RadiographError, match="no lines"):
        preview_jpeg(np.zeros((0, 8), dtype=np.uint16))


# --- the vehicle -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def passage():
    """Air, a cab of 3 mm steel, a gap, a trailer, air; one lost stretch inside; weak source."""
    column = Column(detectors=64, i0=120, seed=41)
    calibration = column.calibrate(1000, 2000)
    parts = [(1.0, 301), (steel(40), 99), (1.0, 50), (steel(20), 250), (1.0, 300)]
    samples = np.concatenate([column.expose(t, n) for t, n in parts])
    chain = ScanChain(calibration, 64, column.full_scale)
    columns = chain.push(0, samples[:500], beam_on(500))
    columns += chain.lost(500, 20)
    columns += chain.push(520, samples[520:], beam_on(480)) + chain.close()
    return calibration, columns


def whole(calibration, columns) -> tuple[int | None, int | None]:
    """First and last line of the vehicle in the finished image, seen at once."""
    finder = VehicleFinder(calibration)
    finder.push(Columns(0, *assemble(columns)))
    return finder.nose, finder.tail


def test_nose_and_tail_are_found_to_the_line(passage) -> None:
    calibration, columns = passage
    assert whole(calibration, columns) == (301, 699)


def test_the_nose_is_known_while_the_vehicle_still_moves(passage) -> None:
    calibration, columns = passage
    finder = VehicleFinder(calibration)
    seen = []
    for block in columns:
        finder.push(block)
        seen.append((finder.nose, finder.tail))
    assert seen[3] == (None, None)  # lines 0–255
    assert seen[4] == (301, 319)  # lines 256–319: three lines of it were enough
    assert seen[-1] == (301, 699)


def test_air_noise_specks_and_missing_lines_are_no_vehicle(passage) -> None:
    calibration, _ = passage
    column = Column(detectors=64, i0=120, seed=42)
    chain = ScanChain(calibration, 64, column.full_scale)
    samples = column.expose(1.0, 3000)
    samples[500, 20:40] = 5  # one odd line
    samples[700:720, 30:33] = 5  # three rows only
    columns = chain.push(0, samples, beam_on(3000)) + chain.lost(3000, 200) + chain.close()
    assert whole(calibration, columns) == (None, None)


def test_a_vehicle_across_block_edges_is_one() -> None:
    column = Column(detectors=64, seed=43)
    calibration = column.calibrate(1000, 2000)
    d16 = np.full((130, 64), D16_AIR, dtype=np.uint16)
    d16[63:66] = 50_000
    flags = np.zeros((130, 64), dtype=np.uint8)
    finder = VehicleFinder(calibration)
    finder.push(Columns(0, d16[:64], flags[:64]))
    assert finder.nose is None
    finder.push(Columns(64, d16[64:], flags[64:]))
    assert (finder.nose, finder.tail) == (63, 65)


@pytest.mark.parametrize("quanta", [2, 3, 5, 8, 15])
@pytest.mark.parametrize(("k", "sigma"), [(1.0, 0.0), (1.0, 2.0), (20.0, 5.0)])
def test_what_a_starved_region_attenuates_at_least_is_right_in_95_of_100(
    quanta: int, k: float, sigma: float
) -> None:
    rng = np.random.default_rng(quanta)
    tries = 4_000
    read = k * rng.poisson(quanta, tries) + rng.normal(0, sigma, tries)
    true = np.log(k * 10_000 / (k * quanta))
    held = sum(least_attenuation(float(s), k * 10_000, k, sigma**2) <= true for s in read)
    assert held >= 0.94 * tries
    assert held < tries or quanta < 5, "a bound that always holds says nothing"
