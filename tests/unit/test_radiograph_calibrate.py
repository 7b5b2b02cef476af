"""Dark and air scans: what they give, and when they are refused."""

from dataclasses import replace

import numpy as np
import pytest

from imaging.radiograph.calibrate import AirScan, DarkScan, compare
from imaging.radiograph.kept import as_json, from_json
from imaging.radiograph.model import LINE_MONITOR_VALID, LINE_PULSE_MISSED, RadiographError
from tests.support.detector_column import Column, beam_on


def test_the_demonstrations_thousand_dark_and_two_thousand_air_lines_are_provisional() -> None:
    column = Column(seed=21)
    calibration = column.calibrate(1000, 2000)
    assert calibration.provisional
    assert (calibration.dark_lines, calibration.air_lines) == (1000, 2000)
    error = calibration.gain / (column.gain / column.gain.mean()) - 1
    assert error.std() < 1.3 * 0.0007  # 0.07 % at 1,000 counts
    assert calibration.level == pytest.approx(1000 * column.gain.mean(), rel=1e-3)
    assert not column.calibrate(1000, 20_000).provisional
    assert not replace(calibration, pulsed=True).provisional  # a linac needs no more


def test_dark_mean_and_noise_per_detector() -> None:
    column = Column(sigma=3.0, dark=100.0, seed=22)
    dark = DarkScan(48)
    for _ in range(4):
        dark.push(column.beam_off(500), np.zeros(500, dtype=np.uint16))
    result = dark.result()
    assert result.lines == 2000
    assert np.abs(result.mean - 100).max() < 0.3
    assert result.sigma == pytest.approx(np.full(48, np.sqrt(9 + 1 / 12)), rel=0.08)


def test_lines_with_the_beam_on_are_no_dark_lines() -> None:
    column = Column(seed=23)
    dark = DarkScan(48)
    flags = np.zeros(1500, dtype=np.uint16)
    flags[:500] = 1
    samples = column.beam_off(1500)
    samples[:500] = 4000
    dark.push(samples, flags)
    assert dark.lines == 1000
    assert dark.result().mean.max() == 0


def test_units_per_quantum_are_measured_through_the_jitter() -> None:
    column = Column(k=3.0, sigma=4.0, dark=120.0, i0=1500, full_scale=8000, pulsed=True, seed=24)
    dark = DarkScan(48)
    dark.push(column.beam_off(1000), np.zeros(1000, dtype=np.uint16))
    air = AirScan(dark.result(), column.refs, full_scale=8000, pulsed=True, units_per_quantum=None)
    air.push(column.expose(1.0, 4000, jitter=0.03), beam_on(4000))
    assert air.result().units_per_quantum == pytest.approx(3.0, rel=0.03)


def test_units_per_quantum_without_references_or_with_nothing_else() -> None:
    column = Column(seed=25)
    dark = DarkScan(48)
    dark.push(column.beam_off(1000), np.zeros(1000, dtype=np.uint16))
    samples = column.expose(1.0, 2000)
    for refs in ((), tuple(range(48))):
        air = AirScan(dark.result(), refs, full_scale=4095, pulsed=False, units_per_quantum=None)
        air.push(samples, beam_on(2000))
        assert air.result().units_per_quantum == pytest.approx(1.0, rel=0.1)


def test_any_split_gives_the_same_calibration() -> None:
    column = Column(seed=26, sigma=1.5, dark=40)
    dark_lines, air_lines = column.beam_off(1000), column.expose(1.0, 2000)
    results = []
    for step in (7, 64, 2000):
        dark = DarkScan(48)
        for i in range(0, 1000, step):
            part = dark_lines[i : i + step]
            dark.push(part, np.zeros(part.shape[0], dtype=np.uint16))
        air = AirScan(dark.result(), column.refs, full_scale=4095, pulsed=False, units_per_quantum=1.0)
        for i in range(0, 2000, step):
            part = air_lines[i : i + step]
            air.push(part, beam_on(part.shape[0]))
        results.append(air.result())
    for other in results[1:]:
        np.testing.assert_allclose(other.gain, results[0].gain, rtol=1e-12)
        np.testing.assert_allclose(other.dark_sigma, results[0].dark_sigma, rtol=1e-9)


