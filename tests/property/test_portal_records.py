"""From a portal's bytes to the record of the vehicle: how they are cut makes no difference, and junk none."""

from __future__ import annotations

import itertools
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.lane_places import CLEAN, HOT
from tests.support.portal_stream import PortalStream, Wire, heard, passage, records

SOUND = {
    "hot": ((HOT,), ()),
    "two trucks": ((HOT, CLEAN), ()),
    "garbled": ((HOT,), ("garble", "half_line")),
    "partial": ((HOT,), ("partial", "tamper")),
}
CROWDED = {
    "in a burst": ((HOT,), ("burst",)),
    "twice": ((HOT,), ("duplicate", "garble")),
    "in another order": ((HOT, CLEAN), ("reorder",)),
    "ten times as often": ((HOT,), ("rate_10x",)),
}
"""Several scans of a channel at the same moment: how they are cut says which of them are moved back."""


@cache
def wire(name: str) -> Wire:
    trucks, faults = {**SOUND, **CROWDED}[name]
    return passage(*trucks, faults=faults, gap_s=0.0, seconds=16.0 if len(trucks) == 1 else 32.0)


def cut(whole: Wire, places: list[int]) -> Wire:
    """Cut the stream at these offsets; what is cut still arrives when it was sent."""
    pieces: Wire = []
    offset = 0
    for t_s, data in whole:
        inside = sorted({place - offset for place in places if offset < place < offset + len(data)})
        ends = [0, *inside, len(data)]
        pieces += [(t_s, data[start:end]) for start, end in itertools.pairwise(ends) if end > start]
        offset += len(data)
    return pieces


def held_back(whole: Wire, pattern: list[tuple[int, int]]) -> Wire:
    """Join so many moments to one read, which leaves its last bytes to the next one; again and again."""
    pieces: Wire = []
    left, ahead = b"", iter(whole)
    for moments, kept in itertools.cycle(pattern):
        joined = list(itertools.islice(ahead, moments))
        if not joined:
            return [*pieces, (whole[-1][0], left)]
        fresh = b"".join(data for _, data in joined)
        data = left + fresh
        end = max(0, len(data) - kept) if fresh else len(data)
        pieces.append((joined[-1][0], data[:end]))
        left = data[end:]
    return pieces


def words(stream: PortalStream) -> list[object]:
    """What the records say, without when."""
    return [
        (
            *(closed.occupancy.close_reason, closed.occupancy.device_count, closed.occupancy.tamper),
            *(closed.occupancy.gamma.counts, closed.occupancy.neutron.counts, closed.occupancy.gamma.max_1s),
            *(closed.occupancy.alarms, closed.occupancy.start_known),
            [(v.algo, v.outcome, v.statistic, v.threshold) for v in closed.opinion.verdicts],
        )
        for closed in stream.closed
    ]


places = st.lists(st.integers(0, 8_000), max_size=40)


@pytest.mark.parametrize("name", SOUND)
def test_single_bytes_give_the_same_records_to_the_last_word(name: str) -> None:
    whole = heard(wire(name))
    single = heard(cut(wire(name), list(range(20_000))))
    assert records(single) == records(whole)
    assert (single.readings, single.bad) == (whole.readings, whole.bad)
    assert len(whole.closed) == len(SOUND[name][0])


@given(name=st.sampled_from(sorted(SOUND)), where=places)
@settings(max_examples=30)
def test_any_cut_gives_the_same_records_to_the_last_word(name: str, where: list[int]) -> None:
    whole, pieces = heard(wire(name)), heard(cut(wire(name), where))
    assert records(pieces) == records(whole)
    assert (pieces.readings, pieces.bad) == (whole.readings, whole.bad)


@given(name=st.sampled_from(sorted(CROWDED)), where=places)
@settings(max_examples=30)
def test_any_cut_of_a_crowded_stream_gives_the_same_words(name: str, where: list[int]) -> None:
    assert words(heard(cut(wire(name), where))) == words(heard(wire(name)))


@given(
    name=st.sampled_from(sorted(SOUND)),
    pattern=st.lists(st.tuples(st.integers(1, 2), st.integers(0, 40)), min_size=1, max_size=9),
)
@settings(max_examples=30)
def test_a_link_that_holds_bytes_back_changes_no_word(name: str, pattern: list[tuple[int, int]]) -> None:
    """As long as it is less than a second: from then on it is a gap, and is told."""
    assert words(heard(held_back(wire(name), pattern))) == words(heard(wire(name)))


JUNK = st.binary(max_size=300).map(lambda data: b"#" + data.replace(b"\n", b"") + b"\n")


WHOLE = sorted(SOUND.keys() - {"garbled"})
"""Streams without half lines: one of those takes what follows with it, junk or not."""


@given(name=st.sampled_from(WHOLE), junk=st.dictionaries(st.integers(0, 100), JUNK, max_size=10))
@settings(max_examples=30)
def test_junk_between_the_lines_is_counted_and_changes_no_record(name: str, junk: dict[int, bytes]) -> None:
    clean = wire(name)
    dirty = [(t_s, data + junk.get(i, b"")) for i, (t_s, data) in enumerate(clean)]
    spoilt, sound = heard(dirty), heard(clean)
    assert records(spoilt) == records(sound)
    assert len(spoilt.bad) == len(sound.bad) + sum(i < len(clean) for i in junk)


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.2, 1.0, 5.0, 31.0]), st.binary(max_size=60)), max_size=30),
    st.sampled_from(sorted(SOUND)),
)
@settings(max_examples=30)
def test_whatever_comes_in_whatever_pieces_raises_nothing(
    noise: list[tuple[float, bytes]], name: str
) -> None:
    """Lines that are cut, glued and mixed with noise: the sound line after them is read all the same."""
    stream = PortalStream()
    t_s = 0.0
    for i, (step_s, data) in enumerate(noise):
        t_s += step_s
        stream.hear(wire(name)[i % len(wire(name))][1][: 7 * i] + data, t_s)
    stream.hear(b"\nGA,000900,000900,000900,000900\r\n", t_s + 40)
    assert stream.portal.machine.open is not None
    assert stream.portal.machine.open.gamma.totals[-1] == 3600
    assert "gamma" in stream.portal.machine.open.alarms
