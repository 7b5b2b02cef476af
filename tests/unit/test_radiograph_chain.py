"""A whole scan: brightness of each line, flags, dead detectors, stripes, limits."""

from dataclasses import replace

import numpy as np
import pytest

from imaging.radiograph.model import (
    D16_NO_DATA,
    DEAD_DETECTOR,
    DEAD_LINE,
    I0_OBSTRUCTED,
    INTERPOLATED,
    LINE_MONITOR_VALID,
    LINE_PULSE_MISSED,
    LINE_SOURCE_OFF,
    LINE_TEST_PATTERN,
    NO_DATA,
    SATURATED,
    STARVED,
    Calibration,
    RadiographError,
)
from imaging.radiograph.normalize import ScanChain
from tests.support.detector_column import (
    CO60_STEEL_CM2_G,
    STEEL_G_CM3,
    Column,
    assemble,
    attenuation,
    beam_on,
    steel,
)


def scan(column: Column, calibration: Calibration, samples, flags, monitor=None, **options):
    chain = ScanChain(calibration, column.detectors, column.full_scale, **options)
    columns = chain.push(0, samples, flags, monitor) + chain.close()
    d16, pixel_flags = assemble(columns)
    return attenuation(d16), pixel_flags, chain


@pytest.fixture(scope="module")
def counter() -> tuple[Column, Calibration]:
    column = Column()
    return column, column.calibrate()


# --- brightness -------------------------------------------------------------------------------------


def test_an_isotopes_references_are_averaged_so_that_no_stripes_appear(counter) -> None:
    column, calibration = counter
    a, _, _ = scan(column, calibration, column.expose(1.0, 4096), beam_on(4096))
    behind = a[512:, column.references :]
    line_means = behind.mean(axis=1)
    pixel_sigma = behind.std()
    pure_noise = pixel_sigma / np.sqrt(behind.shape[1])
    stripes = np.sqrt(max(line_means.var() - pure_noise**2, 0))
    assert stripes < 0.1 * pixel_sigma
    assert abs(behind.mean()) < 1e-3


def test_a_step_of_the_source_inside_a_block_leaves_no_smear(counter) -> None:
    """At line 1000 (40 lines into a block) the source loses 10 %: a stays 0 on both sides."""
    column, calibration = counter
    bright = column.expose(1.0, 1000)
    column.i0 *= 0.9
    dim = column.expose(1.0, 1000)
    column.i0 /= 0.9
    a, _, _ = scan(column, calibration, np.concatenate([bright, dim]), beam_on(2000))
    for part in (a[500:960], a[960:1000], a[1000:1024], a[1024:1100], a[1500:]):
        assert abs(part[:, column.references :].mean()) < 0.004


def test_a_slow_change_is_followed_block_by_block(counter) -> None:
    column, calibration = counter
    pieces = []
    for i in range(40):
        column.i0 = 1000 * (1 - 0.01 * i)
        pieces.append(column.expose(1.0, 64))
    column.i0 = 1000.0
    a, _, _ = scan(column, calibration, np.concatenate(pieces), beam_on(40 * 64))
    assert abs(a[:, column.references :].reshape(40, -1).mean(axis=1)).max() < 0.008


@pytest.fixture(scope="module")
def linac() -> tuple[Column, Calibration]:
    column = Column(k=3.0, sigma=4.0, dark=120.0, full_scale=8000, pulsed=True, i0=1500, seed=4)
    return column, column.calibrate(jitter=0.02)


def test_pulse_jitter_of_five_percent_leaves_no_stripes(linac) -> None:
    column, calibration = linac
    a, _, _ = scan(column, calibration, column.expose(steel(20), 2000, jitter=0.05), beam_on(2000))
    behind = a[:, column.references :]
    assert behind.mean(axis=1).std() < 0.5 * behind.std()
    assert abs(behind.mean() / (CO60_STEEL_CM2_G * STEEL_G_CM3 * 2) - 1) < 2e-3


def test_the_logarithm_of_weak_references_is_unbiased() -> None:
    """Two references of 60 quanta: ln S alone would be 1/(2·120) = 0.0042 too small."""
    column = Column(detectors=60, references=2, i0=60, pulsed=True, seed=12)
    a, _, _ = scan(column, column.calibrate(), column.expose(1.0, 20_000), beam_on(20_000))
    assert abs(a[:, 2:].mean()) < 0.0015


