"""Laws of the occupancy machine under any order of lines, ticks, link changes and stops."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.readings import Channel, Counts, DeviceFlag, OccupancyEnd, Phase
from station.domain.occupancy_effects import AlarmRaised, Closed, Started
from tests.support.link_oracle import LinkOracle, Said
from tests.support.portal_lines import TAGS, Portal, line

COUNT_TAGS = st.sampled_from(sorted(TAGS))
MISSING = st.sampled_from([(), (), (), (5, 5, None, 5), (None,) * 4, (9000, 1, 1, 1)])
STEPS = st.sampled_from([0.0, 0.2, 0.2, 0.2, 0.2, 1.0, 1.3, 2.1, 4.0, 11.0, 31.0, 61.0, -0.4])

actions = st.one_of(
    st.tuples(st.just("say"), COUNT_TAGS, MISSING),
    st.tuples(st.just("say"), st.sampled_from(["GS", "NS", "GS", "GB"]), st.just(())),
    st.tuples(st.just("say"), st.just("GX"), st.tuples(st.integers(0, 6))),
    st.tuples(st.just("say"), st.sampled_from(["TT", "TC", "ZZ"]), st.just(())),
    st.tuples(st.just("say"), st.just("SP"), st.just((1.5,))),
    st.tuples(st.just("say"), st.just("SG1"), st.sampled_from([("a",), ("b",)])),
    st.tuples(st.just("link"), st.booleans(), st.just(())),
    st.tuples(st.just("tick"), st.just(""), st.just(())),
)

# Chance alone hardly ever measures a vehicle wholly: here it does, with all that may go wrong around it.
NOSE = [(0.2, ("say", tag, ())) for tag in ("GS", "GS", "GS", "NS", "GS")]
parts = st.one_of(
    st.tuples(STEPS, actions).map(lambda one: [one]),
    st.sampled_from(["GX", "GB"]).map(
        lambda end: [*NOSE, (0.2, ("say", end, (1,) if end == "GX" else ())), (0.1, ("tick", "", ()))]
    ),
    st.sampled_from([0.1, 0.3, 3.0, 20.0, 31.0]).map(
        lambda s: [(0.1, ("link", False, ())), (s, ("link", True, ()))]
    ),
    st.sampled_from(["GB", "NB"]).map(lambda tag: [(2.5, ("say", tag, ()))]),
)
stories = st.lists(parts, max_size=40).map(lambda some: [one for part in some for one in part])
fitted = st.sampled_from(
    [frozenset({Channel.GAMMA, Channel.NEUTRON}), frozenset({Channel.GAMMA}), frozenset({Channel.NEUTRON})]
)


class Watch:
    """Counts what goes in and checks every effect against what was open."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        self.open_id: str | None = None
        self.link = LinkOracle()
        self.heard: set[Channel] = set()
        """Channels whose alarm was raised on the open occupancy since the link was last lost."""
        self.scans_in = 0
        self.faulty_since: set[str] = set()

    def take(self, effects: list[object], alarm: Counts | None = None) -> None:
        raised = False
        for effect in effects:
            if isinstance(effect, Started):
                assert self.open_id is None, "two occupancies open at once"
                self.open_id = effect.occupancy.occupancy_id
                self.link.begin()
                self.heard.clear()
            elif isinstance(effect, Closed):
                assert effect.occupancy.occupancy_id == self.open_id
                self.open_id = None
                self.judge(effect)
            elif isinstance(effect, AlarmRaised):
                assert effect.occupancy_id == self.open_id
                raised |= alarm is not None and effect.channel == alarm.channel
                self.heard.add(effect.channel)
        assert (self.portal.machine.open is None) == (self.open_id is None)
        if alarm is not None:  # raised now, or already standing on the open occupancy
            occupancy = self.portal.machine.open
            assert occupancy is not None
            assert alarm.channel in occupancy.alarms
            assert raised or alarm.channel in self.heard

    def judge(self, closed: Closed) -> None:
        occupancy = closed.occupancy
        assert occupancy.duration_s >= 0
        assert all(gap.to_s > gap.from_s for gap in occupancy.gaps)
        complete = not occupancy.missing(self.portal.fitted)
        if complete:
            assert occupancy.start_known
            assert self.link.up_throughout(occupancy)
            assert not occupancy.gaps
            assert occupancy.close_reason in ("gx", "background_seen")
            assert all(occupancy.samples(c).best_total is not None for c in self.portal.fitted)
            assert occupancy.occupancy_id not in self.faulty_since


