"""The per-pixel chain against float64, the steel wedge with its negative controls, a foreign oracle."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imaging.radiograph import kernel
from imaging.radiograph.kernel import FloatKernel, LutKernel, kernel_for, lut_scale
from imaging.radiograph.model import SATURATED, STARVED, Calibration
from imaging.radiograph.normalize import ScanChain
from tests.support.detector_column import (
    CO60_STEEL_CM2_G,
    STEEL_G_CM3,
    Column,
    assemble,
    attenuation,
    beam_on,
    oracle,
    steel,
)


def plain_calibration(detectors: int = 64, *, k: float = 1.0, sigma: float = 2.0, dark: float = 100.3):
    rng = np.random.default_rng(3)
    gain = 1 + 0.05 * rng.uniform(-1.7, 1.7, detectors)
    return Calibration(
        dark_mean=dark + rng.uniform(-3, 3, detectors),
        dark_sigma=np.full(detectors, sigma),
        gain=gain / gain.mean(),
        dead=np.zeros(detectors, dtype=bool),
        level=1000.0 * k,
        units_per_quantum=k,
        reference_detectors=(0, 1),
        pulsed=False,
        dark_lines=1000,
        air_lines=20_000,
    )


# --- against float64 ------------------------------------------------------------------------------


@pytest.mark.parametrize(("quanta", "rms"), [(118, 0.00035), (18, 0.0025)])
def test_the_tables_agree_with_float64_to_far_below_the_noise(quanta: int, rms: float) -> None:
    calibration = plain_calibration()
    full_scale = 8_000
    assert lut_scale(full_scale, 2.0) == (8, 16.0)
    rng = np.random.default_rng(quanta)
    samples = rng.poisson(quanta, (256, 64)) + rng.normal(calibration.dark_mean, 2.0)
    samples = np.rint(samples).astype(np.uint16)
    d16, _ = LutKernel(calibration, full_scale, 256)(samples, np.full(256, np.log(1000)))
    expected = oracle(samples, calibration, np.log(1000))
    error = attenuation(d16) - expected
    noise = np.std(expected)
    assert np.sqrt(np.mean(error**2)) <= rms  # half a table step of dark: 1/(16·√3·N)
    assert abs(error.mean(axis=0)).max() < 0.01 * noise + rms


def test_the_largest_error_above_ten_samples_is_six_thousandths() -> None:
    calibration = plain_calibration(sigma=2.0, dark=100.3)
    samples = np.arange(100, 8_000, dtype=np.uint16)[:, None].repeat(64, axis=1)
    ln_i0 = np.full(samples.shape[0], np.log(1000.0))
    lut = LutKernel(calibration, 8_000, samples.shape[0])
    d16, flags = lut(samples, ln_i0)
    s = samples - calibration.dark_mean
    expected = oracle(samples, calibration, ln_i0)
    inside = (s >= 10) & (expected > -0.5)
    assert np.abs(attenuation(d16) - expected)[inside].max() <= 0.006
    assert d16[expected < -0.51].min() == 65_535  # brighter than the scale: clipped, never wrapped
    clear_of_rounding = np.abs(s - 10) > 1 / 8
    assert ((flags & STARVED != 0) == (s < 10))[clear_of_rounding].all()


@pytest.mark.parametrize("sigma", [0.0, 0.4, 3.0])
@pytest.mark.parametrize("dark", [0.0, 5.0, 100.0])
def test_dark_levels_below_the_pedestal_do_not_wrap(dark: float, sigma: float) -> None:
    calibration = plain_calibration(sigma=sigma, dark=max(dark, 3.0))
    samples = np.arange(0, 4096, dtype=np.uint16)[:, None].repeat(64, axis=1)
    ln_i0 = np.full(4096, np.log(1000.0))
    d16, _ = LutKernel(calibration, 4095, 4096)(samples, ln_i0)
    expected = oracle(samples, calibration, ln_i0)
    s = samples - calibration.dark_mean
    inside = (s >= 10) & (expected > -0.5)
    assert np.abs(attenuation(d16) - expected)[inside].max() <= 0.006
    # Below it the logarithm is steep: the answer lies within what half a table step of dark can change.
    step = 0.5 / lut_scale(4095, sigma)[0] + 1e-9
    darker, lighter = (
        oracle(samples, replace(calibration, dark_mean=calibration.dark_mean + shift), ln_i0)
        for shift in (step, -step)
    )
    low = s > -8 * sigma + 1
    rounding = 1.6 / 4096
    assert (attenuation(d16) <= np.maximum(darker, -0.5) + rounding)[low].all()
    lighter = np.minimum(lighter, ln_i0[:, None] + np.log(calibration.gain) + 2)  # the table ends at e^-2
    assert (attenuation(d16) >= np.maximum(lighter, -0.5) - rounding)[low].all()


def test_the_float_chain_agrees_to_the_last_step() -> None:
    calibration = plain_calibration(sigma=2.0)
    samples = np.arange(0, 60_000, 3, dtype=np.uint16)[:, None].repeat(64, axis=1)
    ln_i0 = np.full(samples.shape[0], np.log(1000.0))
    d16, flags = FloatKernel(calibration, 59_000, samples.shape[0])(samples, ln_i0)
    expected = np.clip(np.rint(63_487 - 4096 * oracle(samples, calibration, ln_i0)), 0, 65_535)
    s = samples - calibration.dark_mean
    assert np.abs(d16 - expected)[s > -4].max() <= 1
    assert (d16 == expected).mean() > 0.99
    np.testing.assert_array_equal(flags, (s < 10) * STARVED + (samples >= 59_000) * SATURATED)


def test_both_chains_give_the_same_flags_and_values() -> None:
    calibration = plain_calibration(sigma=0.0, dark=100.0)
    calibration.dark_mean[:] = np.rint(calibration.dark_mean)
    rng = np.random.default_rng(9)
    samples = rng.integers(90, 4096, (64, 64)).astype(np.uint16)
    ln_i0 = np.log(rng.uniform(900, 1100, 64))
    lut, reference = (
        LutKernel(calibration, 4095)(samples, ln_i0),
        FloatKernel(calibration, 4095)(samples, ln_i0),
    )
    bright = samples - calibration.dark_mean >= 20
    assert np.abs(lut[0].astype(int) - reference[0])[bright].max() <= 2
    np.testing.assert_array_equal(lut[1], reference[1])


def test_saturation_is_flagged_and_never_wraps() -> None:
    calibration = plain_calibration(sigma=0.0)
    samples = np.full((3, 64), 4000, dtype=np.uint16)
    samples[1, 5], samples[2, 6] = 4095, 4097  # the second is more than the device can count
    d16, flags = LutKernel(calibration, 4095)(samples, np.full(3, np.log(4000.0)))
    expected = np.zeros((3, 64), dtype=np.uint8)
    expected[1, 5] = expected[2, 6] = SATURATED
    np.testing.assert_array_equal(flags, expected)
    assert d16[2, 6] == d16[0, 6] + round(
        4096 * np.log((4095 - calibration.dark_mean[6]) / (4000 - calibration.dark_mean[6]))
    )


def test_a_brightness_that_comes_back_is_not_taken_for_the_one_in_between() -> None:
    calibration = plain_calibration()
    samples = np.full((4, 64), 500, dtype=np.uint16)
    steady, moving = np.full(4, np.log(1000.0)), np.log([900.0, 1000.0, 1100.0, 1200.0])
    kernel_ = LutKernel(calibration, 4095, 4)
    first = kernel_(samples, steady)[0]
    between = kernel_(samples, moving)[0]
    np.testing.assert_array_equal(kernel_(samples, steady)[0], first)
    np.testing.assert_array_equal(between[1], first[1])
    assert (between[0] != first[0]).all()


@pytest.mark.parametrize(
    ("full_scale", "k", "chosen"),
    [
        (8_191, 1.0, LutKernel),
        (8_192, 1.0, FloatKernel),
        (65_535, 1.0, FloatKernel),
        (65_535, 8.0, LutKernel),
    ],
)
def test_the_table_is_used_only_where_it_is_fine_enough(full_scale: int, k: float, chosen: type) -> None:
    calibration = plain_calibration(k=k, sigma=0.0)
    assert isinstance(kernel_for(calibration, full_scale), chosen)


def test_a_pedestal_that_leaves_no_step_falls_back() -> None:
    assert lut_scale(65_535, 1.0) == (0, 8.0)


# --- steel wedge ------------------------------------------------------------------------------------


def wedge(
    column: Column, calibration: Calibration, mm: float, lines: int = 8192
) -> tuple[float, float, float]:
    """Return relative bias, rms in g/cm² and the ideal rms of a steel plate of ``mm``."""
    chain = ScanChain(calibration, column.detectors, column.full_scale)
    columns = chain.push(0, column.expose(steel(mm), lines), beam_on(lines)) + chain.close()
    d16, _ = assemble(columns)
    areal = attenuation(d16[:, column.references :]) / CO60_STEEL_CM2_G
    truth = mm / 10 * STEEL_G_CM3
    quanta = column.i0 * steel(mm)
    ideal = np.sqrt(quanta + column.sigma**2) / (quanta * CO60_STEEL_CM2_G)
    return float(areal.mean() / truth - 1), float(areal.std()), float(ideal)


@pytest.fixture(scope="module")
def counter() -> tuple[Column, Calibration]:
    column = Column(detectors=72, references=40, full_scale=4095)
    return column, column.calibrate()


@pytest.mark.parametrize("mm", [5, 20, 40, 70])
def test_steel_wedge_at_a_thousand_quanta(counter: tuple[Column, Calibration], mm: float) -> None:
    bias, rms, ideal = wedge(*counter, mm)
    assert abs(bias) <= 1e-3
    assert rms <= 1.2 * ideal


@pytest.mark.parametrize("mm", [5, 80, 160])
def test_steel_wedge_at_sixty_thousand_quanta_by_the_float_chain(mm: float) -> None:
    column = Column(detectors=72, references=40, i0=60_000, full_scale=65_535, spread=0.01, seed=2)
    calibration = column.calibrate()
    assert isinstance(kernel_for(calibration, column.full_scale), FloatKernel)
    bias, rms, ideal = wedge(column, calibration, mm)
    assert abs(bias) <= 1e-3
    assert rms <= 1.2 * ideal


def test_negative_control_without_the_bias_term_the_wedge_fails(
    counter: tuple[Column, Calibration], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "bias_free", lambda s, k, sigma: np.maximum(s, 0.5 * k))
    bias, _, _ = wedge(*counter, 70)
    assert 1.4e-3 <= bias <= 3.5e-3


def test_negative_control_without_gains_the_wedge_fails(counter: tuple[Column, Calibration]) -> None:
    column, calibration = counter
    flat = replace(calibration, gain=np.ones(72))
    _, rms, ideal = wedge(column, flat, 5)
    assert rms > 1.2 * ideal
    assert np.sqrt(rms**2 - ideal**2) > 0.5


# --- foreign oracle -----------------------------------------------------------------------------


def test_dark_and_flat_correction_equals_tomopys(shared_data: Path) -> None:
    """[tomopy, test data of normalize]: transmission = (raw − dark)/(flat − dark)."""
    tomo, flat, dark, expected = (
        np.load(shared_data / "tomopy" / f"{name}.npy") for name in ("tomo", "flat", "dark", "normalize")
    )
    n = tomo.shape[1] * tomo.shape[2]
    dark_mean, air = dark.mean(axis=0).reshape(n), flat.mean(axis=0).reshape(n)
    level = float((air - dark_mean).mean())
    calibration = Calibration(
        dark_mean=dark_mean,
        dark_sigma=np.zeros(n),
        gain=(air - dark_mean) / level,
        dead=np.zeros(n, dtype=bool),
        level=level,
        units_per_quantum=1e-6,  # no counting noise in that data: no bias to take out
        reference_detectors=(),
        pulsed=False,
        dark_lines=2,
        air_lines=2,
    )
    samples = tomo.reshape(-1, n).astype(np.uint16)
    chosen = kernel_for(calibration, 1_001)
    assert isinstance(chosen, FloatKernel)
    d16, flags = chosen(samples, np.full(samples.shape[0], np.log(level)))
    expected = expected.reshape(-1, n)
    seen = expected > np.exp(-15.4)
    np.testing.assert_allclose(np.exp(-attenuation(d16))[seen], expected[seen], rtol=1.3e-4)
    assert (flags[~seen] & STARVED).all()
    assert (d16[~seen] < 100).all()  # behind the dark level: as dense as can be, not a number error