def test_negative_control_one_brightness_for_all_pulses_would_stripe_a_linac(linac) -> None:
    column, calibration = linac
    deaf = replace(calibration, pulsed=False, reference_detectors=(), monitor_ratio=None)
    a, _, _ = scan(column, deaf, column.expose(steel(20), 1024, jitter=0.05), beam_on(1024))
    behind = a[:, column.references :]
    assert behind.mean(axis=1).std() > 0.5 * (behind - behind.mean(axis=1, keepdims=True)).std()


def test_covered_references_are_noticed_and_the_monitor_takes_over(counter) -> None:
    column, calibration = counter
    calibration = replace(calibration, monitor_ratio=calibration.level / 50_000, monitor_sigma=0.008)
    samples = column.expose(1.0, 256)
    samples[100:120, : column.references] = (samples[100:120, : column.references] * 0.8).astype(np.uint16)
    monitor = column.rng.poisson(50_000, 256).astype(np.uint32)
    a, flags, _ = scan(column, calibration, samples, beam_on(256, LINE_MONITOR_VALID), monitor)
    covered = (flags & I0_OBSTRUCTED).any(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(covered), np.arange(100, 120))
    assert abs(a[100:120, column.references :].mean()) < 0.01  # by the references it would be −0.2


def test_without_references_the_monitor_gives_the_brightness(counter) -> None:
    column, calibration = counter
    no_refs = replace(
        calibration, reference_detectors=(), monitor_ratio=calibration.level / 50_000, monitor_sigma=0.008
    )
    monitor = np.full(128, 50_000, dtype=np.uint32)
    line_flags = beam_on(128, LINE_MONITOR_VALID)
    monitor[7], line_flags[9] = 0, 1
    a, flags, _ = scan(column, no_refs, column.expose(1.0, 128), line_flags, monitor)
    np.testing.assert_array_equal(np.flatnonzero((flags & DEAD_LINE).all(axis=1)), [7, 9])
    assert abs(a[10:].mean()) < 0.003


def test_an_isotope_without_references_and_monitor_uses_its_decayed_level(counter) -> None:
    column, calibration = counter
    alone = replace(calibration, reference_detectors=(), monitor_ratio=None)
    column.i0 *= 0.8
    samples = column.expose(1.0, 128)
    column.i0 /= 0.8
    a, _, _ = scan(column, alone, samples, beam_on(128), decay=0.8)
    assert abs(a.mean()) < 0.003


def test_a_linac_without_any_brightness_is_not_measurable(linac) -> None:
    column, calibration = linac
    with pytest.raises(RadiographError, match="not measurable"):
        ScanChain(replace(calibration, reference_detectors=()), column.detectors, column.full_scale)


# --- flags --------------------------------------------------------------------------------------


def test_every_flag_is_exact(counter) -> None:
    column, calibration = counter
    samples = column.expose(1.0, 130)
    samples[:, 20:] = np.clip(samples[:, 20:], 500, 3000)
    samples[3, 30], samples[4, 31] = 10, 9  # ten quanta are penetrated, nine are not
    samples[5, 32] = column.full_scale
    line_flags = beam_on(130)
    line_flags[64] = 0  # beam off
    line_flags[65] |= LINE_SOURCE_OFF
    line_flags[66] |= LINE_TEST_PATTERN
    line_flags[67] |= LINE_PULSE_MISSED
    samples[68] = 0  # beam on, nothing came
    expected = np.zeros((135, column.detectors), dtype=np.uint8)
    expected[4, 31], expected[5, 32] = STARVED, SATURATED
    expected[64:67] = NO_DATA
    expected[67:69] = NO_DATA | DEAD_LINE
    expected[130:135] = NO_DATA

    chain = ScanChain(calibration, column.detectors, column.full_scale)
    columns = chain.push(0, samples, line_flags) + chain.lost(130, 5) + chain.close()
    d16, flags = assemble(columns)
    np.testing.assert_array_equal(flags, expected)
    assert (d16[(expected & NO_DATA) != 0] == D16_NO_DATA).all()
    assert (d16[expected == 0] < D16_NO_DATA).all()
    assert (chain.lines_lost, chain.next_line) == (5, 135)