def test_the_monitor_ratio_comes_from_the_air_scan() -> None:
    column = Column(pulsed=True, seed=27)
    dark = DarkScan(48)
    dark.push(column.beam_off(1000), np.zeros(1000, dtype=np.uint16))
    air = AirScan(dark.result(), column.refs, full_scale=4095, pulsed=True, units_per_quantum=1.0)
    flags = beam_on(2010, LINE_MONITOR_VALID)
    flags[:10] |= LINE_PULSE_MISSED
    air.push(column.expose(1.0, 2010), flags, column.rng.poisson(40_000, 2010).astype(np.uint32))
    calibration = air.result()
    assert calibration.air_lines == 2000
    assert calibration.monitor_ratio == pytest.approx(calibration.level / 40_000, rel=1e-3)
    assert calibration.monitor_sigma == pytest.approx(np.sqrt(1 / 16_000 + 1 / 40_000), rel=0.1)


def test_a_monitor_that_was_valid_only_sometimes_is_not_used() -> None:
    column = Column(seed=28)
    dark = DarkScan(48)
    dark.push(column.beam_off(1000), np.zeros(1000, dtype=np.uint16))
    air = AirScan(dark.result(), column.refs, full_scale=4095, pulsed=False, units_per_quantum=1.0)
    flags = beam_on(2000)
    flags[:1000] |= LINE_MONITOR_VALID
    air.push(column.expose(1.0, 2000), flags, np.full(2000, 40_000, dtype=np.uint32))
    assert air.result().monitor_ratio is None


# --- dead detectors ------------------------------------------------------------------------------


def test_dead_detectors_are_found_each_way() -> None:
    column = Column(detectors=64, sigma=2.0, dark=50.0, full_scale=4095, seed=29)
    column.gain[20], column.gain[25] = 0.3, 2.6  # the second also counts to saturation nowhere: 2,600 < 4,095
    dark_lines, air_lines = column.beam_off(1000), column.expose(1.0, 2000)
    noisy = 3  # a reference
    dark_lines[:, noisy] = column.rng.integers(0, 100, 1000)
    air_lines[:, 30] = 1050  # stuck
    air_lines[:, 35] = 4095  # saturated
    dark = DarkScan(64)
    dark.push(dark_lines, np.zeros(1000, dtype=np.uint16))
    air = AirScan(dark.result(), column.refs, full_scale=4095, pulsed=False, units_per_quantum=1.0)
    air.push(air_lines, beam_on(2000))
    calibration = air.result()
    np.testing.assert_array_equal(np.flatnonzero(calibration.dead), [noisy, 20, 25, 30, 35])
    assert noisy not in calibration.reference_detectors
    assert (calibration.gain[calibration.dead] == 1).all()
    assert calibration.gain[~calibration.dead].mean() == pytest.approx(1)


def test_a_quiet_counter_with_a_stray_dark_count_is_not_dead() -> None:
    column = Column(seed=30)
    dark = DarkScan(48)
    samples = column.beam_off(1000)
    samples[500, 20] = 2
    dark.push(samples, np.zeros(1000, dtype=np.uint16))
    air = AirScan(dark.result(), column.refs, full_scale=4095, pulsed=False, units_per_quantum=1.0)
    air.push(column.expose(1.0, 2000), beam_on(2000))
    assert not air.result().dead.any()


# --- refusals --------------------------------------------------------------------------------------


def dark_of(column: Column, lines: int = 1000):
    dark = DarkScan(column.detectors)
    dark.push(column.beam_off(lines), np.zeros(lines, dtype=np.uint16))
    return dark