@given(story=stories, channels=fitted)
@settings(max_examples=300)
def test_any_story_keeps_every_record_and_every_alarm(
    story: list[tuple[float, tuple[str, object, tuple[object, ...]]]], channels: frozenset[Channel]
) -> None:
    portal = Portal(fitted=channels)
    watch = Watch(portal)
    t_s = 100.0
    for step_s, (what, first, values) in story:
        t_s = max(100.0, t_s + step_s)
        if what == "say":
            reading = line(str(first), t_s, *values)
            alarm = None
            watch.link.note(_said(reading, portal))
            if isinstance(reading, Counts):
                watch.scans_in += reading.phase is Phase.SCAN
                alarm = reading if reading.flag is DeviceFlag.ALARM else None
            watch.take(list(portal.say(str(first), t_s, *values)), alarm)
        elif what == "link":
            watch.link.note(Said.OTHER, up=bool(first))
            watch.take(list(portal.link(bool(first), t_s)))
            if not first:
                watch.heard.clear()
        else:
            watch.link.note(Said.OTHER)
            watch.take(list(portal.tick(t_s)))
        if portal.machine.faults and portal.machine.open is not None:
            watch.faulty_since.add(portal.machine.open.occupancy_id)
    watch.link.note(Said.OTHER)
    watch.take(list(portal.stop()))

    records = sum(o.gamma.records + o.neutron.records for o in portal.closed)
    assert records == watch.scans_in, "a scan record was lost or counted twice"
    raised = {(alarm.occupancy_id, alarm.channel) for alarm in portal.alarms}
    assert raised == {(o.occupancy_id, channel) for o in portal.closed for channel in o.alarms}


@given(story=stories)
@settings(max_examples=100)
def test_ticks_between_records_change_no_record(
    story: list[tuple[float, tuple[str, object, tuple[object, ...]]]],
) -> None:
    """How often the lane ticks is no evidence: only what the device said, and when."""
    quiet, ticked = Portal(), Portal()
    t_s = 100.0
    for step_s, (what, first, values) in story:
        before_s, t_s = t_s, t_s + max(0.0, step_s)
        for i in range(1, 4):
            ticked.tick(before_s + (t_s - before_s) * i / 4)
        for portal in (quiet, ticked):
            if what == "say":
                portal.say(str(first), t_s, *values)
            elif what == "link":
                portal.link(bool(first), t_s)
    for portal in (quiet, ticked):
        portal.tick(t_s)
        portal.stop()
    assert [_facts(o) for o in quiet.closed] == [_facts(o) for o in ticked.closed]


def _said(reading: object, portal: Portal) -> Said:
    leading = Channel.GAMMA if Channel.GAMMA in portal.fitted else Channel.NEUTRON
    if isinstance(reading, OccupancyEnd):
        return Said.END
    if isinstance(reading, Counts) and reading.flag is not DeviceFlag.ALARM:
        vacant = reading.phase is Phase.BACKGROUND and reading.channel is leading
        return Said.VACANT if vacant else Said.OTHER
    return Said.OTHER


def _facts(occupancy):
    return (
        occupancy.start,
        occupancy.end_ns,
        occupancy.close_reason,
        occupancy.doubts,
        occupancy.alarms,
        occupancy.gamma.totals,
        occupancy.neutron.totals,
        occupancy.gaps,
    )