def test_a_scan_that_is_dark_throughout_shows_no_pixel(counter) -> None:
    column, calibration = counter
    a, flags, _ = scan(column, calibration, column.expose(1.0, 70), np.zeros(70, dtype=np.uint16))
    assert (flags == NO_DATA).all()
    assert a.shape == (70, column.detectors)


def test_dead_detectors_are_bridged_in_the_attenuation_or_left_blank() -> None:
    column = Column(detectors=80, seed=6)
    broken = [1, 30, 40, 41, 50, 51, 52, 79]
    true_gain = column.gain.copy()
    column.gain[broken] = 1e-9
    calibration = column.calibrate()
    np.testing.assert_array_equal(np.flatnonzero(calibration.dead), broken)
    assert 1 not in calibration.reference_detectors
    samples = column.expose(steel(20), 1024)
    column.gain = true_gain
    a, flags, _ = scan(column, calibration, samples, beam_on(1024))

    expected = np.zeros((1024, 80), dtype=np.uint8)
    expected[:, [1, 30, 40, 41]] = DEAD_DETECTOR | INTERPOLATED
    expected[:, [50, 51, 52, 79]] = DEAD_DETECTOR | NO_DATA  # three together, and one at the edge
    np.testing.assert_array_equal(flags, expected)
    behind = a[:, 16:50]
    stripe = behind.mean(axis=0) - np.median(behind.mean(axis=0))
    assert np.abs(stripe).max() < 0.5 * behind.std()
    assert abs(behind[:, 14].mean() - CO60_STEEL_CM2_G * STEEL_G_CM3 * 2) < 0.01


def test_a_bridge_next_to_something_dense_says_so() -> None:
    column = Column(detectors=40, seed=8)
    calibration = replace(column.calibrate(air_lines=2000), dead=np.arange(40) == 25)
    samples = column.expose(1.0, 64)
    samples[10, 24] = 3
    _, flags, _ = scan(column, calibration, samples, beam_on(64))
    assert flags[10, 25] == DEAD_DETECTOR | INTERPOLATED | STARVED
    assert flags[11, 25] == DEAD_DETECTOR | INTERPOLATED


def test_steel_behind_read_noise_is_unbiased() -> None:
    column = Column(detectors=72, references=40, sigma=2.0, dark=60.3, full_scale=4095, seed=11)
    a, _, _ = scan(column, column.calibrate(), column.expose(steel(70), 8192), beam_on(8192))
    areal = a[:, column.references :] / CO60_STEEL_CM2_G
    quanta = 1000 * steel(70)
    assert abs(areal.mean() / (7 * STEEL_G_CM3) - 1) <= 1e-3
    assert areal.std() <= 1.2 * np.sqrt(quanta + 4) / (quanta * CO60_STEEL_CM2_G)


# --- limits and refusals ------------------------------------------------------------------------------


def test_a_scan_beyond_the_limit_is_refused_with_a_sentence(counter) -> None:
    column, calibration = counter
    chain = ScanChain(calibration, column.detectors, column.full_scale, max_lines=100)
    chain.push(0, column.expose(1.0, 90), beam_on(90))
    with pytest.raises(RadiographError, match="101 lines, at most 100"):
        chain.push(90, column.expose(1.0, 11), beam_on(11))
    with pytest.raises(RadiographError, match="at most 100"):
        chain.lost(90, 2_000_000)
    assert chain.next_line == 90  # nothing half done


@pytest.mark.parametrize("shape", [(4, 47), (4, 48, 1), (5, 48)])
def test_lines_of_another_shape_are_refused(counter, shape: tuple[int, ...]) -> None:
    column, calibration = counter
    chain = ScanChain(calibration, column.detectors, column.full_scale)
    with pytest.raises(RadiographError, match="expected"):
        chain.push(0, np.zeros(shape, dtype=np.uint16), beam_on(4))


def test_another_column_needs_another_calibration(counter) -> None:
    with pytest.raises(RadiographError, match="64 detectors, the calibration 48"):
        ScanChain(counter[1], 64, 4095)


def test_an_empty_scan_gives_no_column(counter) -> None:
    column, calibration = counter
    assert ScanChain(calibration, column.detectors, column.full_scale).close() == []
