"""What moves on the screen: counts per second whatever the portal sends, and nothing where nobody knows."""

from __future__ import annotations

import pytest

from drivers.readings import Channel
from station.lane.effects import LiveSample
from station.lane.live import Live
from station.runtime.bus import Bus, Message
from tests.support.lane_rig import Rig


def heard(rig: Rig, *samples: tuple[Channel, int | None, float]) -> Message:
    """The message of a lane in which these samples came, each as long after the other as it counts."""
    live, bus = Live(rig.lane.core), Bus()
    for channel, counts, interval_s in samples:
        rig.now_s += interval_s or 0.2
        live.sample(LiveSample(channel, rig.stamp(), counts, None, interval_s))
    with bus.subscribe(10) as messages:
        live.flush(bus, rig.now_s)
        (message,) = messages._waiting
    return message


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.board(entry_loop=True)
    return rig


@pytest.mark.parametrize(("interval_s", "records"), [(0.2, 5), (0.25, 4), (1.0, 1), (0.1, 10)])
def test_gamma_now_is_the_last_second(rig: Rig, interval_s: float, records: int) -> None:
    sent = [(Channel.GAMMA, 100, interval_s)] * records
    now = heard(rig, (Channel.GAMMA, 9_999, interval_s), *sent).data["now"]
    assert now["gamma_cps"] == 100 * records
    if records > 1:
        assert heard(rig, *sent[1:]).data["now"]["gamma_cps"] is None


def test_counts_of_unknown_time_are_drawn_and_no_number(rig: Rig) -> None:
    message = heard(rig, *[(Channel.GAMMA, 100, 0.0), (Channel.NEUTRON, 2, 0.0)] * 6)
    assert message.data["now"] == {"gamma_cps": None, "neutron_cps": None}
    assert message.data["gamma_s"] == 0.0
    assert len(message.data["gamma"]) == len(message.data["neutron"]) == 6


def test_a_strip_knows_how_long_its_samples_count(rig: Rig) -> None:
    live = Live(rig.lane.core)
    inspection = rig.lane.core.inspection
    assert inspection is not None
    live.sample(LiveSample(Channel.GAMMA, rig.stamp(), 500, None, 0.5))
    live.sample(LiveSample(Channel.NEUTRON, rig.stamp(), 3, None, 1.0))
    live.sample(LiveSample(Channel.GAMMA, rig.stamp(), None, None, 0.5))
    gamma, neutron = live.samples(inspection.inspection_id)
    assert (gamma.dt_s, neutron.dt_s) == (0.5, 1.0)
    assert gamma.samples == [(pytest.approx(rig.now_s - 0.25), 500)]
