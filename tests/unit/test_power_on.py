"""What proves that a portal was switched on: a whole burst, in order, after silence on a link that was up."""

from __future__ import annotations

import pytest

from drivers.readings import PortalReading, PortalSetup, Tamper
from station.domain.power_on import BURST, POWER_OFF_NS, PowerOn
from tests.support.portal_lines import stamp

S = 1_000_000_000


def line(part: str, at_s: float, known: str = "same") -> PortalReading:
    return PortalSetup(stamp(at_s), part, {}, known)


def burst(power: PowerOn, parts: tuple[str, ...], after_ns: int, known: str = "same") -> list[bool]:
    """Whether each of these lines ends a whole burst; the first comes so long after the last record."""
    heard = []
    for number, part in enumerate(parts):
        reading = line(part, (power.last_ns + after_ns) / 1e9 if number == 0 else power.last_ns / 1e9, known)
        heard.append(power.whole(reading, "same"))
        power.last_ns = reading.stamp.mono_ns
    return heard


@pytest.fixture
def power() -> PowerOn:
    return PowerOn(last_ns=100 * S)


def test_a_whole_burst_after_more_silence_than_a_vacant_portal_makes(power: PowerOn) -> None:
    assert burst(power, BURST, POWER_OFF_NS + 1) == [False] * 4 + [True]


def test_less_silence_proves_nothing(power: PowerOn) -> None:
    assert not any(burst(power, BURST, POWER_OFF_NS))


@pytest.mark.parametrize("missing", range(len(BURST)))
def test_a_burst_with_a_line_missing_proves_nothing(power: PowerOn, missing: int) -> None:
    parts = tuple(part for number, part in enumerate(BURST) if number != missing)
    assert not any(burst(power, parts, POWER_OFF_NS + 1))


def test_another_record_within_it_breaks_it(power: PowerOn) -> None:
    assert not any(burst(power, BURST[:2], POWER_OFF_NS + 1))
    assert not power.whole(Tamper(stamp(power.last_ns / 1e9), open=True), "same")
    assert not any(burst(power, BURST[1:], 0))


def test_the_rest_of_a_burst_behind_a_whole_one_is_none(power: PowerOn) -> None:
    assert burst(power, BURST, POWER_OFF_NS + 1)[-1]
    assert not any(burst(power, BURST[1:], 0))


def test_other_settings_say_nothing_of_the_cabinet(power: PowerOn) -> None:
    assert not any(burst(power, BURST, POWER_OFF_NS + 1, known="other"))
