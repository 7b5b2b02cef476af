"""Whatever a portal tells afterwards is judged: no exception, no number that a record cannot hold."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from drivers.api import PortalFacts
from drivers.readings import Channel, Counts, Phase, PortalReport, Speed, Stamp
from imaging.radiation.gross import GrossConfig
from station.lane.effects import KeepReport
from station.lane.judge import judged
from station.store.canonical import canonical

S = 1_000_000_000
ARRIVAL = Stamp(1_795_000_000 * S, 1_000 * S, "boot")
COUNT = st.none() | st.integers(0, 300) | st.integers(0, 10**9)
INTERVAL = st.sampled_from([0.2, 0.2, 0.2, 0.1, 1.0, 0.0, 1e-6, 0.3, 2.0, 20.0, 1e9])


@st.composite
def records(draw: st.DrawFn) -> tuple[Counts, ...]:
    panels = {Channel.GAMMA: draw(st.integers(1, 4)), Channel.NEUTRON: draw(st.integers(1, 2))}
    step_s = draw(st.sampled_from([0.2, 0.2, 1.0, 0.0, 7.0]))
    same_s = draw(st.none() | INTERVAL)
    made = []
    for n in range(draw(st.integers(0, 40))):
        channel = draw(st.sampled_from(list(Channel)))
        counts = tuple(draw(COUNT) for _ in range(panels[channel]))
        interval_s = draw(INTERVAL) if same_s is None else same_s
        stamp = ARRIVAL.plus(n * step_s - draw(st.integers(0, 3)))
        made.append(Counts(stamp, channel, draw(st.sampled_from(list(Phase))), interval_s, counts))
    return tuple(made)


@given(records(), st.sampled_from([frozenset(Channel), frozenset([Channel.GAMMA])]), st.booleans())
def test_any_report_is_judged_and_can_be_recorded(
    counts: tuple[Counts, ...], fitted: frozenset[Channel], flag: bool
) -> None:
    report = PortalReport(
        ARRIVAL,
        "0" * 64,
        "any",
        counts=counts,
        speeds=(Speed(ARRIVAL, 2.0),),
        alarms={Channel.GAMMA: "x"} if flag else {},
        faults=("broken",) if flag else (),
    )
    work = KeepReport(
        "rpm1",
        report,
        None,
        "id",
        PortalFacts(channels=fitted),
        GrossConfig(),
        disturbed=flag,
        certain=not flag,
    )
    done = judged(work)
    canonical(done.summary.model_dump(mode="json"))
    json.loads(done.trace)
    assert done.summary.gamma_alarm is flag
    assert not (done.summary.complete and flag)
    scans = [each for each in counts if each.phase is Phase.SCAN and each.channel is Channel.GAMMA]
    timed = any(each.total is not None and each.interval_s > 0 for each in scans)
    assert (done.summary.gamma_max_1s is None) == (not timed)