def test_too_few_dark_lines_are_refused_with_what_to_do() -> None:
    with pytest.raises(RadiographError, match=r"dark scan has 979 usable lines, 1,000 are needed: repeat"):
        dark_of(Column(), 979).result()
    dark_of(Column(), 980).result()  # a few may be lost on their way


def test_too_few_air_lines_are_refused_with_what_to_do() -> None:
    column = Column()
    air = AirScan(dark_of(column).result(), column.refs, full_scale=4095, pulsed=False, units_per_quantum=1.0)
    air.push(column.expose(1.0, 2000), np.zeros(2000, dtype=np.uint16))  # the beam was off
    with pytest.raises(RadiographError, match=r"air scan has 0 usable lines, 2,000 are needed.*beam on"):
        air.result()


def test_an_air_scan_with_a_closed_shutter_is_refused() -> None:
    column = Column(sigma=2.0, dark=50)
    air = AirScan(dark_of(column).result(), column.refs, full_scale=4095, pulsed=False, units_per_quantum=1.0)
    air.push(column.beam_off(2000), beam_on(2000))
    with pytest.raises(RadiographError, match="open the shutter"):
        air.result()


def test_no_working_reference_is_refused() -> None:
    column = Column()
    column.gain[:2] = 0.001
    air = AirScan(dark_of(column).result(), (0, 1), full_scale=4095, pulsed=False, units_per_quantum=1.0)
    air.push(column.expose(1.0, 2000), beam_on(2000))
    with pytest.raises(RadiographError, match="none of the 2 reference detectors works"):
        air.result()


def test_a_gain_that_moved_by_more_than_a_fifth_is_refused_and_named() -> None:
    column = Column(seed=31)
    accepted = column.calibrate(1000, 2000)
    column.i0 *= 0.81  # 1.6 years of Co-60
    compare(column.calibrate(1000, 2000), accepted)
    column.gain[33] *= 0.75  # something stands in the beam
    with pytest.raises(RadiographError, match=r"detector 33 changed its gain by -25 %.*object in the beam"):
        compare(column.calibrate(1000, 2000), accepted)


def test_a_newly_dead_detector_is_flagged_but_not_refused() -> None:
    column = Column(seed=32)
    accepted = column.calibrate(1000, 2000)
    column.gain[33] = 1e-9
    new = column.calibrate(1000, 2000)
    assert new.dead[33]
    compare(new, accepted)


def test_columns_that_cannot_be_compared_are_refused() -> None:
    small, large = (Column(detectors=n).calibrate(1000, 2000) for n in (40, 48))
    with pytest.raises(RadiographError, match="40 detectors, the accepted one 48"):
        compare(small, large)
    with pytest.raises(RadiographError, match="no detector works in both"):
        compare(small, replace(small, dead=np.ones(40, dtype=bool)))


def test_a_calibration_that_was_kept_gives_the_same_numbers_back() -> None:
    known = Column(sigma=2.0, dark=100.0).calibrate(air_lines=2_000)
    again = from_json(as_json(known))
    assert as_json(again) == as_json(known)
    for name in ("dark_mean", "dark_sigma", "gain", "dead"):
        np.testing.assert_array_equal(getattr(again, name), getattr(known, name))
    assert (again.level, again.reference_detectors, again.monitor_ratio) == (
        known.level,
        known.reference_detectors,
        known.monitor_ratio,
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"format":"carril.calibration/2"}',
        as_json(Column().calibrate(air_lines=2_000)).replace(b'"dead":[false,', b'"dead":['),
        as_json(Column().calibrate(air_lines=2_000)).replace(b'"level"', b'"levels"'),
    ],
)
def test_what_is_no_calibration_is_refused(data: bytes) -> None:
    with pytest.raises(RadiographError, match="no calibration that was kept here"):
        from_json(data)
